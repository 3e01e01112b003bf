//! Filters of seccomp(2) and lowered limits, in child processes: registered sources are still
//! served. Not through the C library, which may make other system calls.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "faults")))]
#![expect(unsafe_code, reason = "a filter is installed by prctl(2)")]

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::alarm;
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{
    AnySelector, Backend, BackendKind, Event, Events, Interest, Mode, Readiness, Selector, Token,
    Waker,
};
use selectors_testkit::fixtures::{
    LooseDescriptor, OwnedSource, drain, in_forked_child, null_device, regular_file, unix_pair,
};

const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(20));

/// Runs a test in a child process, with which limits and filters end.
fn in_child(test: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let passed = in_forked_child(|| {
        alarm::set(60);
        test().expect("no error");
    })?;
    assert!(passed, "the child has failed");
    Ok(())
}

/// What becomes of a call that is filtered.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Fails(Errno),
    Kills,
}

/// Has the kernel filter calls from now on: seccomp(2).
fn forbid(calls: &[i64], verdict: Verdict) -> io::Result<()> {
    let action = match verdict {
        Verdict::Fails(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        Verdict::Kills => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let step = |code: u32, jt, jf, k| {
        let code = u16::try_from(code).expect("all codes are small");
        libc::sock_filter { code, jt, jf, k }
    };
    let compare = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    // The number of the call is the first word of the filter's input.
    let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for &call in calls {
        let call = u32::try_from(call).map_err(io::Error::other)?;
        filter.push(step(compare, 0, 1, call));
        filter.push(step(answer, 0, 0, action));
    }
    filter.push(step(answer, 0, 0, libc::SECCOMP_RET_ALLOW));
    let len = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: takes numbers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program and its steps outlive the call, which copies them.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) })?;
    Ok(())
}

fn tokens(events: &Events) -> Vec<Token> {
    let mut tokens: Vec<_> = events.iter().map(Event::token).collect();
    tokens.sort();
    tokens
}

/// A selector with a source for each way to be watched.
struct Scene<B> {
    selector: Selector<OwnedSource, (), B>,
    waker: Waker,
    level: Token,
    once: Token,
    level_peer: UnixStream,
    once_peer: UnixStream,
}

impl<B: Backend> Scene<B> {
    fn new(backend: B) -> io::Result<Self> {
        let mut selector = Selector::with_backend(backend);
        let ((level, level_peer), (once, once_peer)) = (unix_pair()?, unix_pair()?);
        let level = selector.register(level.into(), Interest::READ, ())?;
        let once = selector.register_with(once.into(), Interest::READ, (), Mode::OneShot)?;
        let waker = selector.waker()?;
        assert!(selector.select(NOW)?.is_empty());
        Ok(Self { selector, waker, level, once, level_peer, once_peer })
    }

    /// Waits of every resolution, events, changes and wakes.
    fn is_served(&mut self) -> io::Result<()> {
        for micros in [0, 1, 300, 1_000, 2_500, 3_000] {
            let timeout = Duration::from_micros(micros);
            let start = Instant::now();
            assert!(self.selector.select(Some(timeout))?.is_empty());
            assert!(start.elapsed() >= timeout);
        }
        for timeout in [NOW, Some(Duration::from_micros(20_000_500)), LONG, None] {
            self.level_peer.write_all(b"x")?;
            self.once_peer.write_all(b"x")?;
            self.waker.wake()?;
            let events = self.selector.select(timeout)?;
            let mut both = [self.level, self.once];
            both.sort();
            assert_eq!(tokens(&events), both);
            assert!(events.woken());
            assert_eq!(tokens(&self.selector.select(timeout)?), [self.level]);
            for token in [self.level, self.once] {
                drain(self.selector.get(token).expect("it is registered").fileobj)?;
            }
            self.selector.rearm(self.once)?;
            assert!(self.selector.select(NOW)?.is_empty());
        }
        self.selector.modify(self.level, Interest::WRITE)?;
        assert_eq!(tokens(&self.selector.select(None)?), [self.level]);
        self.selector.modify(self.level, Interest::READ)?;
        assert!(self.selector.select(NOW)?.is_empty());
        Ok(())
    }
}

/// Serves every backend after `happens`, in a child for each.
fn every_backend(happens: impl Fn() -> io::Result<()>) -> io::Result<()> {
    fn one<B: Backend>(backend: B, happens: &impl Fn() -> io::Result<()>) -> io::Result<()> {
        in_child(|| {
            let mut scene = Scene::new(backend)?;
            happens()?;
            scene.is_served()
        })
    }
    one(Epoll::new()?, &happens)?;
    one(Poll::new()?, &happens)?;
    one(Select::new()?, &happens)?;
    one(Deferred::new(Epoll::new()?), &happens)?;
    one(Deferred::new(Poll::new()?), &happens)
}

/// Newer calls, and those that the C library uses instead of older ones.
const NEWER: [i64; 3] = [libc::SYS_epoll_pwait2, libc::SYS_ppoll, libc::SYS_pselect6];

/// What programs can do without.
const HELPERS: [i64; 4] =
    [libc::SYS_epoll_create, libc::SYS_eventfd, libc::SYS_timerfd_create, libc::SYS_signalfd4];

/// Or the tests here could not fail.
#[test]
fn a_filter_kills() -> io::Result<()> {
    let survived = in_forked_child(|| {
        forbid(&[libc::SYS_getppid], Verdict::Kills).expect("a filter");
        nix::unistd::getppid()
    })?;
    assert!(!survived);
    Ok(())
}

#[test]
fn wait_12_newer_calls_kill() -> io::Result<()> {
    every_backend(|| forbid(&[NEWER.as_slice(), &HELPERS].concat(), Verdict::Kills))?;
    // And before there is a selector.
    in_child(|| {
        forbid(&[NEWER.as_slice(), &HELPERS].concat(), Verdict::Kills)?;
        Scene::new(Epoll::new()?)?.is_served()?;
        Scene::new(Poll::new()?)?.is_served()?;
        Scene::new(Select::new()?)?.is_served()?;
        assert!(AnySelector::<OwnedSource>::new(BackendKind::default())?.is_empty());
        Ok(())
    })
}

#[test]
fn wait_12_newer_calls_fail() -> io::Result<()> {
    for errno in [Errno::ENOSYS, Errno::EPERM, Errno::EACCES, Errno::EINVAL, Errno::ENOMEM] {
        every_backend(|| forbid(&NEWER, Verdict::Fails(errno)))?;
    }
    Ok(())
}

/// Fine timeouts are then those of the other call.
#[test]
fn wait_12_select_fails() -> io::Result<()> {
    for errno in [Errno::ENOSYS, Errno::EPERM, Errno::EACCES, Errno::EINVAL, Errno::ENOMEM] {
        let forbid = || forbid(&[libc::SYS_select, libc::SYS_pselect6], Verdict::Fails(errno));
        let (epoll, poll) = (Epoll::new()?, Poll::new()?);
        in_child(|| {
            let (mut epoll, mut poll) = (Scene::new(epoll)?, Scene::new(poll)?);
            forbid()?;
            epoll.is_served()?;
            poll.is_served()
        })?;
    }
    Ok(())
}

/// select(2) then finds the closed descriptors.
#[test]
fn wait_12_fcntl_fails() -> io::Result<()> {
    for errno in [Errno::ENOSYS, Errno::EPERM, Errno::EACCES, Errno::EINVAL] {
        every_backend(|| forbid(&[libc::SYS_fcntl], Verdict::Fails(errno)))?;
        in_child(|| {
            let (ours, _theirs) = unix_pair()?;
            let (open, loose) = (ours.try_clone()?, LooseDescriptor::duplicate(&ours)?);
            let mut selector: Selector<BorrowedFd<'_>, (), _> =
                Selector::with_backend(Select::new()?);
            let gone = LooseDescriptor::duplicate(&ours)?;
            gone.close()?;
            forbid(&[libc::SYS_fcntl], Verdict::Fails(errno))?;
            assert!(selector.register(gone.borrow(), Interest::READ, ()).is_err());
            let closed = selector.register(loose.borrow(), Interest::READ, ())?;
            let open = selector.register(open.as_fd(), Interest::WRITE, ())?;
            loose.close()?;
            let seen = selector.select(LONG)?;
            let mut seen: Vec<_> = seen.iter().map(|it| (it.token(), it.readiness())).collect();
            seen.sort_by_key(|&(token, _)| token);
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert_eq!(seen[0].0, closed);
            assert!(seen[0].1.contains(Readiness::ERROR));
            assert_eq!(seen[1], (open, Readiness::WRITE));
            Ok(())
        })?;
    }
    Ok(())
}

/// A sandbox without epoll or eventfd refuses a selector or a waker, and serves the others and files.
#[test]
fn wait_12_making_fails() -> io::Result<()> {
    in_child(|| {
        let mut scene = Scene::new(Poll::new()?)?;
        let mut fresh = Selector::<OwnedSource, (), Epoll>::new()?;
        forbid(&[libc::SYS_epoll_create1, libc::SYS_eventfd2], Verdict::Fails(Errno::EPERM))?;
        assert!(Epoll::new().is_err_and(|error| error.raw_os_error() == Some(libc::EPERM)));
        assert!(AnySelector::<OwnedSource>::new(BackendKind::default())?.is_empty());
        assert!(fresh.waker().is_err());
        let file = fresh.register(null_device()?.into(), Interest::READ, ())?;
        assert_eq!(tokens(&fresh.select(None)?), [file]);
        fresh.unregister(file)?;
        assert!(fresh.select(Some(Duration::from_millis(5)))?.is_empty());
        scene.is_served()
    })
}

/// A file is not taken for one that never blocks because the sandbox refuses it with the same error, and
/// registered sources are not lost when a new kernel object is tried.
#[test]
fn wait_12_epoll_ctl_fails() -> io::Result<()> {
    for errno in [Errno::EPERM, Errno::EACCES, Errno::ENOSYS] {
        in_child(|| {
            let (watched, mut theirs) = unix_pair()?;
            let (other, _peer) = unix_pair()?;
            let (alive, mut stale) = unix_pair()?;
            let file = regular_file()?;
            let loose = LooseDescriptor::duplicate(&alive)?;
            let mut selector: Selector<BorrowedFd<'_>, (), _> =
                Selector::with_backend(Epoll::new()?);
            let closed = selector.register(loose.borrow(), Interest::READ, ())?;
            let token = selector.register(watched.as_fd(), Interest::READ, ())?;
            loose.close()?;
            selector.unregister(closed)?;
            stale.write_all(b"x")?;
            forbid(&[libc::SYS_epoll_ctl], Verdict::Fails(errno))?;
            let refused = selector.register(other.as_fd(), Interest::READ, ());
            let refused = io::Error::from(refused.expect_err("it is refused"));
            assert_eq!(refused.raw_os_error(), Some(errno as i32));
            if errno == Errno::EPERM {
                // The kernel refuses a file that never blocks with it as well.
                let ready = selector.register(file.as_fd(), Interest::READ, ())?;
                assert_eq!(tokens(&selector.select(NOW)?), [ready]);
                selector.unregister(ready)?;
            }
            let _waker = selector.waker();
            for timeout in [0, 1, 5, 5].map(Duration::from_millis) {
                let start = Instant::now();
                let events = selector.select(Some(timeout))?;
                assert!(events.is_empty() && !events.woken(), "{events:?}");
                assert!(start.elapsed() >= timeout);
            }
            theirs.write_all(b"x")?;
            assert_eq!(tokens(&selector.select(LONG)?), [token]);
            Ok(())
        })?;
    }
    Ok(())
}

/// "Open nothing any more": sandboxes, privilege separation.
#[test]
fn wait_12_no_descriptor_can_be_opened() -> io::Result<()> {
    every_backend(|| rlimit::Resource::NOFILE.set(0, 0))
}

/// Lower than the number of registered sources.
#[test]
fn wait_12_fewer_descriptors_than_are_registered() -> io::Result<()> {
    every_backend(|| rlimit::Resource::NOFILE.set(1, 1))
}

/// Always-ready sources, and ones that were closed while registered, without a free descriptor.
#[test]
fn wait_12_always_ready_without_descriptors() -> io::Result<()> {
    in_child(|| {
        let mut scene = Scene::new(Epoll::new()?)?;
        let (file, second) = (null_device()?, null_device()?);
        let file = scene.selector.register(file.into(), Interest::READ, ())?;
        let second =
            scene.selector.register_with(second.into(), Interest::READ, (), Mode::OneShot)?;
        rlimit::Resource::NOFILE.set(0, 0)?;
        assert_eq!(scene.selector.select(None)?.len(), 2);
        assert_eq!(tokens(&scene.selector.select(None)?), [file]);
        scene.selector.rearm(second)?;
        assert_eq!(scene.selector.select(None)?.len(), 2);
        scene.selector.modify(file, Interest::empty())?;
        scene.is_served()?;
        scene.selector.modify(file, Interest::READ)?;
        assert_eq!(tokens(&scene.selector.select(None)?), [file]);
        Ok(())
    })
}
