//! Waits that fail or are interrupted, and what they do without.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::alarm;
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{AnySelector, Backend, BackendKind, Interest, Mode, Readiness, Selector};
use selectors_testkit::fixtures::{
    LooseDescriptor, OwnedSource, borrow, null_device, regular_file, unix_pair,
};

use super::changes::{assert_failed, tokens, with_source};
use crate::injection::{Call, FOR_EVER, Fault, calls, failing, within};
use crate::{LONG, NOW, Subject, in_child};

/// A wait that fails returns the error, and the next one reports the ready sources.
fn wait_fails<B: Backend>(new: impl Fn() -> io::Result<B>, call: Call) -> io::Result<()> {
    for timeout in [NOW, LONG, None] {
        let (mut selector, token, mut peer) = with_source(new()?)?;
        selector.modify_with(token, Interest::READ, Mode::OneShot)?;
        let waker = selector.waker()?;
        peer.write_all(b"x")?;
        waker.wake()?;
        for times in [1, 2, 3] {
            let fault = Fault::new(call, Errno::ENOMEM).times(times);
            failing(fault, || {
                for _ in 0..times {
                    assert_failed(selector.select(timeout), Errno::ENOMEM);
                }
            });
        }
        let events = selector.select(timeout)?;
        assert!(events.woken());
        assert_eq!(tokens(&events), [token]);
        assert!(selector.select(NOW)?.is_empty());
    }
    Ok(())
}

#[test]
fn wait_9_a_wait_fails() -> io::Result<()> {
    wait_fails(Epoll::new, Call::EpollWait)?;
    wait_fails(Poll::new, Call::Poll)?;
    wait_fails(Select::new, Call::Select)?;
    wait_fails(|| Epoll::new().map(Deferred::new), Call::EpollWait)
}

/// Signals end no wait, and none before its time, except on request.
fn is_interrupted<B: Backend>(backend: B, call: Call) -> io::Result<()> {
    let (mut selector, token, mut peer) = with_source(backend)?;
    let timeout = Duration::from_millis(20);
    let start = Instant::now();
    let (events, injected) =
        failing(Fault::new(call, Errno::EINTR).times(5), || selector.select(Some(timeout)));
    let events = events?;
    assert!(events.is_empty() && !events.interrupted());
    assert!(start.elapsed() >= timeout);
    assert!(injected > 0);
    peer.write_all(b"x")?;
    let fault = Fault::new(call, Errno::EINTR).times(50);
    let (events, _) = failing(fault, || selector.select(None));
    assert_eq!(tokens(&events?), [token]);
    selector.set_interruptible(true);
    let (events, injected) = failing(fault, || selector.select(None));
    let events = events?;
    assert!(events.is_empty() && events.interrupted());
    assert_eq!(injected, 1);
    assert_eq!(tokens(&selector.select(None)?), [token]);
    Ok(())
}

#[test]
fn wait_6_a_wait_is_interrupted() -> io::Result<()> {
    is_interrupted(Epoll::new()?, Call::EpollWait)?;
    is_interrupted(Poll::new()?, Call::Poll)?;
    is_interrupted(Select::new()?, Call::Select)?;
    is_interrupted(Deferred::new(Epoll::new()?), Call::EpollWait)
}

/// More sources are ready than fit at first, and a signal arrives while the rest is fetched.
#[test]
fn wait_7_the_rest_is_interrupted() -> io::Result<()> {
    const MANY: usize = 300;
    let (ours, _theirs) = unix_pair()?;
    for times in [1, 3] {
        let mut selector: Subject<Epoll> = Selector::with_backend(Epoll::new()?);
        for _ in 0..MANY {
            selector.register(ours.try_clone()?.into(), Interest::WRITE, ())?;
        }
        let fault = Fault::new(Call::EpollWait, Errno::EINTR).after(1).times(times);
        let (events, injected) = failing(fault, || selector.select(NOW));
        let events = events?;
        assert_eq!((events.len(), injected), (MANY, times));
        assert!(!events.interrupted());
    }
    Ok(())
}

/// Fine timeouts become coarser when what they need fails.
fn fine<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    for errno in [Errno::ENOMEM, Errno::EPERM, Errno::ENOSYS, Errno::EACCES, Errno::EINVAL] {
        for times in [1, 3, FOR_EVER] {
            let (mut selector, token, mut peer) = with_source(new()?)?;
            let fault = Fault::new(Call::Select, errno).times(times);
            let timeout = Duration::from_micros(2_300);
            let start = Instant::now();
            let (events, injected) = failing(fault, || selector.select(Some(timeout)));
            assert!(events?.is_empty(), "{fault:?}");
            assert!(start.elapsed() >= timeout, "{fault:?}");
            assert!(injected > 0);
            peer.write_all(b"x")?;
            let (events, _) = failing(fault, || selector.select(Some(timeout)));
            assert_eq!(tokens(&events?), [token], "{fault:?}");
        }
    }
    Ok(())
}

#[test]
fn wait_12_fine_timeouts_without_select() -> io::Result<()> {
    fine(Epoll::new)?;
    fine(Poll::new)
}

/// What is not to be reported does not end their system calls either.
fn fine_beside_fired<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let (mut selector, token, mut peer) = with_source(new()?)?;
    selector.modify_with(token, Interest::READ, Mode::OneShot)?;
    peer.write_all(b"x")?;
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    let before = calls();
    let events = within(|| selector.select(Some(Duration::from_micros(900))));
    assert!(events?.is_empty());
    let calls = calls() - before;
    assert!((1..10).contains(&calls), "{calls} calls");
    Ok(())
}

#[test]
fn wait_11_fine_timeouts_beside_a_fired_source() -> io::Result<()> {
    fine_beside_fired(Epoll::new)?;
    fine_beside_fired(Poll::new)
}

/// More sources than RLIMIT_NOFILE: poll(2) fails with EINVAL, and select(2) waits in its place.
#[test]
fn wait_12_poll_refuses_so_many() -> io::Result<()> {
    let (mut selector, token, mut peer) = with_source(Poll::new()?)?;
    let waker = selector.waker()?;
    let fault = Fault::new(Call::Poll, Errno::EINVAL).times(FOR_EVER);
    let (events, _) = failing(fault, || selector.select(Some(Duration::from_micros(2_300))));
    assert!(events?.is_empty());
    peer.write_all(b"x")?;
    waker.wake()?;
    for woken in [true, false] {
        let (events, injected) = failing(fault, || selector.select(None));
        let events = events?;
        assert!(injected > 0);
        assert_eq!(tokens(&events), [token]);
        assert_eq!(events.woken(), woken);
    }
    Ok(())
}

/// That descriptors or memory have run out is no reason to take another backend; that a sandbox
/// refuses it is one.
#[test]
fn wait_12_the_default_backend_stays() {
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM] {
        let fault = Fault::new(Call::EpollCreate, errno).times(FOR_EVER);
        let (kind, injected) = failing(fault, BackendKind::default);
        assert_eq!((kind, injected), (BackendKind::Epoll, 1));
        let (made, _) =
            failing(fault, || AnySelector::<OwnedSource>::new(BackendKind::default()).map(drop));
        assert_failed(made, errno);
    }
    let refused = Fault::new(Call::EpollCreate, Errno::EPERM).times(FOR_EVER);
    assert_eq!(failing(refused, BackendKind::default).0, BackendKind::Poll);
}

/// A file for which fstat(2) fails at first is identified as soon as it succeeds.
#[test]
fn close_5_a_file_is_identified_later() -> io::Result<()> {
    let mut selector: Selector<BorrowedFd<'_>, (), _> = Selector::with_backend(Epoll::new()?);
    let file = LooseDescriptor::duplicate(&null_device()?)?;
    let borrowed = file.borrow();
    let fault = Fault::new(Call::Fstat, Errno::EOVERFLOW);
    let (token, injected) = failing(fault, || selector.register(borrowed, Interest::READ, ()));
    let token = token.map_err(|refused| refused.error)?;
    assert_eq!(injected, 1);
    assert_eq!(tokens(&selector.select(NOW)?), [token]);
    file.replace(&regular_file()?)?;
    let events = selector.select(NOW)?;
    assert!(events.iter().all(|event| event.readiness().contains(Readiness::ERROR)));
    assert_eq!(tokens(&events), [token]);
    Ok(())
}

/// The second call, for the others, fails as well: they are not left to the next wait.
#[test]
fn wait_7_the_others_beside_what_is_closed() -> io::Result<()> {
    for times in [1, 3] {
        let mut selector: Selector<BorrowedFd<'_>, (), _> = Selector::with_backend(Select::new()?);
        let (ours, mut theirs) = unix_pair()?;
        let loose = LooseDescriptor::duplicate(&ours)?;
        let closed = selector.register(loose.borrow(), Interest::READ, ())?;
        let other = selector.register(borrow(&ours), Interest::READ, ())?;
        loose.close()?;
        theirs.write_all(b"x")?;
        let fault = Fault::new(Call::Select, Errno::ENOMEM).after(1).times(times);
        let (events, injected) = failing(fault, || selector.select(NOW));
        assert_eq!((tokens(&events?), injected), (vec![closed, other], times));
    }
    Ok(())
}

/// select(2) does not say which descriptor is closed: it is found, and the call is repeated without it.
#[test]
fn close_5_select_repeats_a_wait_without_what_is_closed() -> io::Result<()> {
    let mut selector: Selector<BorrowedFd<'_>, (), _> = Selector::with_backend(Select::new()?);
    let (ours, mut theirs) = unix_pair()?;
    let closed = LooseDescriptor::duplicate(&ours)?;
    let gone = selector.register(closed.borrow(), Interest::READ, ())?;
    let other = selector.register(ours.as_fd(), Interest::READ, ())?;
    closed.close()?;
    let start = Instant::now();
    assert_eq!(tokens(&selector.select(LONG)?), [gone]);
    assert!(LONG.is_some_and(|long| start.elapsed() < long / 2), "others are not waited for");
    theirs.write_all(b"x")?;
    for times in [1, 3] {
        // The first call fails without a fault.
        let fault = Fault::new(Call::Select, Errno::EINTR).after(1).times(times);
        let (events, injected) = failing(fault, || selector.select(NOW));
        assert_eq!(tokens(&events?), [gone, other]);
        assert_eq!(injected, times);
    }
    Ok(())
}

/// If it fails whatever is left out, so does the wait.
#[test]
fn close_5_select_is_not_repeated_for_ever() -> io::Result<()> {
    in_child(|| {
        let (mut selector, _token, _peer) = with_source(Select::new()?)?;
        let fault = Fault::new(Call::Select, Errno::EBADF).times(FOR_EVER);
        alarm::set(10);
        let (result, injected) = failing(fault, || selector.select(LONG));
        assert_failed(result, Errno::EBADF);
        assert!(injected < 100, "{injected} calls");
        Ok(())
    })
}
