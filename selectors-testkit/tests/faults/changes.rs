//! Changes and waits that fail: the error comes once, and everything is as before.

use std::fmt::Debug;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{
    AnySelector, Backend, BackendKind, Error, Event, Events, Interest, Mode, Readiness, Selector,
    SharedSelector, Token,
};
use selectors_testkit::fixtures::{
    LooseDescriptor, OwnedSource, null_device, regular_file, unix_pair,
};

use crate::injection::{Call, FOR_EVER, Fault, calls, failing, failing_both};

const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(20));
const NONE: Fault = Fault::new(Call::EpollWait, Errno::EIO).times(0);

type Subject<B> = Selector<OwnedSource, (), B>;

/// A selector, a source of it that is registered for READ, and its peer.
fn with_source<B: Backend>(backend: B) -> io::Result<(Subject<B>, Token, UnixStream)> {
    let mut selector = Selector::with_backend(backend);
    let (ours, theirs) = unix_pair()?;
    let token = selector.register(ours.into(), Interest::READ, ())?;
    assert!(selector.select(NOW)?.is_empty());
    Ok((selector, token, theirs))
}

fn tokens(events: &Events) -> Vec<Token> {
    events.iter().map(Event::token).collect()
}

/// That a call has failed as it was made to.
fn assert_failed<V: Debug>(result: Result<V, Error>, errno: Errno) {
    match result {
        Err(Error::Os { source, .. }) => assert_eq!(source.raw_os_error(), Some(errno as i32)),
        other => panic!("expected {errno}, seen {other:?}"),
    }
}

/// Registers a source while calls fail: it is given back, and can be registered afterwards.
fn refused<B: Backend>(
    backend: B,
    source: impl Into<OwnedSource>,
    mode: Mode,
    fault: Fault,
) -> io::Result<()> {
    let (mut selector, other, mut other_peer) = with_source(backend)?;
    let source = source.into();
    let (result, injected) =
        failing(fault, || selector.register_with(source, Interest::READ, (), mode));
    let refused = result.expect_err("it was made to fail");
    assert_eq!(injected, 1);
    assert_failed::<()>(Err(refused.error), fault.errno);
    let source = refused.fileobj;
    assert_eq!(selector.len(), 1);
    assert_eq!(selector.token_of(&source), None);
    assert!(selector.select(NOW)?.is_empty());
    let token = selector.register_with(source, Interest::READ, (), mode)?;
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    selector.unregister(token)?;
    assert!(selector.select(NOW)?.is_empty());
    other_peer.write_all(b"x")?;
    assert_eq!(tokens(&selector.select(LONG)?), [other]);
    Ok(())
}

fn readable() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, mut theirs) = unix_pair()?;
    theirs.write_all(b"x")?;
    Ok((ours, theirs))
}

#[test]
fn reg_7_registering_fails() -> io::Result<()> {
    for mode in [Mode::Level, Mode::OneShot, Mode::Edge, Mode::Exclusive] {
        for errno in [Errno::ENOMEM, Errno::ENOSPC] {
            let (ours, _theirs) = readable()?;
            refused(Epoll::new()?, ours, mode, Fault::new(Call::EpollAdd, errno))?;
        }
    }
    let closed = Fault::new(Call::Fcntl, Errno::EBADF);
    for mode in [Mode::Level, Mode::OneShot] {
        let (ours, _theirs) = readable()?;
        refused(Poll::new()?, ours, mode, closed)?;
        let (ours, _theirs) = readable()?;
        refused(Select::new()?, ours, mode, closed)?;
    }
    Ok(())
}

#[test]
fn reg_7_registering_what_is_always_ready_fails() -> io::Result<()> {
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM] {
        for mode in [Mode::Level, Mode::OneShot, Mode::Edge] {
            refused(Epoll::new()?, null_device()?, mode, Fault::new(Call::Eventfd, errno))?;
        }
    }
    refused(Epoll::new()?, null_device()?, Mode::Level, Fault::new(Call::Fstat, Errno::ENOMEM))?;
    for errno in [Errno::ENOMEM, Errno::ENOSPC] {
        // The first is that of the file itself.
        let beacon = Fault::new(Call::EpollAdd, errno).after(1);
        refused(Epoll::new()?, null_device()?, Mode::Level, beacon)?;
    }
    Ok(())
}

/// Modifies a source while calls fail: it is watched as before.
fn modify_fails<B: Backend>(backend: B, from: Mode, to: Mode, fault: Fault) -> io::Result<()> {
    let (mut selector, token, mut peer) = with_source(backend)?;
    selector.modify_with(token, Interest::READ, from)?;
    let (result, injected) = failing(fault, || selector.modify_with(token, Interest::WRITE, to));
    assert_failed(result, fault.errno);
    assert_eq!(injected, 1);
    let key = selector.get(token).expect("it is registered");
    assert_eq!((key.events, key.mode), (Interest::READ, from));
    assert!(selector.select(NOW)?.is_empty());
    peer.write_all(b"x")?;
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    selector.modify_with(token, Interest::WRITE, to)?;
    let events = selector.select(LONG)?;
    assert_eq!(tokens(&events), [token]);
    assert!(events.iter().all(|event| event.is_writable() && !event.is_readable()));
    Ok(())
}

#[test]
fn mod_4_modifying_fails() -> io::Result<()> {
    let modes = [Mode::Level, Mode::OneShot, Mode::Edge];
    for from in modes {
        for to in modes {
            modify_fails(Epoll::new()?, from, to, Fault::new(Call::EpollModify, Errno::ENOMEM))?;
        }
    }
    for other in modes {
        for (from, to) in [(other, Mode::Exclusive), (Mode::Exclusive, other)] {
            let faults = [
                Fault::new(Call::EpollDelete, Errno::ENOMEM),
                Fault::new(Call::EpollAdd, Errno::ENOMEM),
                Fault::new(Call::EpollAdd, Errno::ENOSPC),
            ];
            for fault in faults {
                modify_fails(Epoll::new()?, from, to, fault)?;
            }
        }
    }
    Ok(())
}

/// Every pair of modes of which one is exclusive.
fn exchanges() -> impl Iterator<Item = (Mode, Mode)> {
    let others = [Mode::Level, Mode::OneShot, Mode::Edge];
    let pairs =
        others.into_iter().flat_map(|mode| [(mode, Mode::Exclusive), (Mode::Exclusive, mode)]);
    pairs.chain([(Mode::Exclusive, Mode::Exclusive)])
}

/// Neither the new watch nor the old one can be added: each wait tries again.
fn exchange_fails<B: Backend>(
    backend: B,
    (from, to): (Mode, Mode),
    times: u32,
) -> io::Result<(Subject<B>, Token, UnixStream)> {
    let (mut selector, token, peer) = with_source(backend)?;
    selector.modify_with(token, Interest::READ, Mode::Exclusive)?;
    selector.modify_with(token, Interest::READ, from)?;
    let fault = Fault::new(Call::EpollAdd, Errno::ENOMEM).times(times);
    let (result, injected) = failing(fault, || selector.modify_with(token, Interest::WRITE, to));
    assert_failed(result, fault.errno);
    assert_eq!(injected, 2);
    let key = selector.get(token).expect("it is registered");
    assert_eq!((key.events, key.mode), (Interest::READ, from));
    Ok((selector, token, peer))
}

#[test]
fn mod_4_what_cannot_be_restored_is_watched_again() -> io::Result<()> {
    for modes in exchanges() {
        for timeout in [NOW, LONG, None] {
            let (mut selector, token, mut peer) = exchange_fails(Epoll::new()?, modes, 2)?;
            peer.write_all(b"x")?;
            let events = selector.select(timeout)?;
            assert_eq!(tokens(&events), [token], "{modes:?}");
            assert!(!events.iter().any(|event| event.readiness().contains(Readiness::ERROR)));
            let again = matches!(modes.0, Mode::Level | Mode::Exclusive);
            assert_eq!(selector.select(NOW)?.len(), usize::from(again), "{modes:?}");
        }
        let (mut selector, token, _peer) = exchange_fails(Epoll::new()?, modes, 2)?;
        let before = calls();
        failing(NONE, || selector.select(Some(Duration::from_millis(20)))).0?;
        assert!(calls() - before < 10, "{modes:?}: it turns");
        selector.modify_with(token, Interest::WRITE, modes.1)?;
        assert_eq!(tokens(&selector.select(LONG)?), [token]);
        selector.unregister(token)?;
        assert!(selector.select(NOW)?.is_empty());
    }
    Ok(())
}

#[test]
fn mod_4_what_cannot_be_watched_is_an_error() -> io::Result<()> {
    let for_ever = Fault::new(Call::EpollAdd, Errno::ENOSPC).times(FOR_EVER);
    for modes in exchanges() {
        let (mut selector, token, _peer) = exchange_fails(Epoll::new()?, modes, 2)?;
        let (events, _) = failing(for_ever, || selector.select(None));
        let events: Vec<_> = events?.iter().copied().collect();
        assert_eq!(events.len(), 1, "{modes:?}");
        assert_eq!(events[0].token(), token);
        assert!(events[0].readiness().contains(Readiness::ERROR | Readiness::READ));
        let again = matches!(modes.0, Mode::Level | Mode::Exclusive);
        let (events, injected) =
            failing(for_ever, || selector.select(Some(Duration::from_millis(20))));
        assert_eq!(events?.len(), usize::from(again), "{modes:?}");
        assert_eq!(injected, u32::from(again), "{modes:?}");
        assert_failed(
            failing(for_ever, || selector.modify(token, Interest::READ | Interest::WRITE)).0,
            Errno::ENOSPC,
        );
        selector.modify(token, Interest::READ | Interest::WRITE)?;
        let events: Vec<_> = selector.select(LONG)?.iter().copied().collect();
        assert_eq!(events.iter().map(Event::readiness).collect::<Vec<_>>(), [Readiness::WRITE]);
    }
    Ok(())
}

/// Where descriptors have run out as well, the wait that finds something else has it back.
#[test]
fn mod_4_what_is_lost_without_descriptors_is_watched_again() -> io::Result<()> {
    for modes in exchanges() {
        let (mut selector, other, mut other_peer) = with_source(Epoll::new()?)?;
        let (ours, mut theirs) = unix_pair()?;
        let token = selector.register_with(ours.into(), Interest::READ, (), modes.0)?;
        let none_left = Fault::new(Call::Eventfd, Errno::EMFILE).times(FOR_EVER);
        let lost = Fault::new(Call::EpollAdd, Errno::ENOMEM).times(2);
        let (result, injected) = failing_both([none_left, lost], || {
            selector.modify_with(token, Interest::WRITE, modes.1)
        });
        assert_failed(result, Errno::ENOMEM);
        assert_eq!(injected, 4);
        theirs.write_all(b"x")?;
        other_peer.write_all(b"x")?;
        let (events, _) = failing(none_left, || selector.select(LONG));
        let mut tokens = tokens(&events?);
        tokens.sort();
        assert_eq!(tokens, [other, token], "{modes:?}");
        selector.unregister(token)?;
        assert_eq!(selector.select(LONG)?.len(), 1);
    }
    Ok(())
}

/// What has been reported once stays silent, though the kernel has armed it.
#[test]
fn mode_2_a_failed_change_to_exclusive_arms_nothing() -> io::Result<()> {
    // The first that is added is the beacon.
    let faults = [
        Fault::new(Call::EpollDelete, Errno::ENOMEM),
        Fault::new(Call::EpollAdd, Errno::ENOMEM).after(1),
        Fault::new(Call::EpollAdd, Errno::ENOSPC).after(1).times(2),
    ];
    for fault in faults {
        let (mut selector, token, mut peer) = with_source(Epoll::new()?)?;
        selector.modify_with(token, Interest::READ, Mode::OneShot)?;
        peer.write_all(b"x")?;
        assert_eq!(tokens(&selector.select(LONG)?), [token]);
        let (result, injected) =
            failing(fault, || selector.modify_with(token, Interest::READ, Mode::Exclusive));
        assert_failed(result, fault.errno);
        assert_eq!(injected, fault.times);
        for _ in 0..3 {
            assert!(selector.select(NOW)?.is_empty(), "{fault:?}");
        }
        selector.rearm(token)?;
        assert_eq!(tokens(&selector.select(LONG)?), [token]);
        assert!(selector.select(NOW)?.is_empty());
        selector.modify_with(token, Interest::READ, Mode::Exclusive)?;
        assert_eq!(tokens(&selector.select(LONG)?), [token]);
    }
    Ok(())
}

/// From another thread, too.
#[test]
fn mod_4_what_another_thread_cannot_restore_is_watched_again() -> io::Result<()> {
    for (from, to) in exchanges() {
        for times in [1, 2, 3, 4] {
            let (ours, mut theirs) = unix_pair()?;
            let mut selector: SharedSelector = SharedSelector::with_backend(Epoll::new()?)?;
            let registrar = selector.registrar();
            let mode = Mode::Exclusive;
            let source =
                registrar.register_with(OwnedSource::from(ours), Interest::READ, (), mode)?;
            source.modify_with(Interest::READ, from)?;
            let fault = Fault::new(Call::EpollAdd, Errno::ENOMEM).times(times);
            let (result, injected) = failing(fault, || source.modify_with(Interest::WRITE, to));
            assert_failed(result, Errno::ENOMEM);
            assert!(injected > 0);
            theirs.write_all(b"x")?;
            let events = selector.select(LONG)?;
            assert_eq!(events.len(), 1, "{from:?} to {to:?}, {times} times");
            assert!(events.iter().all(Event::is_readable));
            // Lost once more, and given up.
            source.modify_with(Interest::READ, from)?;
            let (result, _) = failing(fault.times(4), || source.modify_with(Interest::WRITE, to));
            assert_failed(result, Errno::ENOMEM);
            let _open = source.into_inner();
            assert!(selector.select(NOW)?.is_empty());
            let rebuilt = failing(NONE, || selector.select(Some(Duration::from_millis(5))));
            assert!(rebuilt.0?.is_empty());
        }
    }
    Ok(())
}

#[test]
fn mod_4_parking_and_unparking_fail() -> io::Result<()> {
    let (mut selector, token, mut peer) = with_source(Epoll::new()?)?;
    let fault = Fault::new(Call::EpollDelete, Errno::ENOMEM);
    let (result, _) = failing(fault, || selector.modify(token, Interest::empty()));
    assert_failed(result, Errno::ENOMEM);
    peer.write_all(b"x")?;
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    selector.modify(token, Interest::empty())?;
    let fault = Fault::new(Call::EpollAdd, Errno::ENOSPC).times(3);
    failing(fault, || {
        for _ in 0..3 {
            assert_failed(selector.modify(token, Interest::READ), Errno::ENOSPC);
            assert!(selector.select(NOW).is_ok_and(|events| events.is_empty()));
        }
    });
    assert_eq!(selector.get(token).map(|key| key.events), Some(Interest::empty()));
    selector.modify(token, Interest::READ)?;
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    Ok(())
}

#[test]
fn mode_6_rearming_fails() -> io::Result<()> {
    for mode in [Mode::OneShot, Mode::Edge] {
        let (mut selector, token, mut peer) = with_source(Epoll::new()?)?;
        selector.modify_with(token, Interest::READ, mode)?;
        peer.write_all(b"x")?;
        assert_eq!(tokens(&selector.select(LONG)?), [token]);
        let fault = Fault::new(Call::EpollModify, Errno::ENOMEM);
        let (result, _) = failing(fault, || selector.rearm(token));
        assert_failed(result, Errno::ENOMEM);
        assert!(selector.select(NOW)?.is_empty());
        selector.rearm(token)?;
        assert_eq!(tokens(&selector.select(LONG)?), [token]);
    }
    Ok(())
}

#[test]
fn reg_9_unregistering_fails() -> io::Result<()> {
    let (mut selector, token, mut peer) = with_source(Epoll::new()?)?;
    let fault = Fault::new(Call::EpollDelete, Errno::ENOMEM);
    let (result, _) = failing(fault, || selector.unregister(token));
    assert_failed(result, Errno::ENOMEM);
    peer.write_all(b"x")?;
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    selector.unregister(token)?;
    assert!(selector.select(NOW)?.is_empty());
    Ok(())
}

/// What keeps waits short for an always-ready source stays once too long, and turns nothing.
#[test]
fn reg_9_unregistering_what_is_always_ready_fails() -> io::Result<()> {
    let (mut selector, _, _peer) = with_source(Epoll::new()?)?;
    let file = selector.register(null_device()?.into(), Interest::READ, ())?;
    assert_eq!(tokens(&selector.select(NOW)?), [file]);
    let fault = Fault::new(Call::EpollModify, Errno::ENOMEM).times(3);
    let (result, injected) = failing(fault, || {
        let result = selector.unregister(file);
        (result, selector.select(Some(Duration::from_millis(20))))
    });
    result.0?;
    assert!(result.1?.is_empty());
    assert_eq!(injected, 3);
    assert!(selector.select(Some(Duration::from_millis(20)))?.is_empty());
    Ok(())
}

/// What the kernel refuses later is an ERROR until it is modified.
#[test]
fn deferred_registering_fails() -> io::Result<()> {
    for errno in [Errno::ENOMEM, Errno::ENOSPC] {
        let mut selector: Subject<_> = Selector::with_backend(Deferred::new(Epoll::new()?));
        let (ours, _theirs) = readable()?;
        let (other, _other_peer) = readable()?;
        let token = selector.register(ours.into(), Interest::READ, ())?;
        let other = selector.register(other.into(), Interest::READ, ())?;
        let (events, injected) =
            failing(Fault::new(Call::EpollAdd, errno), || selector.select(LONG));
        let mut events: Vec<_> = events?.iter().copied().collect();
        events.sort_by_key(Event::token);
        assert_eq!(injected, 1);
        assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [token, other]);
        assert!(events[0].readiness().contains(Readiness::ERROR));
        assert!(!events[1].readiness().contains(Readiness::ERROR));
        let refusal = selector.backend().refusal(token).and_then(io::Error::raw_os_error);
        assert_eq!(refusal, Some(errno as i32));
        selector.modify(token, Interest::READ | Interest::WRITE)?;
        let events = selector.select(LONG)?;
        assert_eq!(events.len(), 2);
        assert!(events.iter().all(|event| !event.readiness().contains(Readiness::ERROR)));
    }
    Ok(())
}

/// A wait that fails shows the error, and what was ready comes with the next one.
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

/// More are ready than there is room for at first, and a signal comes when the rest is asked for.
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

/// A file of which fstat(2) says nothing at first is identified as soon as it does.
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
