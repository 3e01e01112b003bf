//! Selectors in a child of fork(2), over every backend of this system.
#![cfg(unix)]

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use selectors::backend::Poll;
use selectors::{
    AnySelector, Backend, BackendKind, Capabilities, DefaultSelector, DeferredSelector, Error,
    Event, Events, Interest, Mode, Readiness, Selector, SharedSelector, Token, Watch,
};

#[path = "support/descriptors.rs"]
mod descriptors;
mod support;

use descriptors::open_numbers;
use support::Idle;

const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(10));

/// Runs `act` in a forked child: whether it ended without a panic.
fn in_child(act: impl FnOnce()) -> bool {
    // SAFETY: the child runs `act` alone, which takes no lock of another thread, and ends.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0)))
        }
        ForkResult::Child => {
            // SAFETY: alarm(2) only sets a timer, which turns a hang into a failure.
            unsafe { nix::libc::alarm(20) };
            let code = i32::from(catch_unwind(AssertUnwindSafe(act)).is_err());
            // SAFETY: it ends the process without running anything of the parent's.
            unsafe { nix::libc::_exit(code) }
        }
    }
}

#[test]
fn proc_4_every_call_in_a_child_says_so() {
    for kind in BackendKind::available() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut selector = AnySelector::new(kind).unwrap();
        let token = selector.register(&ours, Interest::READ, ()).unwrap();
        let waker = selector.waker().unwrap();
        let fine = in_child(|| {
            assert!(matches!(selector.select(NOW), Err(Error::Forked)), "{kind}");
            assert!(matches!(selector.modify(token, Interest::WRITE), Err(Error::Forked)));
            assert!(matches!(selector.rearm(token), Err(Error::Forked)));
            assert!(matches!(selector.unregister(token), Err(Error::Forked)));
            assert!(matches!(selector.waker(), Err(Error::Forked)));
            assert!(matches!(waker.wake(), Err(Error::Forked)));
            let refused = selector.register(&theirs, Interest::READ, ()).unwrap_err();
            assert!(matches!(refused.error, Error::Forked));
            let extracted = selector.extract_if(|_| panic!("no source is chosen"));
            assert!(matches!(extracted.map_err(|failed| failed.error), Err(Error::Forked)));
            let mut events = Events::new();
            events.push(Event::new(token, Readiness::READ));
            assert!(matches!(selector.select_into(&mut events, NOW), Err(Error::Forked)));
            assert!(events.is_empty(), "{kind}: as after every failure");
            assert_eq!(selector.len(), 1);
        });
        assert!(fine, "{kind}");
        assert!(
            !selector.select(NOW).unwrap().woken(),
            "{kind}: a wake in the child has no effect"
        );
        waker.wake().unwrap();
        assert!(selector.select(LONG).unwrap().woken(), "{kind}");
    }
}

#[test]
fn proc_4_the_parent_does_not_notice_a_child_that_drops() {
    for kind in BackendKind::available() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut selector = Some(AnySelector::new(kind).unwrap());
        let token = selector.as_mut().unwrap().register(&ours, Interest::READ, ()).unwrap();
        let waker = selector.as_mut().unwrap().waker().unwrap();
        assert!(in_child(|| drop(selector.take())), "{kind}");
        assert!(in_child(|| drop(selector.take().map(selectors::Selector::close))), "{kind}");
        let selector = selector.as_mut().unwrap();
        theirs.write_all(b"x").unwrap();
        let events = selector.select(LONG).unwrap();
        assert_eq!(
            events.iter().map(selectors::Event::token).collect::<Vec<_>>(),
            [token],
            "{kind}"
        );
        waker.wake().unwrap();
        assert!(selector.select(LONG).unwrap().woken(), "{kind}");
    }
}

#[test]
fn proc_4_after_fork_makes_the_child_whole() {
    for kind in BackendKind::available() {
        let ((ours, mut theirs), (once, _a), (parked, mut b)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        b.write_all(b"x").unwrap();
        let mut selector = AnySelector::new(kind).unwrap();
        let level = selector.register(&ours, Interest::READ, ()).unwrap();
        let fired = selector.register_with(&once, Interest::WRITE, (), Mode::OneShot).unwrap();
        let parked = selector.register(&parked, Interest::empty(), ()).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1, "{kind}");
        let waker = selector.waker().unwrap();
        let fine = in_child(|| {
            selector.after_fork().unwrap();
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}: as it was");
            assert!(waker.wake().is_err(), "{kind}: it is the parent's");
            selector.waker().unwrap().wake().unwrap();
            assert!(selector.select(LONG).unwrap().woken(), "{kind}");
            theirs.write_all(b"x").unwrap();
            let [event] = selector.select(LONG).unwrap().iter().copied().collect::<Vec<_>>()[..]
            else {
                panic!("{kind}: one event")
            };
            assert_eq!(event.token(), level);
            selector.modify(level, Interest::WRITE).unwrap();
            selector.unregister(level).unwrap();
            selector.rearm(fired).unwrap();
            selector.modify(parked, Interest::READ).unwrap();
            assert_eq!(selector.select(LONG).unwrap().len(), 2, "{kind}");
        });
        assert!(fine, "{kind}");
        let events = selector.select(LONG).unwrap();
        assert_eq!(events.len(), 1, "{kind}: what the child wrote, and nothing that it changed");
        assert!(!events.woken(), "{kind}");
    }
}

#[test]
fn proc_4_a_source_that_the_child_closed_can_be_unregistered() {
    for kind in BackendKind::available() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (closed, _its_peer) = UnixStream::pair().unwrap();
        let mut selector = AnySelector::new(kind).unwrap();
        let token = selector.register(&ours, Interest::READ, ()).unwrap();
        let gone = selector.register(&closed, Interest::READ, ()).unwrap();
        theirs.write_all(b"x").unwrap();
        let fine = in_child(|| {
            nix::unistd::close(closed.as_raw_fd()).unwrap();
            selector.after_fork().unwrap();
            let events = selector.select(LONG).unwrap();
            assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [token], "{kind}");
            selector.unregister(gone).unwrap();
            assert_eq!(selector.len(), 1);
        });
        assert!(fine, "{kind}");
    }
}

/// Sources that a child has closed, more of them than either selector opens descriptors, and one
/// that it has not.
#[test]
fn proc_4_what_the_child_opens_may_have_the_numbers_of_closed_sources() {
    for kind in BackendKind::available() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let closed: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
        let close =
            || closed.iter().for_each(|(ours, _)| nix::unistd::close(ours.as_raw_fd()).unwrap());
        theirs.write_all(b"x").unwrap();

        let mut selector = AnySelector::new(kind).unwrap();
        let mut gone = Vec::new();
        for (ours, _) in &closed {
            gone.push(selector.register(ours.as_fd(), Interest::READ, ()).unwrap());
        }
        let token = selector.register(ours.as_fd(), Interest::READ, ()).unwrap();
        let fine = in_child(|| {
            close();
            selector.after_fork().unwrap();
            selector.waker().unwrap().wake().unwrap();
            let events = selector.select(LONG).unwrap();
            assert!(events.woken(), "{kind}");
            assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [token], "{kind}");
            for token in gone {
                // Whatever it returns, the selector's own descriptors do not change.
                let _ = selector.modify(token, Interest::READ | Interest::WRITE);
                selector.unregister(token).unwrap();
            }
            selector.waker().unwrap().wake().unwrap();
            let events = selector.select(LONG).unwrap();
            assert!(events.woken() && events.len() == 1, "{kind}: {events:?}");
        });
        assert!(fine, "{kind}");
        drop(selector);

        let mut selector = SharedSelector::of_kind(kind).unwrap();
        let registrar = selector.registrar();
        let mut gone = Vec::new();
        for (ours, _) in &closed {
            gone.push(registrar.register(ours.as_fd(), Interest::READ, ()).unwrap());
        }
        let source = registrar.register(ours.as_fd(), Interest::READ, ()).unwrap();
        let fine = in_child(|| {
            close();
            selector.after_fork().unwrap();
            selector.waker().wake().unwrap();
            let events = selector.select(LONG).unwrap();
            assert!(events.woken(), "{kind}");
            assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [source.token()]);
            for source in gone {
                let _ = source.modify(Interest::READ | Interest::WRITE);
            }
            selector.waker().wake().unwrap();
            let events = selector.select(LONG).unwrap();
            assert!(events.woken() && events.len() == 1, "{kind}: {events:?}");
            source.park().unwrap();
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        });
        assert!(fine, "{kind}, shared");
    }
}

/// Every number that is free, for a file object.
fn free_numbers() -> impl Iterator<Item = OwnedFd> {
    let open = open_numbers();
    let (file, _) = UnixStream::pair().unwrap();
    (0..100).filter(move |number| !open.contains(number)).filter_map(move |number| {
        let copy = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(number)).ok()?;
        // SAFETY: a new descriptor, owned by nothing else.
        let copy = unsafe { OwnedFd::from_raw_fd(copy) };
        (copy.as_raw_fd() == number).then_some(copy)
    })
}

/// The child's waker and descriptor have other numbers than the parent's, which are free.
#[test]
fn reg_8_a_child_does_not_reserve_the_numbers_of_its_parent() {
    for kind in BackendKind::available() {
        let mut selector = AnySelector::new(kind).unwrap();
        let mut waker = Some(selector.waker().unwrap());
        selector.select(NOW).unwrap();
        let fine = in_child(|| {
            // It keeps the channel open.
            waker.take();
            selector.after_fork().unwrap();
            for file in free_numbers() {
                let token =
                    selector.register(file, Interest::READ, ()).expect("its number is free");
                selector.unregister(token).unwrap();
            }
        });
        assert!(fine, "{kind}");

        let mut selector = SharedSelector::of_kind(kind).unwrap();
        let shown = selector.descriptor().is_some();
        selector.select(NOW).unwrap();
        let fine = in_child(|| {
            selector.after_fork().unwrap();
            let registrar = selector.registrar();
            for file in free_numbers() {
                drop(registrar.register(file, Interest::READ, ()).expect("its number is free"));
            }
            assert_eq!(selector.descriptor().is_some(), shown);
        });
        assert!(fine, "{kind}, shared");
    }
}

#[test]
fn proc_4_what_was_refused_is_watched_in_a_child() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (closed, _peer) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let number = closed.as_raw_fd();
    let fine = in_child(|| {
        let mut selector = DeferredSelector::new().unwrap();
        // SAFETY: it is open again when the selector uses it, and until the process ends.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let token = selector.register(fd, Interest::READ, ()).unwrap();
        nix::unistd::close(number).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1);
        assert!(selector.backend().refusal(token).is_some());
        let fine = in_child(|| {
            // SAFETY: dup2(2) opens a number that is free.
            assert_eq!(unsafe { nix::libc::dup2(ours.as_raw_fd(), number) }, number);
            selector.after_fork().unwrap();
            assert!(selector.backend().refusal(token).is_none());
            let events = selector.select(LONG).unwrap();
            assert_eq!(events[..], [Event::new(token, Readiness::READ)]);
        });
        assert!(fine);
    });
    assert!(fine);
}

/// A source that was closed, and whose number is the selector's own descriptor.
#[test]
#[cfg(target_os = "linux")]
fn proc_4_a_closed_source_does_not_keep_the_child_from_being_whole() {
    let fine = in_child(|| {
        let mut selector = DefaultSelector::new().unwrap();
        let (closed, peer) = UnixStream::pair().unwrap();
        let number = closed.as_raw_fd();
        // SAFETY: it is open; closing it while it is borrowed is the misuse that is tested.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let gone = selector.register(fd, Interest::READ, ()).unwrap();
        drop(closed);
        assert_eq!(selector.as_raw_fd(), number, "the lowest that is free");
        let other = selector.register(peer.as_fd(), Interest::WRITE, ()).unwrap();
        let fine = in_child(|| {
            selector.after_fork().unwrap();
            let events = selector.select(LONG).unwrap();
            assert!(events.iter().any(|event| event.token() == other), "{events:?}");
            selector.unregister(gone).unwrap();
            assert_eq!(selector.as_raw_fd(), number, "it is as before");
        });
        assert!(fine);
    });
    assert!(fine);
}

#[test]
fn proc_4_handles_work_in_a_child() {
    for kind in BackendKind::available() {
        let mut selector: SharedSelector = SharedSelector::of_kind(kind).unwrap();
        let registrar = selector.registrar();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut source = Some(registrar.register(ours, Interest::READ, ()).unwrap());
        let fine = in_child(|| {
            drop(source.take());
            assert_eq!(selector.len(), 0, "{kind}: dropped before it was made whole");
            selector.after_fork().unwrap();
            assert_eq!(selector.len(), 0, "{kind}");
            registrar.waker().wake().unwrap();
            assert!(selector.select(LONG).unwrap().woken(), "{kind}");
            selector.waker().wake().unwrap();
            assert!(selector.select(LONG).unwrap().woken(), "{kind}");
            let new = registrar.register(&theirs, Interest::WRITE, ()).unwrap();
            let events = selector.select(LONG).unwrap();
            assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [new.token()]);
            assert_eq!(selector.len(), 1, "{kind}");
        });
        assert!(fine, "{kind}");
        assert_eq!(selector.len(), 1, "{kind}");
    }
}

#[test]
fn reg_12_a_child_keeps_no_descriptor_of_its_parent() {
    for kind in BackendKind::available() {
        let mut selector: SharedSelector = SharedSelector::of_kind(kind).unwrap();
        let shown = selector.descriptor().is_some();
        let fine = in_child(|| {
            // A queue is not inherited: the first child has less than its parent.
            selector.after_fork().unwrap();
            assert_eq!(selector.descriptor().is_some(), shown);
            let before = open_numbers().len();
            let fine = in_child(|| {
                selector.after_fork().unwrap();
                assert_eq!(selector.descriptor().is_some(), shown);
                assert!(open_numbers().len() <= before, "{kind}: {before} in the parent");
            });
            assert!(fine, "{kind}");
        });
        assert!(fine, "{kind}");
    }
}

#[test]
fn proc_4_the_descriptor_of_a_child_is_not_that_of_its_parent() {
    for kind in BackendKind::available() {
        let mut selector: SharedSelector = SharedSelector::of_kind(kind).unwrap();
        if selector.descriptor().is_none() || !selector.capabilities().nesting {
            continue;
        }
        let fine = in_child(|| {
            selector.after_fork().unwrap();
            selector.waker().wake().unwrap();
            let mut outer = DefaultSelector::new().unwrap();
            outer.register(selector.descriptor().unwrap(), Interest::READ, ()).unwrap();
            assert_eq!(outer.select(LONG).unwrap().len(), 1, "the wake is the child's");
        });
        assert!(fine, "{kind}");
    }
}

/// poll(2), whose `register` waits until the test lets it go on.
struct Slow {
    poll: Poll,
    entered: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Backend for Slow {
    fn capabilities(&self) -> Capabilities {
        self.poll.capabilities()
    }

    fn register(&mut self, source: BorrowedFd<'_>, token: Token, watch: Watch) -> io::Result<()> {
        if token.to_bits() >> 32 != u64::from(u32::MAX) {
            self.entered.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        self.poll.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawFd, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.poll.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawFd, token: Token, watch: Watch) -> io::Result<()> {
        self.poll.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.wait(events, timeout)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.poll.after_fork()
    }
}

#[test]
fn proc_4_a_child_of_the_middle_of_a_change_is_refused_and_not_held_up() {
    let (entered, has_entered) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let slow = Slow { poll: Poll::new().unwrap(), entered, go_on };
    let mut selector = SharedSelector::with_backend(slow).unwrap();
    let registrar = selector.registrar();
    let (idle, mut theirs) = UnixStream::pair().unwrap();
    let (other, _peer) = UnixStream::pair().unwrap();
    let parked = registrar.register(idle, Interest::empty(), ()).unwrap();
    let token = parked.token();
    let waker = registrar.waker();
    let mut mine = Some((parked, selector.registrar()));
    thread::scope(|scope| {
        let changer = scope.spawn(|| registrar.register(other, Interest::WRITE, ()));
        has_entered.recv_timeout(LONG.unwrap()).unwrap();
        // The other thread has locked what it changes, and in the child that stays so.
        let fine = in_child(|| {
            assert!(matches!(selector.select(NOW), Err(Error::Forked)));
            let deadline = Some(Instant::now());
            assert!(matches!(selector.select_until(deadline), Err(Error::Forked)));
            let mut events = Events::new();
            events.push(Event::new(token, Readiness::READ));
            assert!(matches!(selector.select_into(&mut events, NOW), Err(Error::Forked)));
            assert!(events.is_empty(), "as after every failure");
            assert!(matches!(selector.waker().wake(), Err(Error::Forked)));
            assert!(matches!(registrar.waker().wake(), Err(Error::Forked)));
            assert!(matches!(waker.wake(), Err(Error::Forked)));
            assert!(matches!(registrar.modify(token, Interest::READ), Err(Error::Forked)));
            assert_eq!(selector.len(), 1);
            assert!(selector.get(token).is_some());
            assert!(selector.descriptor().is_none());
            assert!(selector.now() <= Instant::now());
            let (source, registrar) = mine.take().unwrap();
            assert!(matches!(source.modify(Interest::READ), Err(Error::Forked)));
            let refused = registrar.register(&theirs, Interest::READ, ()).unwrap_err();
            assert!(matches!(refused.error, Error::Forked));
            drop((source, registrar));
            // The change is lost, which is reported without a hang.
            assert!(matches!(selector.after_fork(), Err(Error::Forked)));
            assert!(!format!("{selector:?}").is_empty());
        });
        let_go.send(()).unwrap();
        let _other = changer.join().unwrap().unwrap();
        assert!(fine);
        let parked = &mine.as_ref().unwrap().0;
        let_go.send(()).unwrap();
        parked.modify(Interest::READ).unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 2);
    });
}

#[test]
fn proc_4_a_backend_that_cannot_be_renewed_says_so() {
    let mut selector: Selector<UnixStream, (), Idle> = Selector::with_backend(Idle(None));
    selector.after_fork().unwrap();
    let fine = in_child(|| {
        for _ in 0..2 {
            assert!(matches!(selector.after_fork(), Err(Error::Unsupported { .. })));
        }
        assert!(matches!(selector.select(NOW), Err(Error::Forked)));
    });
    assert!(fine);
}
