//! Changes to and from exclusive wake-up that fail, and so does their undoing.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use selectors::backend::Epoll;
use selectors::{Backend, Event, Interest, Mode, Readiness, Selector, SharedSelector, Token};
use selectors_testkit::fixtures::{LooseDescriptor, OwnedSource, is_ready, unix_pair};

use super::changes::{assert_failed, tokens, with_source};
use crate::injection::{Call, FOR_EVER, Fault, calls, failing, failing_both, within};
use crate::{LONG, NOW, Subject};

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
        within(|| selector.select(Some(Duration::from_millis(20))))?;
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
        let (events, _) = failing(for_ever, || selector.select(LONG));
        let events: Vec<_> = events?.iter().copied().collect();
        assert_eq!(events.len(), 1, "{modes:?}");
        assert_eq!(events[0].token(), token);
        assert!(events[0].readiness().contains(Readiness::ERROR | Readiness::READ));
        let again = matches!(modes.0, Mode::Level | Mode::Exclusive);
        let (events, injected) =
            failing(for_ever, || selector.select(Some(Duration::from_millis(20))));
        assert_eq!(events?.len(), usize::from(again), "{modes:?}");
        // All but a one-shot source that was reported are tried again.
        assert_eq!(injected > 0, modes.0 != Mode::OneShot, "{modes:?}");
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

/// The error of an edge-triggered source is reported once. What comes when there is memory again is an edge.
#[test]
fn mode_3_a_lost_source_has_its_edges_back() -> io::Result<()> {
    let (mut selector, token, mut peer) =
        exchange_fails(Epoll::new()?, (Mode::Edge, Mode::Exclusive), 2)?;
    let for_ever = Fault::new(Call::EpollAdd, Errno::ENOMEM).times(FOR_EVER);
    for reported in [1, 0] {
        let (events, _) = failing(for_ever, || selector.select(NOW));
        assert_eq!(events?.len(), reported);
    }
    let before = calls();
    let (events, _) = failing(for_ever, || selector.select(Some(Duration::from_millis(20))));
    assert!(events?.is_empty());
    assert!(calls() - before < 20, "it turns");
    peer.write_all(b"x")?;
    let events: Vec<_> = selector.select(LONG)?.iter().copied().collect();
    assert_eq!(events, [Event::new(token, Readiness::READ)]);
    assert!(selector.select(NOW)?.is_empty());
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
        assert_eq!(injected, 3);
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

/// What ends the waits of another selector on account of a lost source is made before one is lost, and
/// only if another selector may watch this one. Without it the change is made all the same.
#[test]
fn wait_12_a_change_to_exclusive_needs_no_descriptor() -> io::Result<()> {
    let (mut selector, token, mut peer) = with_source(Epoll::new()?)?;
    peer.write_all(b"x")?;
    let none_left = Fault::new(Call::Eventfd, Errno::ENOMEM).times(FOR_EVER);
    for (watched, calls) in [(false, 0), (true, 1)] {
        if watched {
            assert!(is_ready(&selector, Interest::READ, 0)?);
        }
        for mode in [Mode::Exclusive, Mode::Level] {
            let (changed, injected) =
                failing(none_left, || selector.modify_with(token, Interest::READ, mode));
            changed?;
            assert_eq!(injected, calls, "watched: {watched}, {mode:?}");
            assert_eq!(tokens(&selector.select(LONG)?), [token]);
        }
    }
    let full = Fault::new(Call::EpollAdd, Errno::ENOSPC);
    let (changed, injected) =
        failing(full, || selector.modify_with(token, Interest::READ, Mode::Exclusive));
    changed?;
    assert_eq!(injected, 1);
    assert_eq!(tokens(&selector.select(LONG)?), [token]);
    Ok(())
}

/// A lost one-shot source that was reported is registered again after a rebuild, like any other.
#[test]
fn mod_4_a_lost_one_shot_is_not_lost_after_a_rebuild() -> io::Result<()> {
    let (ours, mut peer) = unix_pair()?;
    let mut selector = Selector::with_backend(Epoll::new()?);
    let token = selector.register_with(ours.as_fd(), Interest::READ, (), Mode::OneShot)?;
    let lost = Fault::new(Call::EpollAdd, Errno::ENOMEM).times(FOR_EVER);
    let lose = || selector.modify_with(token, Interest::READ, Mode::Exclusive);
    assert_failed(failing(lost, lose).0, Errno::ENOMEM);
    let (events, _) = failing(lost, || selector.select(NOW));
    assert_eq!(tokens(&events?), [token]);
    let (alive, mut alive_peer) = unix_pair()?;
    let loose = LooseDescriptor::duplicate(&alive)?;
    let ghost = selector.register(loose.borrow(), Interest::READ, ())?;
    loose.close()?;
    selector.unregister(ghost)?;
    alive_peer.write_all(b"x")?;
    assert!(selector.select(NOW)?.is_empty());
    selector.rearm(token)?;
    selector.modify(token, Interest::READ | Interest::WRITE)?;
    peer.write_all(b"x")?;
    let events: Vec<_> = selector.select(NOW)?.iter().map(Event::readiness).collect();
    assert_eq!(events, [Readiness::READ | Readiness::WRITE]);
    selector.modify(token, Interest::WRITE)?;
    // The kernel must not keep watching an unregistered source.
    selector.unregister(token)?;
    assert!(!is_ready(&selector, Interest::READ, 0)?);
    Ok(())
}

/// Another selector sees a source that is lost, and that has it back.
#[test]
fn ready_13_a_lost_source_is_seen_by_another_selector() -> io::Result<()> {
    let (mut selector, token, _peer) = with_source(Epoll::new()?)?;
    assert!(!is_ready(&selector, Interest::READ, 0)?);
    let lost = Fault::new(Call::EpollAdd, Errno::ENOMEM).after(1).times(2);
    let (result, injected) =
        failing(lost, || selector.modify_with(token, Interest::WRITE, Mode::Exclusive));
    assert_failed(result, Errno::ENOMEM);
    assert_eq!(injected, 2);
    assert!(is_ready(&selector, Interest::READ, 0)?);
    assert!(selector.select(NOW)?.is_empty());
    assert!(!is_ready(&selector, Interest::READ, 0)?);
    Ok(())
}

/// What has been reported once stays silent, though the kernel has armed it.
#[test]
fn mode_2_a_failed_change_to_exclusive_arms_nothing() -> io::Result<()> {
    let faults = [
        Fault::new(Call::EpollDelete, Errno::ENOMEM),
        Fault::new(Call::EpollAdd, Errno::ENOMEM),
        Fault::new(Call::EpollAdd, Errno::ENOSPC).times(2),
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
            let rebuilt = within(|| selector.select(Some(Duration::from_millis(5))));
            assert!(rebuilt?.is_empty());
        }
    }
    Ok(())
}
