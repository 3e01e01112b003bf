//! REG-1 to REG-5, REG-9 to REG-11: the map of sources, and unregistering.

use std::io::{Read, Write};
use std::time::Duration;

use selectors::backend::BorrowedSource;
use selectors::{Backend, Error, Events, Interest, Mode, Readiness, Token, Watch};

use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{borrow, number_of, pair};

/// Long enough to notice a spin.
const SHORT: Duration = Duration::from_millis(20);

pub(super) fn reg_1_a_key_has_the_registered_values<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let number = number_of(&ours);
    let mut selector = case.selector()?;
    case.did("registered a socket for READ and WRITE, one-shot, with data");
    let token = selector.register_with(ours, BOTH, "data", Mode::OneShot)?;
    let key = selector.get(token);
    case.expect_that(key.is_some(), "a key", key)?;
    let Some(key) = key else { return Ok(()) };
    case.expect("the file object's descriptor", number_of(&key.fileobj), number)?;
    case.expect("the descriptor", key.fd, number)?;
    case.expect("the events", key.events, BOTH)?;
    case.expect("the mode", key.mode, Mode::OneShot)?;
    case.expect("the data", *key.data, "data")
}

pub(super) fn reg_2_an_empty_interest_parks<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let edge = case.selector::<&std::net::TcpStream, ()>()?.capabilities().edge;
    let modes = [Mode::Level, Mode::OneShot, Mode::Edge];
    for mode in modes.into_iter().filter(|&mode| edge || mode != Mode::Edge) {
        let (ours, mut theirs) = pair()?;
        let mut selector = case.selector()?;
        case.did(format!(
            "registered a socket with an empty interest, {mode:?}, and sent it a byte"
        ));
        let token = selector.register_with(&ours, Interest::empty(), (), mode)?;
        theirs.write_all(b"x")?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("modified it to READ, and then to an empty interest");
        selector.modify(token, Interest::READ)?;
        case.only(&selector.select(case.long())?, token)?;
        selector.modify(token, Interest::empty())?;
        drop(theirs);
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("modified it to READ again, after its peer was closed");
        selector.modify(token, Interest::READ)?;
        case.only(&selector.select(case.long())?, token)?;
    }
    Ok(())
}

pub(super) fn reg_4_a_descriptor_is_registered_once<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    case.did("registered a socket, and again through the same and through another object");
    let token = selector.register(borrow(&ours), Interest::READ, 1)?;
    for number in [2, 3] {
        let same: BorrowedSource<'_> = borrow(&ours);
        let Err(refused) = selector.register(same, Interest::WRITE, number) else {
            return case.expect("the answer", "a token", "a refusal");
        };
        let holder = match refused.error {
            Error::AlreadyRegistered { token, .. } => Some(token),
            _ => None,
        };
        case.expect("the token in the error", holder, Some(token))?;
        case.expect("the data in the error", refused.data, number)?;
    }
    case.expect("the number of sources", selector.len(), 1)?;
    case.did("made it readable");
    theirs.write_all(b"x")?;
    let events = selector.select(case.long())?;
    let event = case.only(&events, token)?;
    case.expect("WRITE, which only the refused registrations contained", event.is_writable(), false)
}

pub(super) fn reg_5_a_duplicate_is_a_source_of_its_own<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let duplicate = ours.try_clone()?;
    let mut selector = case.selector()?;
    case.did("registered a readable socket and a duplicate of it");
    let first = selector.register(ours, Interest::READ, 1)?;
    let second = selector.register(duplicate, Interest::READ, 2)?;
    theirs.write_all(b"x")?;
    case.expect_tokens(&selector.select(case.long())?, &[first, second])?;
    case.did("unregistered the first of them");
    selector.unregister(first)?;
    case.expect_tokens(&selector.select(case.long())?, &[second])
}

pub(super) fn reg_5_one_file_in_two_selectors<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let (mut one, mut two) = (case.selector()?, case.selector()?);
    case.did("registered a readable socket with two selectors, with one of them one-shot");
    let level = one.register(&ours, Interest::READ, ())?;
    let once = two.register_with(&ours, Interest::READ, (), Mode::OneShot)?;
    theirs.write_all(b"x")?;
    for _ in 0..2 {
        case.only(&one.select(case.long())?, level)?;
    }
    case.only(&two.select(case.long())?, once)?;
    case.expect_tokens(&two.select(NOW)?, &[])?;
    case.did("modified it to WRITE in the first selector, and rearmed it in the second");
    one.modify(level, Interest::WRITE)?;
    two.rearm(once)?;
    let event = case.only(&one.select(case.long())?, level)?;
    case.expect("its readiness in the first", event.readiness(), Readiness::WRITE)?;
    let event = case.only(&two.select(case.long())?, once)?;
    case.expect("its readiness in the second", event.readiness(), Readiness::READ)?;
    case.did("unregistered it from the first selector, and rearmed it in the second");
    one.unregister(level)?;
    two.rearm(once)?;
    case.expect_tokens(&one.select(NOW)?, &[])?;
    case.only(&two.select(case.long())?, once).map(drop)
}

pub(super) fn reg_9_unregister_returns_everything_once<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let number = number_of(&ours);
    let mut selector = case.selector()?;
    case.did("registered a socket and unregistered it, twice");
    let token = selector.register(ours, BOTH, "data")?;
    let (mut ours, data) = selector.unregister(token)?;
    case.expect("the descriptor", number_of(&ours), number)?;
    case.expect("the data", data, "data")?;
    let again = selector.unregister(token).map(drop);
    case.expect_that(
        matches!(again, Err(Error::NotRegistered { .. })),
        "Error::NotRegistered",
        &again,
    )?;
    case.did("made it ready, and waited without blocking");
    theirs.write_all(b"x")?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    let mut byte = [0];
    ours.read_exact(&mut byte)?;
    case.expect("what it reads", byte, *b"x")?;
    case.did("unregistered a token that was never issued");
    let unknown = selector.unregister(Token::from_bits(u64::MAX / 2)).map(drop);
    case.expect_that(
        matches!(unknown, Err(Error::NotRegistered { .. })),
        "Error::NotRegistered",
        &unknown,
    )
}

pub(super) fn reg_9_the_backend_forgets_unregistered_sources<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let pairs: Vec<_> = (0..5).map(|_| pair()).collect::<Result<_, _>>()?;
    let mut backend = case.backend()?;
    case.did("registered five writable sockets and unregistered the first, third and last");
    let watch = Watch::new(BOTH, Mode::Level);
    let tokens: Vec<_> = (0..5).map(Token::from_bits).collect();
    for (pair, token) in pairs.iter().zip(&tokens) {
        backend.register(borrow(&pair.0), *token, watch)?;
    }
    for gone in [0, 2, 4] {
        backend.unregister(number_of(&pairs[gone].0), tokens[gone], watch)?;
    }
    let mut events = Events::new();
    backend.wait(&mut events, case.long())?;
    let mut seen: Vec<_> = events.iter().map(selectors::Event::token).collect();
    seen.sort();
    seen.dedup();
    case.expect("the tokens reported", seen, vec![tokens[1], tokens[3]])
}

pub(super) fn reg_9_an_unregistered_source_does_not_end_waits<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let (idle, _idle_peer) = pair()?;
    let mut selector = case.counting()?;
    selector.register(borrow(&idle), Interest::READ, ())?;
    case.did("unregistered a ready socket, which stays open and ready, and waited for 20 ms");
    theirs.write_all(b"x")?;
    let token = selector.register(borrow(&ours), Interest::READ, ())?;
    case.only(&selector.select(case.long())?, token)?;
    selector.unregister(token)?;
    let before = selector.backend().calls().wait;
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let waits = selector.backend().calls().wait - before;
    case.expect_that(waits <= 10, "at most 10 calls of the backend's wait", waits)
}

pub(super) fn reg_9_sources_come_and_go_between_two_waits<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let (other, mut other_peer) = pair()?;
    theirs.write_all(b"x")?;
    other_peer.write_all(b"x")?;
    let mut selector = case.selector()?;
    case.did("registered two readable sockets, unregistered one, and registered it anew");
    let first = selector.register(borrow(&ours), Interest::READ, 1)?;
    let second = selector.register(borrow(&other), Interest::READ, 2)?;
    selector.unregister(first)?;
    let third = selector.register(borrow(&ours), BOTH, 3)?;
    case.expect_tokens(&selector.select(case.long())?, &[second, third])?;
    case.did("unregistered it, registered it for WRITE, and unregistered the other");
    selector.unregister(third)?;
    let fourth = selector.register(borrow(&ours), Interest::WRITE, 4)?;
    selector.unregister(second)?;
    let event = case.only(&selector.select(case.long())?, fourth)?;
    case.expect("what it is", event.readiness(), Readiness::WRITE)?;
    selector.unregister(fourth)?;
    for times in 2..=6 {
        case.did(format!("registered it {times} times, and unregistered it in between"));
        for number in 1..times {
            let token = selector.register(borrow(&ours), BOTH, number)?;
            selector.unregister(token)?;
        }
        let last = selector.register(borrow(&ours), Interest::READ, times)?;
        case.only(&selector.select(case.long())?, last)?;
        selector.unregister(last)?;
    }
    case.did("registered and unregistered it once more");
    let fifth = selector.register(borrow(&ours), Interest::WRITE, 5)?;
    selector.unregister(fifth)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn reg_10_tokens_are_unique<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut selector = case.selector()?;
    case.did("registered and unregistered the same socket three hundred times");
    let mut old = Vec::new();
    for round in 0..300 {
        let token = selector.register(&ours, Interest::READ, round)?;
        case.expect("whether the token was issued before", old.contains(&token), false)?;
        case.only(&selector.select(case.long())?, token)?;
        selector.unregister(token)?;
        old.push(token);
    }
    case.did("registered it once more, and used the old tokens");
    let token = selector.register(&ours, Interest::READ, 300)?;
    for &old in &old {
        case.expect("whether an old token has a key", selector.get(old).is_some(), false)?;
        case.expect("whether it is contained", selector.contains(old), false)?;
        case.expect("whether it can be modified", selector.modify(old, BOTH).is_ok(), false)?;
        case.expect("whether it can be unregistered", selector.unregister(old).is_ok(), false)?;
    }
    case.expect("the data", selector.get(token).map(|key| *key.data), Some(300))
}

pub(super) fn reg_11_every_view_agrees<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let pairs: Vec<_> = (0..20).map(|_| pair()).collect::<Result<_, _>>()?;
    let mut selector = case.selector()?;
    let mut tokens = Vec::new();
    case.did("registered twenty sockets, unregistered every third, and compared all views");
    for (number, (ours, _)) in pairs.iter().enumerate() {
        tokens.push(selector.register(ours, Interest::READ, number)?);
    }
    for token in tokens.iter().step_by(3) {
        selector.unregister(*token)?;
    }
    let listed: Vec<_> = selector.iter().map(|(token, key)| (token, *key.data)).collect();
    case.expect("len, compared with iter", selector.len(), listed.len())?;
    case.expect("is_empty", selector.is_empty(), false)?;
    for (number, (ours, _)) in pairs.iter().enumerate() {
        let there = number % 3 != 0;
        let token = tokens[number];
        case.expect("contains", selector.contains(token), there)?;
        case.expect("get", selector.get(token).map(|k| *k.data), there.then_some(number))?;
        case.expect("get_key", selector.get_key(ours).map(|k| *k.data), there.then_some(number))?;
        case.expect("token_of", selector.token_of(ours), there.then_some(token))?;
        case.expect("iter", listed.contains(&(token, number)), there)?;
    }
    Ok(())
}
