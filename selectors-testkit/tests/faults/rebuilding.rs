//! A new epoll instance in the place of one that reports what was closed: each of the calls that
//! make it fails.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use selectors::backend::{Deferred, Epoll};
use selectors::{Backend, Event, Events, Interest, Mode, Selector, Token, Waker};
use selectors_testkit::fixtures::{
    LooseDescriptor, borrow, drain, forked_holder, is_ready, null_device, unix_pair,
};

use crate::injection::{Call, FOR_EVER, Fault, calls, failing, failing_both};
use crate::{NOW, in_child};

/// What can be reported of each source that is not the ghost.
struct Sources {
    level: (UnixStream, UnixStream),
    exclusive: (UnixStream, UnixStream),
    one_shot: (UnixStream, UnixStream),
    fired: (UnixStream, UnixStream),
    edge: (UnixStream, UnixStream),
    seen_edge: (UnixStream, UnixStream),
    parked: (UnixStream, UnixStream),
    file: OwnedFd,
    ghost: (UnixStream, UnixStream),
    loose: LooseDescriptor,
}

impl Sources {
    fn new() -> io::Result<Self> {
        let ghost = unix_pair()?;
        let loose = LooseDescriptor::duplicate(&ghost.0)?;
        Ok(Self {
            level: unix_pair()?,
            exclusive: unix_pair()?,
            one_shot: unix_pair()?,
            fired: unix_pair()?,
            edge: unix_pair()?,
            seen_edge: unix_pair()?,
            parked: unix_pair()?,
            file: null_device()?.into(),
            ghost,
            loose,
        })
    }
}

/// A selector that has a ghost, and something of everything to report.
struct Scene<'a, B> {
    selector: Selector<BorrowedFd<'a>, (), B>,
    waker: Waker,
    sources: &'a Sources,
    level: Token,
    exclusive: Token,
    one_shot: Token,
    fired: Token,
    edge: Token,
    seen_edge: Token,
    parked: Token,
    file: Token,
}

/// Makes one end of a pair readable.
fn send(pair: &(UnixStream, UnixStream)) -> io::Result<()> {
    (&pair.1).write_all(b"x")
}

fn tokens(events: &Events) -> Vec<Token> {
    let mut tokens: Vec<_> = events.iter().map(Event::token).collect();
    tokens.sort();
    tokens
}

fn sorted<const N: usize>(mut tokens: [Token; N]) -> [Token; N] {
    tokens.sort();
    tokens
}

impl<'a, B: Backend + AsFd> Scene<'a, B> {
    fn new(backend: B, sources: &'a Sources) -> io::Result<Self> {
        let mut selector = Selector::with_backend(backend);
        let waker = selector.waker()?;
        let mut register =
            |source: BorrowedFd<'a>, mode| selector.register_with(source, Interest::READ, (), mode);
        let level = register(borrow(&sources.level.0), Mode::Level)?;
        let exclusive = register(borrow(&sources.exclusive.0), Mode::Exclusive)?;
        let one_shot = register(borrow(&sources.one_shot.0), Mode::OneShot)?;
        let fired = register(borrow(&sources.fired.0), Mode::OneShot)?;
        let edge = register(borrow(&sources.edge.0), Mode::Edge)?;
        let seen_edge = register(borrow(&sources.seen_edge.0), Mode::Edge)?;
        let parked = register(borrow(&sources.parked.0), Mode::Level)?;
        let file = register(borrow(&sources.file), Mode::Level)?;
        let ghost = register(sources.loose.borrow(), Mode::Level)?;
        selector.modify(parked, Interest::empty())?;
        for pair in [&sources.fired, &sources.seen_edge, &sources.parked] {
            send(pair)?;
        }
        assert_eq!(tokens(&selector.select(NOW)?), sorted([fired, seen_edge, file]));
        // Somebody watches the selector.
        assert!(is_ready(&selector, Interest::READ, 0)?);
        sources.loose.close()?;
        selector.unregister(ghost)?;
        for pair in
            [&sources.ghost, &sources.level, &sources.exclusive, &sources.one_shot, &sources.edge]
        {
            send(pair)?;
        }
        waker.wake()?;
        Ok(Self {
            selector,
            waker,
            sources,
            level,
            exclusive,
            one_shot,
            fired,
            edge,
            seen_edge,
            parked,
            file,
        })
    }

    /// One wait, in which the calls for a new instance fail: no ready source is missing. How many
    /// calls have failed.
    fn first_wait(&mut self, fault: Option<Fault>) -> io::Result<u32> {
        let (events, injected) = failing(fault, || self.selector.select(NOW));
        let events = events?;
        let ready = [self.level, self.exclusive, self.one_shot, self.edge, self.file];
        assert_eq!(tokens(&events), sorted(ready), "{fault:?}");
        assert!(events.woken(), "{fault:?}");
        Ok(injected)
    }

    /// A later wait, in which they fail as well.
    fn later_wait(&mut self, fault: Option<Fault>) -> io::Result<u32> {
        let (events, injected) = failing(fault, || self.selector.select(NOW));
        let events = events?;
        assert_eq!(tokens(&events), sorted([self.level, self.exclusive, self.file]), "{fault:?}");
        assert!(!events.woken(), "{fault:?}");
        Ok(injected)
    }

    /// Leaves nothing to report but the ghost.
    fn silence(&mut self) -> io::Result<()> {
        for (source, _) in [&self.sources.level, &self.sources.exclusive] {
            drain(source)?;
        }
        Ok(self.selector.modify(self.file, Interest::empty())?)
    }

    /// A wait with nothing to report but the ghost, while the calls fail.
    fn quiet_wait(&mut self, fault: Option<Fault>) -> io::Result<()> {
        let before = calls();
        let wait = Some(Duration::from_millis(200));
        let (events, _) = failing(fault, || self.selector.select(wait));
        let events = events?;
        assert!(events.is_empty() && !events.woken(), "{fault:?}: {events:?}");
        // One poll every millisecond, and the pause after it. Rebuilding takes two calls for each source
        // and up to ten others, and is tried again after as many waits as there are sources.
        let made = calls() - before;
        assert!(made < 1_500, "{fault:?}: {made} calls in {wait:?}");
        Ok(())
    }

    /// The calls succeed again: the ghost is removed soon, and all sources are watched as before.
    fn is_whole(&mut self, fault: Option<Fault>) -> io::Result<()> {
        for _ in 0..40 {
            assert_eq!(tokens(&self.selector.select(NOW)?), [], "{fault:?}");
        }
        let front = borrow(&self.selector);
        assert!(!is_ready(&front, Interest::READ, 0)?, "{fault:?}: the kernel has a ghost");
        for token in [self.one_shot, self.fired, self.seen_edge, self.edge] {
            self.selector.rearm(token)?;
        }
        for pair in [&self.sources.level, &self.sources.exclusive] {
            send(pair)?;
        }
        self.selector.modify(self.parked, Interest::READ)?;
        self.selector.modify(self.file, Interest::READ)?;
        self.waker.wake()?;
        let events = self.selector.select(NOW)?;
        assert!(events.woken(), "{fault:?}");
        assert_eq!(events.len(), self.selector.len(), "{fault:?}: {events:?}");
        let again = [self.level, self.exclusive, self.parked, self.file];
        let events = self.selector.select(NOW)?;
        assert_eq!(tokens(&events), sorted(again), "{fault:?}");
        Ok(())
    }
}

/// Every fault that a rebuild may meet, but for those of a wait.
const FAULTS: [Fault; 7] = [
    Fault::new(Call::EpollCreate, Errno::EMFILE),
    Fault::new(Call::EpollCreate, Errno::ENFILE),
    Fault::new(Call::EpollCreate, Errno::ENOMEM),
    Fault::new(Call::EpollAdd, Errno::ENOMEM),
    Fault::new(Call::EpollAdd, Errno::ENOSPC),
    Fault::new(Call::EpollAdd, Errno::EINVAL),
    Fault::new(Call::EpollDelete, Errno::ENOMEM),
];

/// Has each of the calls fail once, a few times and for ever. What `beside` returns is kept meanwhile.
fn at_every_place<B: Backend + AsFd, R>(
    new: impl Fn() -> io::Result<B>,
    beside: impl Fn() -> io::Result<R>,
    faults: &[Fault],
) -> io::Result<()> {
    for &fault in faults {
        let mut places = 0;
        loop {
            let mut injected = 0;
            for times in [1, 3, FOR_EVER] {
                let fault = Some(fault.after(fault.skip + places).times(times));
                let sources = Sources::new()?;
                let mut scene = Scene::new(new()?, &sources)?;
                let _beside = beside()?;
                injected = scene.first_wait(fault)?;
                if injected == 0 {
                    break;
                }
                for _ in 0..30 {
                    scene.later_wait(fault)?;
                }
                scene.silence()?;
                if times == FOR_EVER {
                    scene.quiet_wait(fault)?;
                }
                scene.is_whole(fault)?;
            }
            if injected == 0 {
                break;
            }
            places += 1;
        }
        println!("{fault:?}: {places} places");
        assert!(places > 0, "{fault:?} is never met");
    }
    Ok(())
}

#[test]
fn close_4_each_call_of_a_rebuild_fails() -> io::Result<()> {
    at_every_place(Epoll::new, || Ok(()), &FAULTS)
}

#[test]
fn close_4_each_call_of_a_rebuild_beneath_deferred_changes_fails() -> io::Result<()> {
    at_every_place(|| Epoll::new().map(Deferred::new), || Ok(()), &FAULTS)
}

/// The child has a copy of the old instance, which closing it does not remove from the one that others
/// watch.
#[test]
fn close_4_each_call_of_a_rebuild_beside_a_child_fails() -> io::Result<()> {
    let [.., removing] = FAULTS;
    at_every_place(Epoll::new, forked_holder, &[removing])
}

/// The first wait of a `select` is its own. The rebuild makes one for each of the two instances,
/// however many edges occur meanwhile.
#[test]
fn close_4_each_wait_of_a_rebuild_fails() -> io::Result<()> {
    for errno in [Errno::EINTR, Errno::EINVAL] {
        let mut places = 0;
        loop {
            let fault = Some(Fault::new(Call::EpollWait, errno).after(1 + places));
            let sources = Sources::new()?;
            let mut scene = Scene::new(Epoll::new()?, &sources)?;
            let injected = scene.first_wait(fault)?;
            for _ in 0..30 {
                scene.later_wait(None)?;
            }
            scene.silence()?;
            scene.quiet_wait(None)?;
            scene.is_whole(fault)?;
            if injected == 0 {
                break;
            }
            places += 1;
        }
        assert_eq!(places, 2, "{errno}: waits of the rebuild");
    }
    Ok(())
}

/// The pause between two polls fails, too, while rebuilding fails: no wait spins.
#[test]
fn wait_11_the_pause_of_a_ghost_fails() -> io::Result<()> {
    let never = Fault::new(Call::EpollCreate, Errno::EMFILE).times(FOR_EVER);
    for errno in [Errno::EINTR, Errno::ENOMEM, Errno::EPERM, Errno::ENOSYS] {
        for times in [1, 3, FOR_EVER] {
            // Every signal is an interruption: an unending storm of them may take its time.
            if errno == Errno::EINTR && times == FOR_EVER {
                continue;
            }
            let sources = Sources::new()?;
            let mut scene = Scene::new(Epoll::new()?, &sources)?;
            scene.first_wait(Some(never))?;
            scene.silence()?;
            let pause = Fault::new(Call::Select, errno).times(times);
            let before = calls();
            let wait = Some(Duration::from_millis(100));
            let (events, injected) = failing_both([never, pause], || scene.selector.select(wait));
            assert!(events?.is_empty() && injected > 1);
            let made = calls() - before;
            assert!(made < 1500, "{errno}, {times} times: {made} calls in {wait:?}");
            scene.is_whole(Some(pause))?;
        }
    }
    Ok(())
}

/// On request a signal ends the pause and with it the wait.
#[test]
fn wait_6_the_pause_of_a_ghost_is_interrupted() -> io::Result<()> {
    let never = Fault::new(Call::EpollCreate, Errno::EMFILE).times(FOR_EVER);
    let sources = Sources::new()?;
    let mut scene = Scene::new(Epoll::new()?, &sources)?;
    scene.first_wait(Some(never))?;
    scene.silence()?;
    scene.selector.set_interruptible(true);
    let pause = Fault::new(Call::Select, Errno::EINTR);
    let (events, injected) = failing_both([never, pause], || scene.selector.select(None));
    let events = events?;
    assert!(events.is_empty() && events.interrupted());
    assert!(injected >= 1);
    scene.is_whole(Some(pause))
}

/// A check of the test itself: without a fault the ghost is removed at once.
#[test]
fn close_4_a_rebuild_succeeds() -> io::Result<()> {
    let sources = Sources::new()?;
    let mut scene = Scene::new(Epoll::new()?, &sources)?;
    assert_eq!(scene.first_wait(None)?, 0);
    assert_eq!(scene.later_wait(None)?, 0);
    scene.silence()?;
    scene.quiet_wait(None)?;
    scene.is_whole(None)
}

/// The descriptor that others watch is that of the sources' own instance if there was none for another:
/// whoever watches a duplicate of it goes on seeing what there is to report, here and in a child.
#[test]
fn ready_13_a_descriptor_without_an_instance_of_its_own_stays() -> io::Result<()> {
    in_child(|| {
        let mut selector: Selector<BorrowedFd<'_>, (), _> = Selector::with_backend(Epoll::new()?);
        let none_left = Fault::new(Call::EpollCreate, Errno::EMFILE);
        let (watched, injected) = failing(none_left, || selector.as_fd().try_clone_to_owned());
        let (watched, number) = (watched?, selector.as_raw_fd());
        assert_eq!(injected, 1);
        let (ours, mut theirs) = unix_pair()?;
        let (alive, mut peer) = unix_pair()?;
        let loose = LooseDescriptor::duplicate(&alive)?;
        let ghost = selector.register(loose.borrow(), Interest::READ, ())?;
        loose.close()?;
        selector.unregister(ghost)?;
        peer.write_all(b"x")?;
        assert!(selector.select(Some(Duration::from_millis(5)))?.is_empty());
        drain(&alive)?;
        let token = selector.register(borrow(&ours), Interest::READ, ())?;
        assert!(!is_ready(&watched, Interest::READ, 0)?);
        theirs.write_all(b"x")?;
        assert!(is_ready(&watched, Interest::READ, 0)?);
        assert_eq!(tokens(&selector.select(NOW)?), [token]);
        assert_eq!(selector.as_raw_fd(), number);
        drain(&ours)?;
        in_child(|| {
            selector.after_fork()?;
            assert_eq!(selector.as_raw_fd(), number);
            theirs.write_all(b"x")?;
            assert!(is_ready(&selector, Interest::READ, 0)?);
            assert_eq!(tokens(&selector.select(NOW)?), [token]);
            Ok(())
        })
    })
}
