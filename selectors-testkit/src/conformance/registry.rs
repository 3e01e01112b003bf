//! REG: registering, unregistering, and what the map shows.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use selectors::backend::{AsSource, BorrowedSource};
use selectors::{Backend, Capabilities, Error, Events, Interest, Mode, Readiness, Token, Watch};

use super::{Case, NOW, Outcome, Subject};
use crate::fixtures::{
    HIGHEST, LooseDescriptor, NOT_OPEN, OwnedSource, PairStream, borrow, closed_number, duplicate,
    if_any, impossible_numbers, inheritable_descriptors, is_close_on_exec, number_of,
    open_descriptors, pair, pipe, regular_file, with_raw,
};

const BOTH: Interest = Interest::READ.union(Interest::WRITE);

/// Long enough for a spin to show.
const SHORT: Duration = Duration::from_millis(20);

pub(super) fn reg_1_the_key_is_as_given<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
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
        case.did(format!("registered a socket for nothing, {mode:?}, and sent it a byte"));
        let token = selector.register_with(&ours, Interest::empty(), (), mode)?;
        theirs.write_all(b"x")?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("modified it to READ, and then to nothing");
        selector.modify(token, Interest::READ)?;
        case.only(&selector.select(case.long())?, token)?;
        selector.modify(token, Interest::empty())?;
        drop(theirs);
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("modified it to READ again, after its peer had gone");
        selector.modify(token, Interest::READ)?;
        case.only(&selector.select(case.long())?, token)?;
    }
    Ok(())
}

pub(super) fn reg_3_unknown_bits_are_refused<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for bits in [0x80, 0x81, 0x08] {
        refuses_interest(case, Interest::from_bits_retain(bits))?;
    }
    Ok(())
}

fn refuses_interest<B: Backend>(case: &mut Case<'_, B>, bad: Interest) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.counting()?;
    case.did(format!("registered a socket for {bad:?}"));
    let refused = selector.register(&ours, bad, "data");
    let Err(refused) = refused else { return case.expect("the answer", "a token", "a refusal") };
    case.expect_that(
        matches!(refused.error, Error::InvalidInterest { .. }),
        "Error::InvalidInterest",
        &refused.error,
    )?;
    case.expect("calls of the backend's register", selector.backend().calls().register, 0)?;
    case.expect("the number of sources", selector.len(), 0)?;
    case.did("registered it for READ, and modified it likewise");
    let token = selector.register(refused.fileobj, Interest::READ, refused.data)?;
    let refused = selector.modify(token, bad);
    case.expect_that(
        matches!(refused, Err(Error::InvalidInterest { .. })),
        "Error::InvalidInterest",
        &refused,
    )?;
    case.expect("calls of the backend's modify", selector.backend().calls().modify, 0)?;
    case.expect("the events", selector.get(token).map(|key| key.events), Some(Interest::READ))?;
    theirs.write_all(b"x")?;
    let events = selector.select(case.long())?;
    case.only(&events, token).map(drop)
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
        case.expect("the token that has it", holder, Some(token))?;
        case.expect("the data in the error", refused.data, number)?;
    }
    case.expect("the number of sources", selector.len(), 1)?;
    case.did("made it readable");
    theirs.write_all(b"x")?;
    let events = selector.select(case.long())?;
    let event = case.only(&events, token)?;
    case.expect("WRITE, which only the refused ones asked for", event.is_writable(), false)
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

pub(super) fn reg_6_a_closed_descriptor_is_refused<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let bad = Some(NOT_OPEN);
    let Capabilities { deferred, max_descriptor, .. } = case.backend()?.capabilities();
    let limit = max_descriptor.unwrap_or(HIGHEST);
    // A set of bits as long as the highest number would be is no good idea.
    for number in [closed_number()?, HIGHEST].into_iter().filter(|&number| number <= limit) {
        case.did(format!("registered descriptor {number}, which is closed"));
        let mut backend = case.backend()?;
        let (token, watch) = (Token::from_bits(1), Watch::new(BOTH, Mode::Level));
        let refused = with_raw(number, |fd| backend.register(fd, token, watch));
        let errno = refused.map_err(|error| error.raw_os_error());
        case.expect("the backend's answer", errno, if deferred { Ok(()) } else { Err(bad) })?;
        if deferred {
            case.did("waited");
            let mut events = Events::new();
            backend.wait(&mut events, case.long())?;
            let event = case.only(&events, token)?;
            case.expect("what it says", event.readiness(), Readiness::ERROR)?;
        }
        with_raw(number, |fd| {
            let mut selector = case.selector()?;
            match selector.register(fd, BOTH, ()) {
                Ok(token) => {
                    case.expect("whether its changes are deferred", deferred, true)?;
                    is_an_error(case, &mut selector, token)
                }
                Err(refused) => {
                    case.expect("whether its changes are deferred", deferred, false)?;
                    let errno = std::io::Error::from(refused.error).raw_os_error();
                    case.expect("the errno", errno, bad)
                }
            }
        })?;
    }
    Ok(())
}

/// What becomes of a closed descriptor whose registration was deferred: every wait reports an
/// error of it, until it is unregistered.
fn is_an_error<F: AsSource, B: Backend>(
    case: &mut Case<'_, B>,
    selector: &mut Subject<F, (), B>,
    token: Token,
) -> Outcome {
    for _ in 0..2 {
        case.did("waited without a limit");
        let event = case.only(&selector.select(case.long())?, token)?;
        let wakes = Readiness::READ | Readiness::WRITE | Readiness::ERROR;
        case.expect("what it is", event.readiness(), wakes)?;
    }
    case.did("unregistered it");
    selector.unregister(token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn reg_6_a_negative_descriptor_stays_away_from_the_backend<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let numbers = impossible_numbers();
    if numbers.is_empty() {
        return Err(case.cannot_run("any number can be a source's"));
    }
    for number in numbers {
        case.did(format!("registered descriptor {number}"));
        with_raw(number, |fd| {
            let mut selector = case.counting()?;
            let Err(refused) = selector.register(fd, BOTH, ()) else {
                return case.expect("the answer", "a token", "a refusal");
            };
            let errno = std::io::Error::from(refused.error).raw_os_error();
            case.expect("the errno", errno, Some(NOT_OPEN))?;
            case.expect("calls of the backend's register", selector.backend().calls().register, 0)
        })?;
    }
    Ok(())
}

pub(super) fn reg_7_file_object_and_data_come_back<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let number = closed_number()?;
    case.did(format!("registered descriptor {number}, which is closed, with data"));
    with_raw(number, |fd| {
        let mut selector = case.selector()?;
        let deferred = selector.capabilities().deferred;
        let answer = selector.register(fd, BOTH, vec![1, 2, 3]);
        case.expect("whether it was accepted, by the capability", answer.is_ok(), deferred)?;
        let (fileobj, data) = match answer {
            Err(refused) => (refused.fileobj, refused.data),
            Ok(token) => {
                case.did("waited, and unregistered it");
                case.only(&selector.select(case.long())?, token)?;
                selector.unregister(token)?
            }
        };
        case.expect("the file object's descriptor", number_of(&fileobj), number)?;
        case.expect("the data", data, vec![1, 2, 3])?;
        case.expect("the number of sources", selector.len(), 0)?;
        let token = selector.token_of(&fd);
        case.expect("the token of the refused descriptor", token, None)
    })
}

pub(super) fn reg_7_a_refusal_leaves_nothing_behind<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let loose = LooseDescriptor::duplicate(&ours)?;
    loose.close()?;
    let mut backend = case.backend()?;
    case.did("had the backend refuse a closed descriptor for READ and WRITE");
    let watch = Watch::new(BOTH, Mode::Level);
    let token = Token::from_bits(1);
    let answer = backend.register(loose.borrow(), token, watch);
    let deferred = backend.capabilities().deferred;
    case.expect("whether it was accepted, by the capability", answer.is_ok(), deferred)?;
    let mut events = Events::new();
    if deferred {
        case.did("waited, and unregistered it");
        backend.wait(&mut events, case.long())?;
        case.only(&events, token)?;
        backend.unregister(loose.number(), token, watch)?;
        events.clear();
    }
    case.did("gave its number to a writable socket");
    loose.replace(&ours)?;
    backend.wait(&mut events, NOW)?;
    case.expect_tokens(&events, &[])?;
    case.did("registered that number for READ, and again after unregistering it");
    let reading = Watch::new(Interest::READ, Mode::Level);
    for token in [2, 3].map(Token::from_bits) {
        backend.register(loose.borrow(), token, reading)?;
        backend.wait(&mut events, NOW)?;
        case.expect_tokens(&events, &[])?;
        backend.unregister(loose.number(), token, reading)?;
    }
    Ok(())
}

pub(super) fn reg_8_a_selector_does_not_watch_itself<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut selector = case.selector()?;
    let nesting = selector.capabilities().nesting;
    let own = selector.backend().descriptor().map(|own| number_of(&own));
    case.expect("whether there is a descriptor, by the capability", own.is_some(), nesting)?;
    let Some(own) = own else { return Ok(()) };
    case.did("registered the selector's own descriptor with it");
    with_raw(own, |fd| {
        let refused = selector.register(fd, Interest::READ, ()).map_err(|refused| refused.error);
        case.expect_that(
            matches!(refused, Err(Error::Unsupported { .. })),
            "Error::Unsupported",
            &refused,
        )?;
        case.expect("the number of sources", selector.len(), 0)
    })
}

pub(super) fn reg_9_unregister_gives_everything_back_once<B: Backend>(
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
    case.did("unregistered a token that never was");
    let unknown = selector.unregister(Token::from_bits(u64::MAX / 2)).map(drop);
    case.expect_that(
        matches!(unknown, Err(Error::NotRegistered { .. })),
        "Error::NotRegistered",
        &unknown,
    )
}

pub(super) fn reg_9_the_backend_forgets_what_was_unregistered<B: Backend>(
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

pub(super) fn reg_9_what_was_unregistered_does_not_make_it_spin<B: Backend>(
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

pub(super) fn reg_9_what_came_and_went_between_two_waits<B: Backend>(
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
    case.did("unregistered it, and registered and unregistered it once more");
    selector.unregister(fourth)?;
    let fifth = selector.register(borrow(&ours), Interest::WRITE, 5)?;
    selector.unregister(fifth)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn reg_10_no_token_comes_twice<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut selector = case.selector()?;
    case.did("registered and unregistered the same socket three hundred times");
    let mut old = Vec::new();
    for round in 0..300 {
        let token = selector.register(&ours, Interest::READ, round)?;
        case.expect("whether the token was there before", old.contains(&token), false)?;
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

pub(super) fn reg_12_closing_hands_everything_back<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector()?;
    let mut peers = Vec::new();
    case.did("registered five sockets, unregistered one, and closed the selector");
    let mut tokens = Vec::new();
    for number in 0..5 {
        let (ours, theirs) = pair()?;
        tokens.push(selector.register(ours, Interest::READ, number)?);
        peers.push(theirs);
    }
    selector.unregister(tokens[2])?;
    let mut back: Vec<(PairStream, i32)> = selector.close();
    back.sort_by_key(|(_, number)| *number);
    let numbers: Vec<_> = back.iter().map(|(_, number)| *number).collect();
    case.expect("the data handed back", numbers, vec![0, 1, 3, 4])?;
    for (ours, number) in &mut back {
        ours.write_all(b"x")?;
        let index = usize::try_from(*number).unwrap_or(0);
        let mut byte = [0];
        peers[index].read_exact(&mut byte)?;
    }
    Ok(())
}

pub(super) fn reg_12_dropping_closes_everything<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    case.did("registered a socket and dropped the selector");
    selector.register(ours, Interest::READ, ())?;
    drop(selector);
    // A program that another thread has just started may have a copy for a moment.
    let mut witness = case.selector()?;
    witness.register(theirs.try_clone()?, Interest::READ, ())?;
    case.expect("the number of events at the peer", witness.select(case.long())?.len(), 1)?;
    let end = theirs.read(&mut [0]).map_err(|error| error.kind());
    case.expect("what the peer reads", end, Ok::<_, ErrorKind>(0))
}

const ROUNDS: usize = 200;

pub(super) fn reg_12_no_descriptor_is_leaked<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (ours, _theirs) = pair()?;
    let file = if_any(regular_file())?;
    case.did(format!("made, used, and dropped or closed {ROUNDS} selectors with a waker"));
    let before = open_descriptors();
    for round in 0..ROUNDS {
        let mut selector = case.selector()?;
        selector.register(borrow(&ours), Interest::WRITE, ())?;
        if let Some(file) = &file {
            let file = selector.register(borrow(file), Interest::READ, ())?;
            selector.select(NOW)?;
            selector.unregister(file)?;
        }
        let _waker = selector.waker();
        selector.select(NOW)?;
        if round % 2 == 0 {
            selector.close();
        }
    }
    let more = open_descriptors().saturating_sub(before);
    // Threads of other tests may open some meanwhile.
    case.expect_that(more < ROUNDS / 2, "about as many open descriptors as before", more)
}

pub(super) fn reg_13_descriptors_are_close_on_exec<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let mut leaked = Vec::new();
    case.did("made a selector with a waker, a regular file and a socket");
    // Threads of other tests may have such a descriptor for a moment: only what is there every
    // time counts.
    for _ in 0..5 {
        let before = inheritable_descriptors();
        let (ours, _theirs) = pair()?;
        let mut selector = case.selector()?;
        let _waker = selector.waker();
        selector.register(OwnedSource::from(ours), Interest::READ, ())?;
        if let Some(file) = if_any(regular_file())? {
            selector.register(duplicate(&file)?, Interest::READ, ())?;
        }
        let pipe = if_any(pipe())?;
        if let Some((reader, _)) = &pipe {
            selector.register(duplicate(reader)?, Interest::READ, ())?;
        }
        selector.select(NOW)?;
        if let Some(own) = selector.backend().descriptor() {
            case.expect("whether its descriptor is close-on-exec", is_close_on_exec(own)?, true)?;
        }
        let after = inheritable_descriptors();
        leaked = after.into_iter().filter(|fd| !before.contains(fd)).collect();
        if leaked.is_empty() {
            return Ok(());
        }
    }
    case.expect("the descriptors another program would inherit", leaked, Vec::new())
}
