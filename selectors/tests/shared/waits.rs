//! Waiting: how long, together with ghosts, and with other selectors.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::{Poll, Trigger};
use selectors::{
    Backend, Capabilities, DefaultSelector, Events, Interest, Mode, SharedSelector, Token, Watch,
};

use super::{LONG, NOW, everywhere, in_time, tokens};

#[test]
fn the_timeout_holds_whatever_others_change() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let timeout = Duration::from_millis(50);
        let start = Instant::now();
        thread::scope(|scope| {
            let (done, over) = mpsc::channel::<()>();
            scope.spawn(move || {
                while over.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    let (ours, _theirs) = UnixStream::pair().unwrap();
                    drop(registrar.register(ours, Interest::READ, 1).unwrap());
                }
            });
            assert!(selector.select(Some(timeout)).unwrap().is_empty(), "{kind}");
            drop(done);
        });
        assert!(start.elapsed() >= timeout, "{kind}");
    });
}

#[test]
fn a_wait_until_a_deadline_ends_then_or_earlier() {
    everywhere(|mut selector, kind| {
        let mut events = Events::new();
        let deadline = selector.now() + Duration::from_millis(20);
        assert!(selector.select_until(Some(deadline)).unwrap().is_empty(), "{kind}");
        assert!(selector.now() >= deadline, "{kind}");
        let deadline = selector.now() + Duration::from_millis(20);
        selector.select_into_until(&mut events, Some(deadline)).unwrap();
        assert!(events.is_empty() && selector.now() >= deadline, "{kind}");
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let source = selector.registrar().register(ours, Interest::WRITE, 1).unwrap();
        for deadline in [None, Some(deadline)] {
            let found = selector.select_until(deadline).unwrap();
            assert_eq!(tokens(&found), [source.token()], "{kind}");
            selector.select_into_until(&mut events, deadline).unwrap();
            assert_eq!(tokens(&events), [source.token()], "{kind}");
        }
    });
}

#[test]
fn a_ghost_is_not_taken_for_another_source() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let copy = ours.try_clone().unwrap();
        // Closed while registered: misuse, which takes a raw number.
        let number = ours.as_raw_fd();
        // SAFETY: it is closed below, and not used by this name afterwards.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let source = registrar.register(borrowed, Interest::READ, 1).unwrap();
        drop(ours);
        drop(source);
        theirs.write_all(b"x").unwrap();
        selector.select(NOW).unwrap();
        let (second, mut peer) = UnixStream::pair().unwrap();
        let second = registrar.register(second, Interest::READ, 2).unwrap();
        for _ in 0..3 {
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        }
        peer.write_all(b"x").unwrap();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [second.token()], "{kind}");
        second.modify(Interest::READ | Interest::WRITE).unwrap();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [second.token()], "{kind}");
        drop(copy);
    });
}

/// poll(2), which can be made deaf to wakes. Its waits and wakes are counted.
struct Deaf {
    poll: Poll,
    /// What is not watched yet.
    channel: Mutex<Option<(Arc<UnixStream>, Token)>>,
    ignores_wakes: Arc<AtomicBool>,
    waits: Arc<AtomicUsize>,
    wakes: Arc<AtomicUsize>,
}

impl Default for Deaf {
    fn default() -> Self {
        Self {
            poll: Poll::new().unwrap(),
            channel: Mutex::default(),
            ignores_wakes: Arc::default(),
            waits: Arc::default(),
            wakes: Arc::default(),
        }
    }
}

impl Backend for Deaf {
    fn capabilities(&self) -> Capabilities {
        self.poll.capabilities()
    }

    fn register(&mut self, source: BorrowedFd<'_>, token: Token, watch: Watch) -> io::Result<()> {
        self.poll.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawFd, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.poll.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawFd, token: Token, watch: Watch) -> io::Result<()> {
        self.poll.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.waits.fetch_add(1, Ordering::SeqCst);
        if let Some((channel, token)) = self.channel.get_mut().unwrap().take() {
            let watch = Watch::new(Interest::READ, Mode::OneShot);
            self.poll.register(channel.as_fd(), token, watch)?;
        }
        self.poll.wait(events, timeout)
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        let (ours, theirs) = UnixStream::pair()?;
        let ours = Arc::new(ours);
        *self.channel.lock().unwrap() = Some((Arc::clone(&ours), token));
        let (deaf, wakes) = (Arc::clone(&self.ignores_wakes), Arc::clone(&self.wakes));
        Ok(Some(Box::new(move || {
            let _kept_open = &ours;
            wakes.fetch_add(1, Ordering::SeqCst);
            let refused = deaf.load(Ordering::SeqCst);
            if refused { Err(io::ErrorKind::BrokenPipe.into()) } else { (&theirs).write_all(b"x") }
        })))
    }
}

#[test]
fn what_could_not_be_unregistered_in_time_is_unregistered_later() {
    let backend = Deaf::default();
    let (deaf, waits) = (Arc::clone(&backend.ignores_wakes), Arc::clone(&backend.waits));
    let mut selector = SharedSelector::with_backend(backend).unwrap();
    let registrar = selector.registrar();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (other, mut peer) = UnixStream::pair().unwrap();
    let other = registrar.register_with(other, Interest::READ, 2, Mode::OneShot).unwrap();
    let source = registrar.register(&ours, Interest::READ, 1).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while waits.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            // The waiter has borrowed the backend, or is about to return it and wait again.
            deaf.store(true, Ordering::SeqCst);
            drop(source);
            peer.write_all(b"x").unwrap();
        });
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [other.token()]);
    });
    theirs.write_all(b"x").unwrap();
    let before = waits.load(Ordering::SeqCst);
    assert!(selector.select(Some(Duration::from_millis(200))).unwrap().is_empty());
    let calls = waits.load(Ordering::SeqCst) - before;
    assert!(calls <= 10, "{calls} calls, for what was unregistered");
    // What takes its place is watched.
    deaf.store(false, Ordering::SeqCst);
    let again = registrar.register(&ours, Interest::READ, 3).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [again.token()]);
}

#[test]
fn the_waiter_is_woken_to_drop_data_once_in_4096_sources() {
    let backend = Deaf::default();
    let wakes = Arc::clone(&backend.wakes);
    let mut selector = SharedSelector::with_backend(backend).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    for round in 1..=2 {
        for _ in 0..4095 {
            drop(selector.registrar().register(&ours, Interest::READ, 1).unwrap());
        }
        assert_eq!(wakes.load(Ordering::SeqCst), round - 1);
        drop(selector.registrar().register(&ours, Interest::READ, 1).unwrap());
        assert_eq!(wakes.load(Ordering::SeqCst), round);
        // The wake is the library's own.
        assert!(!selector.select(NOW).unwrap().woken());
    }
}

#[test]
fn a_wait_spins_before_it_blocks() {
    let backend = Deaf::default();
    let waits = Arc::clone(&backend.waits);
    let mut selector: SharedSelector = SharedSelector::with_backend(backend).unwrap();
    let mut calls = |spin| {
        selector.set_spin(spin);
        // The first waits of a selector that spins block, for 100 ms.
        for _ in 0..17 {
            let events = selector.select(Some(Duration::from_millis(6))).unwrap();
            assert!(events.is_empty());
        }
        let start = (waits.load(Ordering::SeqCst), Instant::now());
        let events = selector.select(Some(Duration::from_millis(50))).unwrap();
        assert!(events.is_empty() && start.1.elapsed() >= Duration::from_millis(50));
        waits.load(Ordering::SeqCst) - start.0
    };
    assert!(calls(Duration::ZERO) <= 3);
    assert!(calls(Duration::from_secs(60)) > 10, "it polls repeatedly");
}

#[test]
fn the_descriptor_is_readable_while_there_is_something_to_report() {
    everywhere(|mut selector, kind| {
        if !selector.capabilities().nesting {
            return;
        }
        let mut outer: DefaultSelector<OwnedFd> = DefaultSelector::new().unwrap();
        let own = selector.descriptor().unwrap();
        assert_eq!(own.as_raw_fd(), selector.descriptor().unwrap().as_raw_fd(), "{kind}");
        outer.register(own.try_clone_to_owned().unwrap(), Interest::READ, ()).unwrap();
        assert!(outer.select(NOW).unwrap().is_empty(), "{kind}");
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let registrar = selector.registrar();
        let source = registrar.register_with(ours, Interest::WRITE, 1, Mode::OneShot).unwrap();
        assert_eq!(outer.select(LONG).unwrap().len(), 1, "{kind}");
        assert_eq!(tokens(&selector.select(NOW).unwrap()), [source.token()], "{kind}");
        assert!(outer.select(NOW).unwrap().is_empty(), "{kind}: it was reported");
        selector.waker().wake().unwrap();
        assert_eq!(outer.select(LONG).unwrap().len(), 1, "{kind}: a wake is something");
    });
}

/// Waits when it is dropped.
struct WaitsAtTheEnd(SharedSelector<u32>, mpsc::Sender<Token>);

impl Drop for WaitsAtTheEnd {
    fn drop(&mut self) {
        let events = self.0.select(LONG).unwrap();
        self.1.send(events.iter().next().expect("an event").token()).unwrap();
    }
}

#[test]
fn changes_are_made_for_who_waits_while_it_panics() {
    everywhere(|selector, _| {
        let registrar = selector.registrar();
        let (found, is_found) = mpsc::channel();
        let waiter = thread::spawn(move || {
            let _guard = WaitsAtTheEnd(selector, found);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        let changer = thread::spawn(move || {
            // Most of the time it waits by then.
            thread::sleep(Duration::from_millis(20));
            let null = std::fs::File::open("/dev/null").unwrap();
            registrar.register(null, Interest::READ, 1).unwrap()
        });
        let token = is_found.recv_timeout(LONG.unwrap() / 2).expect("the wait ends");
        in_time(move || assert_eq!(changer.join().unwrap().token(), token));
        assert!(waiter.join().is_err());
    });
}
