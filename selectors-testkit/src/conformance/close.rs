//! CLOSE: descriptors that are closed while registered.

use std::io::Write;
use std::time::{Duration, Instant};

use selectors::backend::{AsSource, BorrowedSource};
use selectors::{Backend, Event, Events, Interest, Mode, Readiness, Token, Watch};

use super::streams::stream_pairs;
use super::{BOTH, Case, NOW, Outcome, Stop, Subject};
use crate::fixtures::{
    LooseDescriptor, OwnedSource, borrow, forked_holder, if_any, pair, regular_file,
};

/// Long enough to notice a ghost, short enough to wait for it in vain.
const SHORT: Duration = Duration::from_millis(20);

pub(super) const FILE_BY_NUMBER: &str = "an always-ready source is tracked by number, without checking \
    which file the number refers to";

pub(super) fn close_1_unregister_after_close<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for mode in [Mode::Level, Mode::OneShot] {
        let (ours, _theirs) = pair()?;
        let loose = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
        let mut selector = case.selector()?;
        case.did(format!("registered a socket ({mode:?}), closed it, and unregistered it"));
        let token = selector.register_with(loose.borrow(), BOTH, "data", mode)?;
        loose.close()?;
        let (_, data) = selector.unregister(token)?;
        case.expect("the data", data, "data")?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    Ok(())
}

pub(super) fn close_2_unregister_after_the_number_was_reused<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    let (other, mut other_peer) = pair()?;
    let loose = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
    let mut backend = case.backend()?;
    let token = Token::from_bits(3);
    let watch = Watch::new(BOTH, Mode::Level);
    case.did("registered a socket, gave its number to another, and unregistered the first");
    backend.register(loose.borrow(), token, watch)?;
    loose.replace(&other)?;
    backend.unregister(loose.number(), token, watch)?;
    case.did("made the other socket ready");
    other_peer.write_all(b"x")?;
    let mut events = Events::new();
    backend.wait(&mut events, NOW)?;
    case.expect_tokens(&events, &[])?;
    case.did("registered the other one under that number");
    let mut selector = case.selector()?;
    let token = selector.register(loose.borrow(), Interest::READ, ())?;
    case.only(&selector.select(case.long())?, token).map(drop)
}

pub(super) fn close_3_a_reused_number_inherits_no_interest<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    let (other, mut other_peer) = pair()?;
    let loose = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
    let mut backend = case.backend()?;
    let (old, new) = (Token::from_bits(1), Token::from_bits(2));
    let both = Watch::new(BOTH, Mode::Level);
    let reading = Watch::new(Interest::READ, Mode::Level);
    case.did("registered a socket for READ and WRITE, closed and unregistered it");
    backend.register(loose.borrow(), old, both)?;
    loose.close()?;
    backend.unregister(loose.number(), old, both)?;
    case.did("registered an idle socket with the same number for READ");
    loose.replace(&other)?;
    backend.register(loose.borrow(), new, reading)?;
    let mut events = Events::new();
    backend.wait(&mut events, NOW)?;
    case.expect_tokens(&events, &[])?;
    case.did("made it readable");
    other_peer.write_all(b"x")?;
    backend.wait(&mut events, case.long())?;
    let event = case.only(&events, new)?;
    case.expect("WRITE", event.is_writable(), false)
}

pub(super) fn close_3_a_number_is_reused_between_two_waits<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    let (other, mut other_peer) = pair()?;
    let loose = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
    let mut selector = case.selector()?;
    case.did("registered a writable socket for READ and WRITE, and waited");
    let old = selector.register(loose.borrow(), BOTH, "old")?;
    case.only(&selector.select(case.long())?, old)?;
    case.did("closed and unregistered it, and registered an idle one with its number for READ");
    loose.close()?;
    selector.unregister(old)?;
    loose.replace(&other)?;
    let new = selector.register(loose.borrow(), Interest::READ, "new")?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("made that readable");
    other_peer.write_all(b"x")?;
    let event = case.only(&selector.select(case.long())?, new)?;
    case.expect("what it is", event.readiness(), Readiness::READ)
}

/// Registers a loose duplicate of a socket, closes and unregisters it while the socket stays open,
/// and makes the socket ready.
fn ghost<B: Backend>(
    case: &mut Case<'_, B>,
    selector: &mut Subject<BorrowedSource<'_>, &'static str, B>,
    alive: &impl AsSource,
    peer: impl Write,
) -> Result<(Token, LooseDescriptor), Stop> {
    let mut peer = peer;
    let loose = LooseDescriptor::duplicate(alive)?;
    case.did("registered a duplicate of a socket, closed it, unregistered it");
    let token = selector.register(loose.borrow(), Interest::READ, "ghost")?;
    loose.close()?;
    selector.unregister(token)?;
    case.did("made the socket ready, which still has another descriptor");
    peer.write_all(b"x")?;
    Ok((token, loose))
}

pub(super) fn close_4_a_duplicate_leaves_no_ghost<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, alive, peer) in stream_pairs()? {
        let (other, mut other_peer) = pair()?;
        let mut selector = case.selector()?;
        let waker = selector.waker().ok();
        case.did(format!("with a {name} socket"));
        let live = selector.register(borrow(&other), Interest::READ, "live")?;
        let (_, loose) = ghost(case, &mut selector, &alive, &peer)?;
        case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
        case.did("gave the number to an idle socket, and registered that");
        let (idle, mut idle_peer) = pair()?;
        loose.replace(&idle)?;
        let new = selector.register(loose.borrow(), Interest::READ, "new")?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("made the other sources ready");
        other_peer.write_all(b"x")?;
        case.expect_tokens(&selector.select(case.long())?, &[live])?;
        idle_peer.write_all(b"x")?;
        case.expect_tokens(&selector.select(case.long())?, &[live, new])?;
        if let Some(waker) = waker {
            waker.wake()?;
            case.expect("whether it can be woken", selector.select(case.long())?.woken(), true)?;
        }
    }
    Ok(())
}

pub(super) fn close_4_other_sources_keep_their_state<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (alive, peer) = pair()?;
    let (fired, mut fired_peer) = pair()?;
    let (waiting, mut waiting_peer) = pair()?;
    let mut selector = case.selector()?;
    case.did("registered two one-shot sources, let one of them fire, and woke the selector");
    let mode = Mode::OneShot;
    let fired = selector.register_with(borrow(&fired), Interest::READ, "fired", mode)?;
    let waiting = selector.register_with(borrow(&waiting), Interest::READ, "waiting", mode)?;
    fired_peer.write_all(b"x")?;
    case.only(&selector.select(case.long())?, fired)?;
    if let Ok(waker) = selector.waker() {
        waker.wake()?;
        selector.select(case.long())?;
    }
    let now = selector.select(NOW)?;
    if !now.is_empty() || now.woken() {
        // Readable even now, which is the subject of other rules.
        return Ok(());
    }
    let (_, _loose) = ghost(case, &mut selector, &alive, &peer)?;
    for _ in 0..2 {
        let events = selector.select(Some(SHORT))?;
        case.expect_tokens(&events, &[])?;
        case.expect("whether it was woken again", events.woken(), false)?;
    }
    case.did("made the other one-shot source ready");
    waiting_peer.write_all(b"x")?;
    case.only(&selector.select(case.long())?, waiting).map(drop)
}

pub(super) fn close_4_a_ghost_does_not_make_it_spin<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (alive, mut peer) = pair()?;
    let loose = LooseDescriptor::duplicate(&alive)?;
    let mut selector = case.counting()?;
    case.did("left a ready ghost behind, and waited for 20 ms");
    let token = selector.register(loose.borrow(), Interest::READ, ())?;
    loose.close()?;
    selector.unregister(token)?;
    peer.write_all(b"x")?;
    let before = selector.backend().calls().wait;
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let waits = selector.backend().calls().wait - before;
    case.expect_that(waits <= 10, "at most 10 calls of the backend's wait", waits)
}

pub(super) fn close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (alive, mut peer) = pair()?;
    let loose = LooseDescriptor::duplicate(&alive)?;
    let mut selector = case.counting()?;
    let token = selector.register(loose.borrow(), Interest::READ, ())?;
    selector.select(NOW)?;
    case.did("turned a ready source into a ghost, modified it to one-shot, and waited twice");
    loose.close()?;
    peer.write_all(b"x")?;
    // Refused at once, by the next wait, or not at all.
    let _ = selector.modify_with(token, Interest::READ, Mode::OneShot);
    selector.select(NOW)?;
    let before = selector.backend().calls().wait;
    selector.select(Some(SHORT))?;
    let waits = selector.backend().calls().wait - before;
    case.expect_that(waits <= 10, "at most 10 calls of the backend's wait", waits)
}

pub(super) fn close_4_a_forked_child_leaves_no_ghost<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let (ours, mut theirs) = pair()?;
    let loose = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
    let (other, _other_peer) = pair()?;
    let mut selector = case.selector()?;
    case.did("registered a socket, forked a child, closed and unregistered the socket");
    let old = selector.register(loose.borrow(), Interest::READ, "old")?;
    let _holder = forked_holder()?;
    loose.close()?;
    selector.unregister(old)?;
    case.did("registered another socket with the same number, and made the first ready");
    loose.replace(&other)?;
    selector.register(loose.borrow(), Interest::READ, "new")?;
    theirs.write_all(b"x")?;
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])
}

pub(super) fn close_5_other_sources_are_still_reported<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut interests = vec![Interest::READ, Interest::WRITE, BOTH];
    if case.backend()?.capabilities().priority {
        let urgent = Interest::PRIORITY;
        interests.extend([urgent, Interest::WRITE | urgent, Interest::all()]);
    }
    for interest in interests {
        let (ours, _theirs) = pair()?;
        let (second, _second_peer) = pair()?;
        let (other, mut other_peer) = pair()?;
        let loose = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
        let second = LooseDescriptor::duplicate(OwnedSource::from(second))?;
        let file = if_any(regular_file())?.map(LooseDescriptor::duplicate).transpose()?;
        let mut selector = case.selector()?;
        let mut gone = vec![
            selector.register(loose.borrow(), interest, ())?,
            selector.register(second.borrow(), interest, ())?,
        ];
        if let Some(file) = &file {
            gone.push(selector.register(file.borrow(), interest, ())?);
        }
        let live = selector.register(borrow(&other), Interest::READ, ())?;
        case.did(format!("closed two sockets and a file that were registered for {interest:?}"));
        loose.close()?;
        second.close()?;
        file.iter().try_for_each(LooseDescriptor::close)?;
        case.did("made another source ready");
        other_peer.write_all(b"x")?;
        for _ in 0..3 {
            let events = selector.select(case.long())?;
            let found = events.iter().find(|event| event.token() == live).map(Event::readiness);
            case.expect("the readiness of the other source", found, Some(Readiness::READ))?;
            for event in &events {
                let known = event.token() == live || gone.contains(&event.token());
                case.expect_that(known, "only these sources", event)?;
                let error = event.readiness().contains(Readiness::ERROR);
                let fine = event.token() == live || error;
                let expected = "a closed one to be an ERROR, or nothing";
                let outcome = case.expect_that(fine, expected, event);
                // The sockets came before the file.
                if gone[2..].contains(&event.token()) {
                    case.because(FILE_BY_NUMBER, outcome)?;
                } else {
                    outcome?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn close_5_a_closed_descriptor_does_not_make_it_spin<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    let loose = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
    let mut selector = case.counting()?;
    let gone = selector.register(loose.borrow(), Interest::READ, ())?;
    loose.close()?;
    case.did("closed the only source, and waited for 20 ms");
    let start = Instant::now();
    let events = selector.select(Some(SHORT))?;
    let waits = selector.backend().calls().wait;
    case.expect_that(waits <= 10, "at most 10 calls of the backend's wait", waits)?;
    if events.is_empty() {
        let waited = start.elapsed();
        return case.expect_that(waited >= SHORT, "silence for at least 20 ms", waited);
    }
    let event = case.only(&events, gone)?;
    let error = event.readiness().contains(Readiness::ERROR);
    case.expect_that(error, "an ERROR and nothing else", event)?;
    selector.unregister(gone)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn close_5_a_closed_one_shot_is_reported_once<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    let loose = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
    let mut selector = case.selector()?;
    selector.register_with(loose.borrow(), Interest::READ, (), Mode::OneShot)?;
    loose.close()?;
    case.did("closed a one-shot source, and waited without blocking, twice");
    let reported = !selector.select(NOW)?.is_empty();
    let cause = if reported {
        "an event of a closed source that the backend itself creates does not disarm the source"
    } else {
        "a closed source is noticed only by the second wait: check before the first one"
    };
    case.because(cause, case.expect_tokens(&selector.select(NOW)?, &[]))
}
