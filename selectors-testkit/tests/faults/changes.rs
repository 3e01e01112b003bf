//! Changes that fail: the error comes once, and everything is as before.

use std::fmt::Debug;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{Backend, Error, Event, Events, Interest, Mode, Readiness, Selector, Token};
use selectors_testkit::fixtures::{OwnedSource, drain, is_ready, null_device, unix_pair, with_raw};

use crate::injection::{Call, FOR_EVER, Fault, calls, failing};
use crate::{LONG, NOW, Subject, in_child};

/// A selector, a source of it that is registered for READ, and its peer.
pub(crate) fn with_source<B: Backend>(backend: B) -> io::Result<(Subject<B>, Token, UnixStream)> {
    let mut selector = Selector::with_backend(backend);
    let (ours, theirs) = unix_pair()?;
    let token = selector.register(ours.into(), Interest::READ, ())?;
    assert!(selector.select(NOW)?.is_empty());
    Ok((selector, token, theirs))
}

pub(crate) fn tokens(events: &Events) -> Vec<Token> {
    events.iter().map(Event::token).collect()
}

/// That a call has failed as it was made to.
pub(crate) fn assert_failed<V: Debug>(result: Result<V, Error>, errno: Errno) {
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
        // EPERM is that of a sandbox: the file is one that the kernel can watch.
        for errno in [Errno::ENOMEM, Errno::ENOSPC, Errno::EPERM] {
            let (ours, _theirs) = readable()?;
            refused(Epoll::new()?, ours, mode, Fault::new(Call::EpollAdd, errno))?;
        }
    }
    let closed = Fault::new(Call::GetStatus, Errno::EBADF);
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
            refused(watched()?, null_device()?, mode, Fault::new(Call::Eventfd, errno))?;
        }
    }
    // The first asks for the type of the file.
    let identity = Fault::new(Call::Fstat, Errno::ENOMEM).after(1);
    refused(Epoll::new()?, null_device()?, Mode::Level, identity)?;
    for errno in [Errno::ENOMEM, Errno::ENOSPC] {
        // The first is that of the file itself, the second finds out whether the call is allowed.
        let beacon = Fault::new(Call::EpollAdd, errno).after(2);
        refused(watched()?, null_device()?, Mode::Level, beacon)?;
    }
    Ok(())
}

/// A backend that another selector may watch.
fn watched() -> io::Result<Epoll> {
    let epoll = Epoll::new()?;
    assert!(!is_ready(&epoll, Interest::READ, 0)?);
    Ok(epoll)
}

/// Without a free descriptor the backend still reports always-ready sources.
#[test]
fn ready_11_what_is_always_ready_needs_no_descriptor() -> io::Result<()> {
    // Only a wait without a timeout does not poll first; the child ends one that hangs.
    in_child(|| {
        let none_left = Fault::new(Call::Eventfd, Errno::EMFILE).times(FOR_EVER);
        for mode in [Mode::Level, Mode::OneShot, Mode::Edge] {
            let (mut selector, other, mut other_peer) = with_source(Epoll::new()?)?;
            let file = null_device()?.into();
            let (token, injected) =
                failing(none_left, || selector.register_with(file, Interest::READ, (), mode));
            let token = token?;
            assert!(injected > 0, "{mode:?}");
            for _ in 0..3 {
                let (events, _) = failing(none_left, || selector.select(None));
                assert_eq!(tokens(&events?), [token], "{mode:?}");
                let (modified, _) = failing(none_left, || selector.rearm(token));
                modified?;
            }
            other_peer.write_all(b"x")?;
            let (events, _) = failing(none_left, || selector.select(LONG));
            assert_eq!(tokens(&events?), [other, token], "{mode:?}");
            drain(selector.get(other).expect("it is registered").fileobj)?;
            selector.modify(token, Interest::empty())?;
            let before = calls();
            let wait = Some(Duration::from_millis(50));
            let (nothing, _) = failing(none_left, || selector.select(wait));
            assert!(nothing?.is_empty(), "{mode:?}");
            assert!(calls() - before < 20, "{mode:?}: it turns");
            let (modified, _) = failing(none_left, || selector.modify(token, Interest::WRITE));
            modified?;
            assert_eq!(tokens(&selector.select(None)?), [token], "{mode:?}");
            // A descriptor is free again: a selector that watches this one sees the file as well.
            let level = mode == Mode::Level;
            assert_eq!(is_ready(selector.backend(), Interest::READ, 0)?, level);
            selector.unregister(token)?;
            assert!(!is_ready(selector.backend(), Interest::READ, 0)?);
            assert!(selector.select(NOW)?.is_empty(), "{mode:?}");
        }
        Ok(())
    })
}

/// Nor does it need the kernel to change what it watches for it.
#[test]
fn ready_11_what_is_always_ready_needs_no_change() -> io::Result<()> {
    in_child(|| {
        let mut selector: Subject<Epoll> = Selector::with_backend(Epoll::new()?);
        let file = null_device()?.into();
        let token = selector.register_with(file, Interest::READ, (), Mode::OneShot)?;
        assert_eq!(tokens(&selector.select(LONG)?), [token]);
        let refused = Fault::new(Call::EpollModify, Errno::ENOMEM).times(FOR_EVER);
        let (events, injected) = failing(refused, || {
            selector.rearm(token)?;
            selector.select(None)
        });
        assert_eq!(tokens(&events?), [token]);
        assert!(injected > 0);
        assert!(selector.select(NOW)?.is_empty());
        Ok(())
    })
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

/// The beacon is removed with the last always-ready source, and no wait spins.
#[test]
fn reg_9_unregistering_what_is_always_ready_fails() -> io::Result<()> {
    let (mut selector, _, _peer) = with_source(Epoll::new()?)?;
    let file = selector.register(null_device()?.into(), Interest::READ, ())?;
    assert_eq!(tokens(&selector.select(NOW)?), [file]);
    let fault = Fault::new(Call::EpollModify, Errno::ENOMEM).times(FOR_EVER);
    let before = calls();
    let (result, injected) = failing(fault, || {
        let result = selector.unregister(file);
        (result, selector.select(Some(Duration::from_millis(20))))
    });
    let (file, ()) = result.0?;
    assert!(result.1?.is_empty());
    assert_eq!(injected, 1);
    assert!(calls() - before < 10);
    let file = selector.register(file, Interest::READ, ())?;
    assert_eq!(tokens(&selector.select(LONG)?), [file]);
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

/// What was extracted before comes back with the error.
#[test]
fn reg_9_extracting_fails() -> io::Result<()> {
    let mut selector = Selector::with_backend(Epoll::new()?);
    let mut peers = Vec::new();
    for data in 0..4 {
        let (ours, theirs) = unix_pair()?;
        selector.register(ours, Interest::READ, data)?;
        peers.push(theirs);
    }
    let third = Fault::new(Call::EpollDelete, Errno::ENOMEM).after(2);
    let (result, _) = failing(third, || selector.extract_if(|_| true));
    let failed = result.expect_err("the third is refused");
    assert_failed::<()>(Err(failed.error), Errno::ENOMEM);
    assert_eq!(failed.extracted.iter().map(|(_, data)| *data).collect::<Vec<_>>(), [0, 1]);
    for peer in &mut peers {
        peer.write_all(b"x")?;
    }
    let events = selector.select(LONG)?;
    let left = events.iter().filter_map(|event| selector.get(event.token()));
    let mut left: Vec<_> = left.map(|key| *key.data).collect();
    left.sort_unstable();
    assert_eq!(left, [2, 3]);
    for (source, _) in failed.extracted {
        assert_eq!(drain(&source)?, 1);
    }
    Ok(())
}

/// A file that was reported once is not reported again, although another selector did not see it.
#[test]
fn mode_2_a_failed_change_of_a_file_does_not_fire_again() -> io::Result<()> {
    let mut selector: Subject<_> = Selector::with_backend(Epoll::new()?);
    let file = null_device()?.into();
    let none_left = Fault::new(Call::Eventfd, Errno::EMFILE).times(FOR_EVER);
    let (token, _) =
        failing(none_left, || selector.register_with(file, Interest::READ, (), Mode::OneShot));
    let token = token?;
    assert_eq!(tokens(&failing(none_left, || selector.select(NOW)).0?), [token]);
    assert!(!is_ready(&selector, Interest::READ, 0)?);
    let (result, injected) = failing(none_left, || selector.modify(token, Interest::WRITE));
    assert_failed(result, Errno::EMFILE);
    assert_eq!(injected, 1);
    assert!(selector.select(NOW)?.is_empty());
    selector.rearm(token)?;
    assert!(is_ready(&selector, Interest::READ, 0)?);
    assert_eq!(tokens(&selector.select(NOW)?), [token]);
    Ok(())
}

/// Where fcntl(2) is refused, a closed number is checked without memory for a set that reaches it.
#[test]
fn reg_6_a_huge_closed_number_takes_no_memory() -> io::Result<()> {
    const HUGE: i32 = i32::MAX - 1;
    fn refuses<B: Backend>(backend: B) {
        let mut selector: Selector<BorrowedFd<'_>, (), B> = Selector::with_backend(backend);
        let refused = Fault::new(Call::GetStatus, Errno::EPERM).times(FOR_EVER);
        with_raw(HUGE, |huge| {
            for interest in [Interest::READ, Interest::empty()] {
                let (result, _) = failing(refused, || selector.register(huge, interest, ()));
                assert_failed(result.map_err(|refused| refused.error), Errno::EBADF);
            }
        });
    }
    in_child(|| {
        let pages: u64 = std::fs::read_to_string("/proc/self/statm")?
            .split(' ')
            .next()
            .and_then(|pages| pages.parse().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        let little = pages * 4096 + (64 << 20);
        setrlimit(Resource::RLIMIT_AS, little, little)?;
        refuses(Epoll::new()?);
        refuses(Poll::new()?);
        refuses(Select::new()?);
        Ok(())
    })
}
