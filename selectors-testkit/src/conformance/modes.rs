//! MODE: how often a source is reported while it stays ready.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use selectors::backend::AsSource;
use selectors::{Backend, Interest, Mode, Readiness, Token};

use super::streams::{DATAGRAMS, PATIENTLY, all_pairs, stream_pairs};
use super::{BOTH, Case, NOW, Outcome, Stop, Subject};
use crate::fixtures::{
    drain, fill, if_any, is_ready, listener_with_pending, pair, pipe, receive, reset, send,
    tcp_pair,
};

/// Long enough to notice a spin.
const SHORT: Duration = Duration::from_millis(20);

pub(super) fn mode_1_level_repeats_until_drained<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, ours, theirs) in all_pairs()? {
        let mut selector = case.selector()?;
        case.did(format!("registered a {name}, level-triggered, with two bytes to read"));
        let token = selector.register(&ours, Interest::READ, ())?;
        send(&theirs, b"x")?;
        send(&theirs, b"y")?;
        for _ in 0..3 {
            case.only(&selector.select(case.long())?, token)?;
        }
        case.did("read one of two bytes");
        receive(&ours, &mut [0])?;
        case.only(&selector.select(case.long())?, token)?;
        case.did("read the other");
        is_ready(&ours, Interest::READ, PATIENTLY)?;
        drain(&ours)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    Ok(())
}

pub(super) fn mode_2_one_shot_reports_once<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for interest in [Interest::READ, Interest::WRITE, BOTH] {
        let (ours, mut theirs) = pair()?;
        theirs.write_all(b"x")?;
        let mut selector = case.selector()?;
        case.did(format!("registered a ready socket for {interest:?}, one-shot"));
        let token = selector.register_with(&ours, interest, (), Mode::OneShot)?;
        for _ in 0..3 {
            let event = case.only(&selector.select(case.long())?, token)?;
            case.expect("its readiness", event.readiness(), Readiness::from(interest))?;
            case.did("waited again");
            theirs.write_all(b"y")?;
            for _ in 0..2 {
                case.expect_tokens(&selector.select(NOW)?, &[])?;
            }
            case.did("modified it to the same");
            selector.modify(token, interest)?;
        }
    }
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    case.did("registered a writable socket for READ and WRITE, one-shot");
    let token = selector.register_with(&ours, BOTH, (), Mode::OneShot)?;
    case.only(&selector.select(case.long())?, token)?;
    case.did("made it readable, too");
    theirs.write_all(b"x")?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("modified it to level-triggered");
    selector.modify_with(token, Interest::READ, Mode::Level)?;
    for _ in 0..2 {
        case.only(&selector.select(case.long())?, token)?;
    }
    Ok(())
}

pub(super) fn mode_2_one_shot_is_silent_about_hang_ups_too<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        let mut selector = case.selector()?;
        case.did(format!("let a one-shot {name} source fire, then closed its peer"));
        let token = selector.register_with(&ours, Interest::READ, (), Mode::OneShot)?;
        (&theirs).write_all(b"x")?;
        case.only(&selector.select(case.long())?, token)?;
        drop(theirs);
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("modified it");
        selector.modify(token, Interest::READ)?;
        case.only(&selector.select(case.long())?, token)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    let Some((reader, writer)) = if_any(pipe())? else { return Ok(()) };
    let mut selector = case.selector()?;
    case.did("let the writing end of a pipe without a reader fire, one-shot");
    drop(reader);
    let token = selector.register_with(writer, Interest::WRITE, (), Mode::OneShot)?;
    case.only(&selector.select(case.long())?, token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn mode_2_one_shot_is_silent_about_errors_too<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, theirs) = tcp_pair()?;
    let mut selector = case.selector()?;
    case.did("let a one-shot source fire, then reset it");
    let token = selector.register_with(&ours, Interest::WRITE, (), Mode::OneShot)?;
    case.only(&selector.select(case.long())?, token)?;
    reset(theirs)?;
    // Wait until another selector has reported the reset.
    let mut witness = case.selector()?;
    witness.register(&ours, Interest::READ, ())?;
    case.expect("the events of the other selector", witness.select(case.long())?.len(), 1)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn mode_2_a_fired_one_shot_can_be_unregistered<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut selector = case.selector()?;
    case.did("unregistered a one-shot source after it had fired, and registered it again");
    for _ in 0..3 {
        let token = selector.register_with(&ours, BOTH, (), Mode::OneShot)?;
        case.only(&selector.select(case.long())?, token)?;
        selector.unregister(token)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    case.did("let the source that was registered last fire, and unregistered the first");
    let (idle, _idle_peer) = pair()?;
    let first = selector.register(&idle, Interest::READ, ())?;
    let fired = selector.register_with(&ours, Interest::READ, (), Mode::OneShot)?;
    case.only(&selector.select(case.long())?, fired)?;
    selector.unregister(first)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("unregistered the fired one, and registered the first again");
    selector.unregister(fired)?;
    let first = selector.register(&idle, BOTH, ())?;
    case.only(&selector.select(case.long())?, first).map(drop)
}

pub(super) fn mode_2_a_fired_one_shot_does_not_make_it_spin<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        let mut selector = case.counting()?;
        case.did(format!("let a one-shot {name} source fire, which stays ready"));
        (&theirs).write_all(b"x")?;
        let token = selector.register_with(&ours, Interest::READ, (), Mode::OneShot)?;
        case.only(&selector.select(case.long())?, token)?;
        let mut theirs = Some(theirs);
        for what in ["waited for 20 ms", "closed its peer, and waited again"] {
            case.did(what);
            let before = selector.backend().calls().wait;
            case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
            let waits = selector.backend().calls().wait - before;
            case.expect_that(waits <= 10, "at most 10 calls of the backend's wait", waits)?;
            theirs = None;
        }
        drop(theirs);
    }
    Ok(())
}

pub(super) fn mode_3_edge_reports_changes<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, ours, theirs) in all_pairs()? {
        let mut selector = case.selector()?;
        case.did(format!("registered a {name}, edge-triggered"));
        let answer = selector.register_with(&ours, Interest::READ, (), Mode::Edge);
        let declared = selector.capabilities().edge;
        let answer = answer.map_err(Into::into);
        let Some(token) = case.declared_or_refused(declared, answer)? else { continue };
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        for _ in 0..3 {
            case.did("sent it a byte");
            send(&theirs, b"x")?;
            case.only(&selector.select(case.long())?, token)?;
            case.did("waited again without reading");
            case.expect_tokens(&selector.select(NOW)?, &[])?;
        }
        case.did("read everything");
        drain(&ours)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("sent another byte");
        send(&theirs, b"x")?;
        case.only(&selector.select(case.long())?, token)?;
        drop(theirs);
        if DATAGRAMS.contains(&name) {
            continue;
        }
        case.did("closed the peer");
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("READ", event.is_readable(), true)?;
    }
    new_connections(case)?;
    let Some((reader, writer)) = if_any(pipe())? else { return Ok(()) };
    let mut selector = case.selector()?;
    case.did("registered the writing end of a pipe, edge-triggered");
    let answer = selector.register_with(&writer, Interest::WRITE, (), Mode::Edge);
    let declared = selector.capabilities().edge;
    let answer = case.declared_or_refused(declared, answer.map_err(Into::into))?;
    let Some(token) = answer else { return Ok(()) };
    case.only(&selector.select(case.long())?, token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("filled it, and drained it");
    fill(&writer)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    drain(&reader)?;
    case.only(&selector.select(case.long())?, token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

/// Each connection is an edge of its listener.
fn new_connections<B: Backend>(case: &Case<'_, B>) -> Outcome {
    let (listener, _first) = listener_with_pending()?;
    let mut selector = case.selector()?;
    case.did("registered a listener, edge-triggered, and connected twice more");
    let answer = selector.register_with(&listener, Interest::READ, (), Mode::Edge);
    let declared = selector.capabilities().edge;
    let answer = case.declared_or_refused(declared, answer.map_err(Into::into))?;
    let Some(token) = answer else { return Ok(()) };
    let mut streams = Vec::new();
    for _ in 0..3 {
        case.only(&selector.select(case.long())?, token)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        streams.push(TcpStream::connect(listener.local_addr()?)?);
    }
    case.only(&selector.select(case.long())?, token).map(drop)
}

pub(super) fn mode_3_edge_reports_again_after_modify<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::WRITE, ())?;
    case.did("modified a level-triggered source to edge-triggered");
    let answer = selector.modify_with(token, Interest::READ, Mode::Edge);
    let declared = selector.capabilities().edge;
    if case.declared_or_refused(declared, answer)?.is_none() {
        let key = selector.get(token).map(|key| (key.events, key.mode));
        return case.expect("the key", key, Some((Interest::WRITE, Mode::Level)));
    }
    theirs.write_all(b"x")?;
    case.only(&selector.select(case.long())?, token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("modified it to READ and WRITE");
    selector.modify(token, BOTH)?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("READ and WRITE", event.readiness(), Readiness::from(BOTH))?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("parked it, and modified it to READ and WRITE again");
    selector.modify(token, Interest::empty())?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    selector.modify(token, BOTH)?;
    case.only(&selector.select(case.long())?, token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("modified it to level-triggered");
    selector.modify_with(token, Interest::READ, Mode::Level)?;
    for _ in 0..2 {
        case.only(&selector.select(case.long())?, token)?;
    }
    Ok(())
}

pub(super) fn mode_3_edge_reports_again_after_two_modifies<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut selector = case.selector()?;
    case.did("registered a readable socket, edge-triggered, and waited");
    let declared = selector.capabilities().edge;
    let answer = selector.register_with(ours, Interest::READ, (), Mode::Edge);
    let answer = answer.map_err(selectors::Error::from);
    let Some(token) = case.declared_or_refused(declared, answer)? else { return Ok(()) };
    case.only(&selector.select(case.long())?, token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("modified it to READ and WRITE, and back");
    selector.modify(token, BOTH)?;
    selector.modify(token, Interest::READ)?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("what it is", event.readiness(), Readiness::READ)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

type Exclusive<'a, F, B> = (Subject<&'a F, (), B>, Token);

/// A selector that watches for READ with exclusive wake-up, if that is possible.
fn exclusive<'a, F: AsSource, B: Backend>(
    case: &Case<'_, B>,
    source: &'a F,
) -> Result<Option<Exclusive<'a, F, B>>, Stop> {
    let mut selector = case.selector()?;
    let declared = selector.capabilities().exclusive;
    let answer = selector.register_with(source, Interest::READ, (), Mode::Exclusive);
    let token = case.declared_or_refused(declared, answer.map_err(Into::into))?;
    Ok(token.map(|token| (selector, token)))
}

pub(super) fn mode_4_exclusive_wakes_at_least_one<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (listener, _stream) = listener_with_pending()?;
    case.did("registered a listener with three selectors, each with exclusive wake-up");
    let mut selectors = Vec::new();
    for _ in 0..3 {
        let Some(selector) = exclusive(case, &listener)? else { return Ok(()) };
        selectors.push(selector);
    }
    case.did("a connection is pending");
    let mut woken = 0;
    for (selector, token) in &mut selectors {
        let events = selector.select(NOW)?;
        woken += events.len();
        if !events.is_empty() {
            case.only(&events, *token)?;
        }
    }
    case.expect_that(woken >= 1, "at least one of them to wake", woken)
}

pub(super) fn mode_4_exclusive_can_be_modified<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let Some((mut selector, token)) = exclusive(case, &ours)? else { return Ok(()) };
    theirs.write_all(b"x")?;
    for interest in [Interest::WRITE, BOTH, Interest::READ] {
        case.did(format!("modified it to {interest:?}"));
        selector.modify(token, interest)?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::from(interest))?;
    }
    for mode in [Mode::Level, Mode::Exclusive, Mode::OneShot, Mode::Exclusive] {
        case.did(format!("modified it to {mode:?}"));
        selector.modify_with(token, Interest::READ, mode)?;
        case.only(&selector.select(case.long())?, token)?;
    }
    case.did("modified it to PRIORITY");
    let refused = selector.modify(token, Interest::PRIORITY);
    case.expect("whether it was accepted", refused.is_ok(), false)?;
    case.only(&selector.select(case.long())?, token)?;
    selector.unregister(token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn mode_5_modes_mix<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector()?;
    let capabilities = selector.capabilities();
    let mut modes = vec![Mode::Level, Mode::OneShot, Mode::Level, Mode::OneShot];
    if capabilities.edge {
        modes.push(Mode::Edge);
    }
    if capabilities.exclusive {
        modes.push(Mode::Exclusive);
    }
    case.did(format!("registered sockets in the modes {modes:?}"));
    let mut peers = Vec::new();
    let mut all = Vec::new();
    let mut lasting = Vec::new();
    for mode in modes {
        let (ours, mut theirs) = pair()?;
        theirs.write_all(b"x")?;
        peers.push(theirs);
        let token = selector.register_with(ours, Interest::READ, (), mode)?;
        all.push(token);
        if matches!(mode, Mode::Level | Mode::Exclusive) {
            lasting.push(token);
        }
    }
    case.expect_tokens(&selector.select(case.long())?, &all)?;
    case.did("waited again without reading");
    for _ in 0..2 {
        case.expect_tokens(&selector.select(case.long())?, &lasting)?;
    }
    Ok(())
}
