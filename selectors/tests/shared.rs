//! A selector that other threads change while one waits, over every backend.
#![cfg(unix)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::{Poll, Trigger};
use selectors::{
    Backend, BackendKind, Capabilities, DefaultSelector, Error, Events, Interest, Mode, Registrar,
    SharedSelector, Source, Token, Watch,
};

const NOW: Option<Duration> = Some(Duration::ZERO);
/// What must come comes within this; nothing waits for it to pass.
const LONG: Option<Duration> = Some(Duration::from_secs(60));

fn everywhere(test: impl Fn(SharedSelector<u32>, BackendKind)) {
    for kind in BackendKind::available() {
        println!("over {kind}");
        test(SharedSelector::of_kind(kind).unwrap(), kind);
    }
}

fn tokens(events: &Events) -> Vec<Token> {
    events.iter().map(selectors::Event::token).collect()
}

/// Runs `change` in another thread while this one waits, and returns what the wait has found.
fn during_a_wait<R: Send>(
    selector: &mut SharedSelector<u32>,
    change: impl FnOnce() -> R + Send,
) -> (R, Events) {
    thread::scope(|scope| {
        let thread = scope.spawn(change);
        let events = selector.select(LONG).unwrap();
        (thread.join().unwrap(), events)
    })
}

#[test]
fn registering_is_effective_in_the_wait_that_is_going_on() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        for number in 0..100 {
            let ((source, theirs), events) = during_a_wait(&mut selector, || {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                theirs.write_all(b"x").unwrap();
                (registrar.register(ours, Interest::READ, number).unwrap(), theirs)
            });
            assert_eq!(tokens(&events), [source.token()], "{kind}");
            assert_eq!(selector.get(source.token()), Some(&number));
            drop((source, theirs));
        }
        assert!(selector.is_empty());
    });
}

#[test]
fn modifying_is_effective_in_the_wait_that_is_going_on() {
    everywhere(|mut selector, kind| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let source = selector.registrar().register(ours, Interest::READ, 1).unwrap();
        for _ in 0..100 {
            let ((), events) = during_a_wait(&mut selector, || {
                source.modify(Interest::READ | Interest::WRITE).unwrap();
            });
            assert_eq!(tokens(&events), [source.token()], "{kind}");
            source.modify(Interest::READ).unwrap();
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        }
    });
}

#[test]
fn a_token_changes_its_own_source_and_no_other() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let parked = Interest::empty();
        let source = registrar.register_with(&ours, parked, 1, Mode::OneShot).unwrap();
        let old = source.token();
        for _ in 0..3 {
            registrar.modify(old, Interest::WRITE).unwrap();
            assert_eq!(tokens(&selector.select(None).unwrap()), [old], "{kind}");
        }
        drop(source);
        // Their slot becomes vacant, and is used again.
        assert!(selector.select(NOW).unwrap().is_empty());
        let source = registrar.register(&ours, parked, 2).unwrap();
        let refused = registrar.modify(old, Interest::WRITE);
        assert!(
            matches!(refused, Err(Error::NotRegistered { token, .. }) if token == old),
            "{kind}"
        );
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}: it is another source");
        registrar.modify_with(source.token(), Interest::WRITE, Mode::OneShot).unwrap();
        assert_eq!(tokens(&selector.select(None).unwrap()), [source.token()], "{kind}");
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}: one-shot");
    });
}

#[test]
fn what_is_parked_is_silent_until_it_is_not() {
    everywhere(|mut selector, kind| {
        for mode in [Mode::Level, Mode::OneShot] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let registrar = selector.registrar();
            let source = registrar.register_with(ours, Interest::empty(), 1, mode).unwrap();
            drop(theirs);
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
            let ((), events) =
                during_a_wait(&mut selector, || source.modify(Interest::READ).unwrap());
            assert_eq!(tokens(&events), [source.token()], "{kind}");
            source.park().unwrap();
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        }
    });
}

#[test]
fn what_was_unregistered_is_not_reported() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        for _ in 0..100 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            let source = registrar.register(ours, Interest::READ, 1).unwrap();
            let token = source.token();
            assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
            let mut ours = thread::spawn(move || source.into_inner()).join().unwrap();
            assert_eq!(selector.get(token), None);
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
            ours.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn unregistering_during_a_wait_does_not_end_it() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let waker = selector.waker();
        let ((), events) = during_a_wait(&mut selector, || {
            for _ in 0..100 {
                let (ours, _theirs) = UnixStream::pair().unwrap();
                drop(registrar.register(ours, Interest::READ, 1).unwrap());
            }
            waker.wake().unwrap();
        });
        assert!(events.woken() && events.is_empty(), "{kind}");
        assert!(!selector.select(NOW).unwrap().woken(), "{kind}");
    });
}

#[test]
fn a_refusal_gives_back_the_file_object_and_the_data() {
    everywhere(|selector, kind| {
        let registrar = selector.registrar();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let shared = Arc::new(ours);
        for _ in 0..100 {
            let source = registrar.register(Arc::clone(&shared), Interest::READ, 7).unwrap();
            for interest in [Interest::READ, Interest::empty()] {
                let refused = registrar.register(Arc::clone(&shared), interest, 8).unwrap_err();
                assert!(
                    matches!(refused.error, Error::AlreadyRegistered { token, .. }
                        if token == source.token()),
                    "{kind}"
                );
                assert_eq!(refused.data, 8);
            }
            let unknown = Interest::from_bits_retain(0x80);
            let refused = registrar.register(Arc::clone(&shared), unknown, 9).unwrap_err();
            assert!(matches!(refused.error, Error::InvalidInterest { .. }), "{kind}");
        }
        assert_eq!(Arc::strong_count(&shared), 1);
    });
}

#[test]
fn what_the_kernel_refuses_is_returned_to_the_caller() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        for during in [false, true] {
            let waker = selector.waker();
            let register = || {
                // SAFETY: nothing is done with it but to register it, which is refused.
                let closed = unsafe { BorrowedFd::borrow_raw(1_000_000) };
                let refused = [Interest::READ, Interest::empty()]
                    .map(|interest| registrar.register(closed, interest, 7).unwrap_err());
                waker.wake().unwrap();
                refused
            };
            let refused =
                if during { during_a_wait(&mut selector, register).0 } else { register() };
            for refused in refused {
                let error = io::Error::from(refused.error);
                assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::EBADF as i32), "{kind}");
                assert_eq!(refused.data, 7);
            }
        }
        assert!(selector.is_empty());
    });
}

#[test]
fn a_one_shot_is_reported_once_each_time_it_is_armed() {
    everywhere(|mut selector, kind| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let registrar = selector.registrar();
        let source = registrar.register_with(ours, Interest::READ, 1, Mode::OneShot).unwrap();
        for round in 0..100 {
            assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
            match round % 3 {
                0 => source.rearm().unwrap(),
                1 => source.modify(Interest::READ).unwrap(),
                _ => {
                    source.park().unwrap();
                    source.modify(Interest::READ | Interest::WRITE).unwrap();
                }
            }
        }
    });
}

#[test]
fn edges_are_reported_again_on_request() {
    everywhere(|mut selector, kind| {
        if !selector.capabilities().edge {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let registrar = selector.registrar();
            let refused = registrar.register_with(ours, Interest::READ, 1, Mode::Edge);
            assert!(matches!(refused.unwrap_err().error, Error::Unsupported { .. }), "{kind}");
            return;
        }
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let registrar = selector.registrar();
        let source = registrar.register_with(ours, Interest::READ, 1, Mode::Edge).unwrap();
        for _ in 0..3 {
            assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
            source.rearm().unwrap();
        }
    });
}

#[test]
fn regular_files_are_always_ready() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let (source, events) = during_a_wait(&mut selector, || {
            let file = File::open("/dev/null").unwrap();
            registrar.register(file, Interest::READ, 1).unwrap()
        });
        assert_eq!(tokens(&events), [source.token()], "{kind}");
        source.modify_with(Interest::WRITE, Mode::OneShot).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        source.modify_with(Interest::WRITE, Mode::Level).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
        source.park().unwrap();
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        drop(source);
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
    });
}

#[test]
fn data_is_dropped_by_the_wait_after_it_was_unregistered() {
    for kind in BackendKind::available() {
        let mut selector = SharedSelector::of_kind(kind).unwrap();
        let alive = Arc::new(());
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let source =
            selector.registrar().register(ours, Interest::READ, Arc::clone(&alive)).unwrap();
        let token = source.token();
        selector.select(LONG).unwrap();
        let data = selector.get(token).unwrap();
        drop(source);
        // It was borrowed before, and is good until the next wait.
        assert!(Arc::ptr_eq(data, &alive), "{kind}");
        assert!(selector.get(token).is_none(), "{kind}");
        assert_eq!(Arc::strong_count(&alive), 2, "{kind}");
        selector.select(NOW).unwrap();
        assert_eq!(Arc::strong_count(&alive), 1, "{kind}");
    }
}

#[test]
fn slots_are_used_again_under_other_tokens_even_if_no_wait_ends() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let waker = selector.waker();
        let rounds = if kind == BackendKind::Epoll { 20_000 } else { 5_000 };
        let (slots, _) = during_a_wait(&mut selector, || {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let mut ours = ours;
            let mut tokens = std::collections::HashSet::new();
            let mut slots = std::collections::HashSet::new();
            for round in 0..rounds {
                let source = registrar.register(ours, Interest::READ, round).unwrap();
                assert!(tokens.insert(source.token()), "{kind}: {:?} came twice", source.token());
                slots.insert(source.token().to_bits() >> 32);
                ours = source.into_inner();
            }
            waker.wake().unwrap();
            slots.len()
        });
        assert!(slots < rounds as usize / 2 || rounds < 10_000, "{kind}: {slots} slots");
    });
}

#[test]
fn handles_outlive_their_selector_harmlessly() {
    everywhere(|selector, kind| {
        let registrar = selector.registrar();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let source = registrar.register(ours, Interest::READ, 1).unwrap();
        let waker = registrar.waker();
        drop(selector);
        assert!(matches!(source.modify(Interest::WRITE), Err(Error::Closed)), "{kind}");
        let refused = registrar.register(theirs, Interest::READ, 2).unwrap_err();
        assert!(matches!(refused.error, Error::Closed), "{kind}");
        waker.wake().unwrap();
        source.into_inner().write_all(b"x").unwrap();
    });
}

#[test]
fn data_that_holds_handles_goes_with_the_selector() {
    for kind in BackendKind::available() {
        type Data = std::sync::Mutex<Option<Box<dyn std::any::Any + Send>>>;
        let selector: SharedSelector<Data> = SharedSelector::of_kind(kind).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let held = selector.registrar().register(ours, Interest::READ, Data::default()).unwrap();
        let (other, mut peer) = UnixStream::pair().unwrap();
        let data = Data::new(Some(Box::new(held)));
        let holder = selector.registrar().register(other, Interest::READ, data).unwrap();
        drop(selector);
        let mut theirs = theirs;
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "{kind}: the held source was closed");
        drop(holder);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "{kind}");
    }
}

#[test]
fn a_panic_leaves_the_selector_usable() {
    everywhere(|mut selector, kind| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let source = selector.registrar().register(ours, Interest::READ, 1).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let events = selector.select(LONG).unwrap();
            assert_eq!(selector.get(events.iter().next().unwrap().token()), Some(&1));
            std::panic::resume_unwind(Box::new("handled"));
        }));
        assert!(panicked.is_err());
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [source.token()], "{kind}");
    });
}

#[test]
fn a_panic_in_the_data_leaves_the_selector_usable() {
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                std::panic::resume_unwind(Box::new("dropped"));
            }
        }
    }
    let mut selector = SharedSelector::new().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let data = Bomb(Arc::clone(&dropped));
        drop(selector.registrar().register(ours, Interest::READ, data).unwrap());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| selector.select(NOW))).is_err());
    selector.select(NOW).unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

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

/// poll(2), which can be made deaf to wakes, and whose waits are counted.
struct Deaf {
    poll: Poll,
    ignores_wakes: Arc<AtomicBool>,
    waits: Arc<AtomicUsize>,
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
        self.poll.wait(events, timeout)
    }

    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        let (ours, theirs) = UnixStream::pair()?;
        let watch = Watch::new(Interest::READ, Mode::OneShot);
        self.poll.register(ours.as_fd(), token, watch)?;
        let deaf = Arc::clone(&self.ignores_wakes);
        Ok(Some(Box::new(move || {
            let _kept_open = &ours;
            let refused = deaf.load(Ordering::SeqCst);
            if refused { Err(io::ErrorKind::BrokenPipe.into()) } else { (&theirs).write_all(b"x") }
        })))
    }
}

#[test]
fn what_could_not_be_unregistered_in_time_is_unregistered_later() {
    let (deaf, waits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let backend = Deaf {
        poll: Poll::new().unwrap(),
        ignores_wakes: Arc::clone(&deaf),
        waits: Arc::clone(&waits),
    };
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
            // The waiter has the backend, or is about to put it back and wait again.
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
fn a_wait_spins_before_it_blocks() {
    let waits = Arc::new(AtomicUsize::new(0));
    let backend = Deaf {
        poll: Poll::new().unwrap(),
        ignores_wakes: Arc::default(),
        waits: Arc::clone(&waits),
    };
    let mut selector: SharedSelector = SharedSelector::with_backend(backend).unwrap();
    let mut calls = |spin| {
        selector.set_spin(spin);
        let start = (waits.load(Ordering::SeqCst), Instant::now());
        let events = selector.select(Some(Duration::from_millis(50))).unwrap();
        assert!(events.is_empty() && start.1.elapsed() >= Duration::from_millis(50));
        waits.load(Ordering::SeqCst) - start.0
    };
    assert!(calls(Duration::ZERO) <= 3);
    assert!(calls(Duration::from_secs(60)) > 10, "it looks again and again");
}

#[test]
fn handles_cross_threads() {
    fn crosses<S: Send + Sync>(_: &S) {}
    fn moves<S: Send>(_: &S) {}
    let selector = SharedSelector::<std::cell::Cell<u32>>::new().unwrap();
    moves(&selector);
    let registrar = selector.registrar();
    crosses(&registrar);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = registrar.register(ours, Interest::READ, std::cell::Cell::new(1)).unwrap();
    crosses(&source);
    assert!(source.as_fd().as_raw_fd() >= 0);
}

/// How many registrations the stress test makes with epoll. `.ci/stress` asks for more.
fn registrations() -> u64 {
    let asked = std::env::var("SELECTORS_STRESS").ok().and_then(|number| number.parse().ok());
    asked.unwrap_or(100_000)
}

/// What the stress test knows of each source.
#[derive(Default)]
struct Watched {
    armed: AtomicU32,
    reported: AtomicU32,
}

type Data = (u64, Arc<Watched>, mpsc::Sender<u64>);

/// One of the threads of the stress test: registers one socket again and again, in one-shot mode,
/// and waits until it is reported for every time that it was armed and ready.
fn register_again_and_again(registrar: &Registrar<Data>, thread: u64, rounds: u64) {
    let (sender, receiver) = mpsc::channel();
    // A wait that was going on may still report what was unregistered, but nothing else.
    let expect = |name| loop {
        let seen = receiver.recv_timeout(LONG.unwrap()).unwrap();
        assert!(seen <= name, "{seen:#x} before {name:#x}");
        if seen == name {
            break;
        }
    };
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    for round in 0..rounds {
        let name = thread << 32 | round;
        let watched = Arc::new(Watched::default());
        let arm = |times| watched.armed.fetch_add(times, Ordering::Relaxed);
        let data = (name, Arc::clone(&watched), sender.clone());
        let first = [Interest::READ, Interest::empty(), Interest::WRITE, Interest::empty()];
        let first = first[(round % 4) as usize];
        arm(u32::from(!first.is_empty()));
        let source = registrar.register_with(ours, first, data, Mode::OneShot).unwrap();
        if round % 4 == 1 {
            arm(1);
            source.modify(Interest::READ).unwrap();
        }
        if round % 4 != 3 {
            expect(name);
        }
        if round % 8 < 3 {
            arm(2);
            source.modify(Interest::WRITE).unwrap();
            source.modify(Interest::READ).unwrap();
            expect(name);
        }
        ours = source.into_inner();
    }
}

/// Four threads register, arm, change and unregister one-shot sources; every arming of a source
/// that is ready is answered, and none more than once.
fn stress(kind: BackendKind, registrations: u64) {
    let mut selector: SharedSelector<Data> = SharedSelector::of_kind(kind).unwrap();
    let waker = selector.waker();
    let mut reported = 0;
    thread::scope(|scope| {
        let changers = [0, 1, 2, 3].map(|thread| {
            let registrar = selector.registrar();
            scope.spawn(move || register_again_and_again(&registrar, thread, registrations / 4))
        });
        let end = scope.spawn(move || {
            let ended = changers.map(thread::ScopedJoinHandle::join);
            waker.wake().unwrap();
            for ended in ended {
                ended.unwrap();
            }
        });
        let mut events = Events::new();
        while !events.woken() {
            selector.select_into(&mut events, None).unwrap();
            for event in &events {
                let Some((name, watched, sender)) = selector.get(event.token()) else { continue };
                reported += 1;
                let times = watched.reported.fetch_add(1, Ordering::Relaxed) + 1;
                let armed = watched.armed.load(Ordering::Relaxed);
                assert!(times <= armed, "{kind}: {name:#x} {times} times, armed {armed} times");
                // A thread that has ended does not care.
                let _ = sender.send(*name);
            }
        }
        end.join().unwrap();
    });
    assert!(selector.is_empty());
    // Three of four sources are to be reported, and three of eight twice.
    let least = registrations / 4 * 3 + registrations / 8 * 3;
    assert!(reported >= least, "{kind}: {reported} reports, and at least {least} were due");
}

#[test]
fn four_threads_lose_nothing() {
    for kind in BackendKind::available() {
        // Through the others each change takes two context switches.
        let share = if kind == BackendKind::Epoll { 1 } else { 10 };
        stress(kind, registrations() / share);
    }
}

#[test]
fn sources_can_be_of_different_types() {
    let selector: SharedSelector = SharedSelector::new().unwrap();
    let registrar = selector.registrar();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let first: Source<UnixStream> = registrar.register(ours, Interest::READ, ()).unwrap();
    let second: Source<std::os::fd::OwnedFd> =
        registrar.register(theirs.into(), Interest::READ, ()).unwrap();
    assert_ne!(first.token(), second.token());
    assert_eq!(selector.len(), 2);
}

/// The numbers of the descriptors that are open.
#[cfg(target_os = "linux")]
fn open_numbers() -> Vec<RawFd> {
    let open = |number: &RawFd| {
        // SAFETY: nothing is done with it but to ask whether it is open.
        let number = unsafe { BorrowedFd::borrow_raw(*number) };
        nix::fcntl::fcntl(number, nix::fcntl::FcntlArg::F_GETFD).is_ok()
    };
    (0..256).filter(open).collect()
}

#[test]
fn its_own_descriptor_is_refused() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let Some(own) = selector.descriptor() else { return };
        let (number, copy) = (own.as_raw_fd(), own.try_clone_to_owned().unwrap());
        for interest in [Interest::READ, Interest::empty()] {
            let refused = registrar.register(own, interest, 1).unwrap_err().error;
            assert!(
                matches!(refused, Error::Unsupported { fd: Some(fd), .. } if fd == number),
                "{kind}: {refused}"
            );
        }
        let refused = registrar.register(copy, Interest::READ, 1);
        assert!(refused.is_err() || kind != BackendKind::Epoll, "it would be ready for ever");
        drop(refused);
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        assert!(selector.is_empty(), "{kind}");
    });
}

/// Whoever registers numbers that are not theirs is refused, and does no harm.
#[test]
#[cfg(target_os = "linux")]
fn descriptors_that_it_keeps_to_itself_are_refused() {
    // In a process of its own: other tests open descriptors, too.
    let name = "descriptors_that_it_keeps_to_itself_are_refused";
    if std::env::var_os("SELECTORS_ALONE").is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let command = command.args(["--exact", name]).env("SELECTORS_ALONE", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    for kind in BackendKind::available() {
        let before = open_numbers();
        let mut selector: SharedSelector<u32> = SharedSelector::of_kind(kind).unwrap();
        let registrar = selector.registrar();
        // The backend's beacon comes with the first such file.
        let file = File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        let file = registrar.register_with(file, Interest::READ, 1, Mode::OneShot).unwrap();
        let own = open_numbers();
        let own = own.into_iter().filter(|fd| !before.contains(fd) && *fd != number);
        let mut refused = 0;
        for fd in own {
            // SAFETY: nothing is done with it but to register it, which is refused.
            let own = unsafe { BorrowedFd::borrow_raw(fd) };
            for interest in [Interest::READ, Interest::empty()] {
                match registrar.register(own, interest, 2) {
                    Ok(source) => {
                        // Parked, which nobody needs to ask the backend about.
                        assert!(interest.is_empty(), "{kind}: descriptor {fd} is not refused");
                        assert!(source.modify(Interest::READ).is_err(), "{kind}: {fd}");
                    }
                    Err(error) => drop(error),
                }
                refused += 1;
            }
        }
        assert!(refused >= 2, "{kind} has descriptors");
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [file.token()], "{kind}: the file");
        file.modify(Interest::WRITE).unwrap();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [file.token()], "{kind}: the file");
        selector.waker().wake().unwrap();
        assert!(selector.select(LONG).unwrap().woken(), "{kind}: the waker");
        drop(file);

        // Closed while registered: its number becomes the beacon's, or nobody's.
        let mut selector: SharedSelector<u32> = SharedSelector::of_kind(kind).unwrap();
        let registrar = selector.registrar();
        let file = File::open("/dev/null").unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        // SAFETY: it is closed below, and not used by this name afterwards.
        let number = unsafe { BorrowedFd::borrow_raw(ours.as_raw_fd()) };
        let closed = registrar.register(number, Interest::READ, 2).unwrap();
        drop(ours);
        let file = registrar.register(file, Interest::READ, 1).unwrap();
        let _ = closed.modify(Interest::READ | Interest::WRITE);
        drop(closed);
        for _ in 0..3 {
            let events = selector.select(LONG).unwrap();
            assert!(tokens(&events).contains(&file.token()), "{kind}: the file");
        }
        file.park().unwrap();
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
    }
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
