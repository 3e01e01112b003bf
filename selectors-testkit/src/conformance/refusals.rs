//! REG-3, REG-6 to REG-8: refused registrations, and that they leave no trace.

use std::io::Write;

use selectors::backend::{AsSource, BorrowedSource};
use selectors::{Backend, Capabilities, Error, Events, Interest, Mode, Readiness, Token, Watch};

use super::rebuilding::leave_a_ghost;
use super::{BOTH, Case, NOW, Outcome, Stop, Subject};
use crate::fixtures::{
    HIGHEST, LooseDescriptor, NOT_OPEN, OwnedSource, PairStream, borrow, closed_number, drain,
    duplicate, if_any, impossible_numbers, number_of, open_numbers, pair, regular_file, send,
    with_raw,
};

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
    case.did("registered it for READ, and modified it to {bad:?}");
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

pub(super) fn reg_6_a_closed_descriptor_is_refused<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let bad = Some(NOT_OPEN);
    let Capabilities { deferred, max_descriptor, .. } = case.backend()?.capabilities();
    let limit = max_descriptor.unwrap_or(HIGHEST);
    // Not the highest number, for which a bit set would be too long.
    for number in [closed_number()?, HIGHEST].into_iter().filter(|&number| number <= limit) {
        case.did(format!("registered descriptor {number}, which is closed"));
        let mut backend = case.backend()?;
        let (token, watch) = (Token::from_bits(1), Watch::new(BOTH, Mode::Level));
        let refused = with_raw(number, |fd| backend.register(fd, token, watch));
        let errno = refused.map_err(|error| error.raw_os_error());
        case.expect("the result of the backend", errno, if deferred { Ok(()) } else { Err(bad) })?;
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

/// Checks a closed descriptor whose registration was deferred: every wait reports an ERROR, until
/// it is unregistered.
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

pub(super) fn reg_6_a_negative_descriptor_does_not_reach_the_backend<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let numbers = impossible_numbers();
    if numbers.is_empty() {
        return Err(case.cannot_run("every number can be that of a source"));
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

pub(super) fn reg_7_a_refusal_returns_file_object_and_data<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
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
    case.did("registered a closed descriptor with the backend for READ and WRITE");
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

pub(super) fn reg_7_a_refusal_undoes_no_other_change<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let [(stays, stays_peer), (changed, _peer), (gone, gone_peer)] = [pair()?, pair()?, pair()?];
    [&stays_peer, &gone_peer].into_iter().try_for_each(|peer| send(peer, b"x").map(drop))?;
    let number = closed_number()?;
    for first in [false, true] {
        let mut selector = case.selector()?;
        let changed = selector.register(borrow(&changed), Interest::READ, ())?;
        let gone = selector.register(borrow(&gone), Interest::READ, ())?;
        selector.select(NOW)?;
        case.did(format!(
            "registered, modified and unregistered sources, and registered a closed descriptor, \
             before the others: {first}"
        ));
        let mut refused = None;
        if first {
            refused = with_raw(number, |fd| selector.register(fd, BOTH, ())).ok();
        }
        let new = selector.register(borrow(&stays), Interest::READ, ())?;
        selector.modify(changed, Interest::WRITE)?;
        selector.unregister(gone)?;
        if !first {
            refused = with_raw(number, |fd| selector.register(fd, BOTH, ())).ok();
        }
        for _ in 0..2 {
            let mut expected = vec![new, changed];
            // Refused by the wait, if changes are deferred.
            expected.extend(refused);
            let events = selector.select(case.long())?;
            let cause = "several changes are passed to the kernel together, and a refused one \
                prevents or undoes the others";
            case.because(cause, case.expect_tokens(&events, &expected))?;
            refused.take().map_or(Ok(()), |token| selector.unregister(token).map(drop))?;
        }
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

pub(super) fn reg_8_what_it_opened_for_itself_stays_its_own<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let file = if_any(regular_file())?;
    let (ours, theirs) = pair()?;
    let before = open_numbers()?;
    let mut selector = case.selector()?;
    let waker = selector.waker().ok();
    let mut tokens = vec![selector.register(borrow(&ours), Interest::READ, ())?];
    // For this a backend may open a descriptor.
    if let Some(file) = &file {
        tokens.push(selector.register(borrow(file), Interest::READ, ())?);
    }
    selector.select(NOW)?;
    let mut own = open_numbers()?;
    own.retain(|number| !before.contains(number));
    case.did(format!("registered and unregistered the descriptors that it has opened: {own:?}"));
    for number in own {
        for interest in [Interest::READ, Interest::empty()] {
            // A number that is not refused, such as one of an emulated kernel, does no harm.
            let registered = with_raw(number, |fd| selector.register(fd, interest, ()));
            let Ok(token) = registered else { continue };
            let _ = selector.modify(token, BOTH);
            selector.unregister(token)?;
        }
    }
    case.did("waited for a socket, a file and a waker");
    send(&theirs, b"x")?;
    for _ in 0..2 {
        if let Some(waker) = &waker {
            waker.wake()?;
        }
        let events = selector.select(case.long())?;
        let why = "`owns` does not recognise every descriptor of the backend";
        case.because(why, case.expect_tokens(&events, &tokens))?;
        case.expect_or(why, events.woken() == waker.is_some(), "a wake", events.woken())?;
    }
    Ok(())
}

/// Uses the lowest numbers that are free: among them those that a backend has closed.
fn use_free_numbers<'a, B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Subject<BorrowedSource<'a>, (), B>,
    (free, theirs): (&'a [OwnedSource], &PairStream),
) -> Outcome {
    let owned =
        "`owns` still returns true for descriptors that are closed, or that are the parent's";
    let register = |fd| selector.register(borrow(fd), Interest::READ, ()).map_err(Stop::from);
    let tokens = free.iter().map(register).collect::<Result<Vec<_>, _>>();
    let tokens = case.because(owned, tokens)?;
    send(theirs, b"x")?;
    case.because(owned, case.expect_tokens(&selector.select(case.long())?, &tokens))?;
    tokens.into_iter().try_for_each(|token| selector.unregister(token).map(drop))?;
    Ok(())
}

pub(super) fn reg_8_closed_descriptors_are_not_its_own<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let (ends, (ours, theirs)) = (pair()?, pair()?);
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    let waker = selector.waker().ok();
    case.did("left a ghost behind, waited, and registered the lowest descriptors that were free");
    leave_a_ghost(&mut selector, &ends)?;
    selector.select(NOW)?;
    // Each number is used once.
    let free: Vec<_> = (0..30).map(|_| duplicate(&ours)).collect::<Result<_, _>>()?;
    use_free_numbers(case, &mut selector, (&free, &theirs))?;
    drain(&ours)?;
    if cfg!(windows) {
        return Ok(());
    }
    case.did("in a forked child: called after_fork, and registered such descriptors");
    let mut copy = Some((selector, waker));
    case.in_forked_child(|| {
        let Some((mut selector, _waker)) = copy.take() else { return Ok(()) };
        match selector.after_fork() {
            Err(Error::Unsupported { .. }) => return Ok(()),
            answer => answer?,
        }
        let free: Vec<_> = (0..30).map(|_| duplicate(&ours)).collect::<Result<_, _>>()?;
        use_free_numbers(case, &mut selector, (&free, &theirs))
    })
}
