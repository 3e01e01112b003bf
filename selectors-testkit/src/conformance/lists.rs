//! WAIT-7 to WAIT-10: what a wait reports, also of sources with high numbers, and the list of events.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use selectors::backend::RawSource;
use selectors::{Backend, Error, Event, Events, Interest, Mode, Readiness, Token};

use super::stale_readiness::modes;
use super::streams::at_most;
use super::waiting::READING;
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{above, borrow, drain, if_any, number_of, pair, send, signal_storm};

pub(super) fn wait_7_every_ready_source_gets_its_turn<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    // More than a batch of a thousand, which is a common size.
    let sources = at_most(1100, 4)?;
    let mut selector = case.selector()?;
    let mut waiting = Vec::new();
    case.did(format!("registered {sources} sources that stay ready"));
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    for number in 1..=sources {
        waiting.push(selector.register(ours.try_clone()?, Interest::READ, ())?);
        // Whatever the capacity of the backend is: its list is full, or almost full.
        let odd = [number - 1, number, number + 1].iter().any(|number| number.is_power_of_two());
        if odd || number == sources {
            case.expect_tokens(&selector.select(NOW)?, &waiting)?;
        }
    }
    let mut rounds = 0;
    while !waiting.is_empty() && rounds < sources {
        rounds += 1;
        let events = selector.select(case.long())?;
        case.expect_that(!events.is_empty(), "some of the ready sources", &events)?;
        let reported: BTreeSet<_> = events.iter().map(Event::token).collect();
        waiting.retain(|token| !reported.contains(token));
    }
    case.expect(&format!("the sources that were not reported in {rounds} waits"), waiting.len(), 0)
}

pub(super) fn wait_8_descriptors_above_1024<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    high_descriptor(case, 1024)
}

pub(super) fn wait_8_descriptors_above_65536<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    // Too high for 16 bits with a sign, and without one.
    high_descriptor(case, 33_000)?;
    high_descriptor(case, 65_536)
}

fn high_descriptor<B: Backend>(case: &mut Case<'_, B>, number: RawSource) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let high = match above(&ours, number) {
        Ok(high) => high,
        Err(error) => return Err(case.cannot_run(format!("no descriptor above {number}: {error}"))),
    };
    let fd = number_of(&high);
    let mut selector = case.selector()?;
    let limit = selector.capabilities().max_descriptor;
    case.did(format!("registered descriptor {fd}"));
    let answer = selector.register(high, Interest::READ | Interest::WRITE, ());
    if let Some(limit) = limit.filter(|&limit| fd > limit) {
        let fields = match answer.map_err(|refused| refused.error) {
            Err(Error::DescriptorOutOfRange { fd, limit, .. }) => Some((fd, limit)),
            _ => None,
        };
        return case.expect("DescriptorOutOfRange's fields", fields, Some((fd, limit)));
    }
    let token = answer?;
    let (low, _low_peer) = pair()?;
    let low = selector.register(low.into(), Interest::WRITE, ())?;
    theirs.write_all(b"x")?;
    let events = selector.select(case.long())?;
    case.expect_tokens(&events, &[token, low])?;
    let both = Readiness::READ | Readiness::WRITE;
    let seen = events.iter().find(|event| event.token() == token).map(Event::readiness);
    case.expect("its readiness", seen, Some(both))?;
    selector.modify(token, Interest::READ)?;
    selector.unregister(low)?;
    case.only(&selector.select(case.long())?, token)?;
    selector.unregister(token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn wait_8_high_descriptors_in_every_mode<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let Some(high) = above(&ours, 1024).ok() else {
        return Err(case.cannot_run("no descriptor above 1024"));
    };
    let limit = case.backend()?.capabilities().max_descriptor;
    if limit.is_some_and(|limit| number_of(&high) > limit) {
        return Ok(());
    }
    for mode in modes(case)? {
        for interest in [Interest::READ, Interest::WRITE, BOTH] {
            let mut selector = case.selector()?;
            case.did(format!("registered a high descriptor for {interest:?}, {mode:?}"));
            let token = selector.register_with(borrow(&high), interest, (), mode)?;
            let event = case.only(&selector.select(case.long())?, token)?;
            let seen = event.readiness() & Readiness::from(Interest::all());
            case.expect("its readiness", seen, Readiness::from(interest))?;
            selector.modify_with(token, Interest::WRITE, Mode::OneShot)?;
            case.only(&selector.select(case.long())?, token)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
        }
    }
    Ok(())
}

pub(super) fn wait_9_the_backend_appends<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut backend = case.backend()?;
    let (there, token) = (Token::from_bits(1), Token::from_bits(2));
    backend.register(borrow(&ours), token, READING)?;
    let mut events = Events::new();
    events.push(Event::new(there, Readiness::READ));
    case.did("waited with the backend and a list with an event");
    backend.wait(&mut events, case.long())?;
    case.expect_tokens(&events, &[there, token])?;
    case.did("waited until a signal arrived");
    drain(&ours)?;
    let Some(_storm) = if_any(signal_storm(Duration::from_millis(2)))? else { return Ok(()) };
    let answer = backend.wait(&mut events, case.long()).map_err(|error| error.kind());
    case.expect("the result of the backend", answer, Err(ErrorKind::Interrupted))?;
    case.expect_tokens(&events, &[there, token])
}

pub(super) fn wait_9_select_into_replaces<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::READ, ())?;
    let mut events = Events::new();
    case.did("waited with a list that contained an event of another selector");
    events.push(Event::new(Token::from_bits(u64::MAX / 3), Readiness::WRITE));
    for _ in 0..2 {
        selector.select_into(&mut events, case.long())?;
        case.only(&events, token)?;
    }
    case.did("waited in vain");
    drain(&ours)?;
    selector.select_into(&mut events, NOW)?;
    case.expect_tokens(&events, &[])
}

pub(super) fn wait_10_an_unregistered_source_has_no_key<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut selector = case.selector()?;
    let mut peers = Vec::new();
    for number in 0..3 {
        let (ours, mut theirs) = pair()?;
        theirs.write_all(b"x")?;
        peers.push(theirs);
        selector.register(ours, Interest::READ, number)?;
    }
    case.did("unregistered the others while handling the first of three events");
    let events = selector.select(case.long())?;
    case.expect("the number of events", events.len(), 3)?;
    let mut batch = events.iter();
    let Some(first) = batch.next() else { return Ok(()) };
    let mut freed = Vec::new();
    for event in batch.clone() {
        freed.push(selector.unregister(event.token())?.0);
    }
    case.did("registered them again, in the vacant slots");
    for ours in freed {
        selector.register(ours, Interest::READ, 100)?;
    }
    case.expect("whether the first has a key", selector.get(first.token()).is_some(), true)?;
    for event in batch {
        let data = selector.get(event.token()).map(|key| *key.data);
        case.expect("the key of an unregistered source", data, None)?;
    }
    let events = selector.select(case.long())?;
    for event in &events {
        case.expect("whether it has a key", selector.contains(event.token()), true)?;
    }
    case.expect("the number of events", events.len(), 3)
}
