//! REG-2, MOD-3, MODE-6: parked sources, and rearmed ones.

use std::time::Duration;

use selectors::backend::BorrowedSource;
use selectors::{Backend, Error, Interest, Mode, Readiness, Token};

use super::stale_readiness::modes;
use super::streams::{DATAGRAMS, all_pairs, at_most};
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{
    borrow, closed_number, drain, if_any, pair, path_only, regular_file, send, with_raw,
};

/// Long enough to notice a spin.
const SHORT: Duration = Duration::from_millis(5);

pub(super) fn reg_2_the_kernel_does_not_watch_parked_sources<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let file = if_any(regular_file())?;
    for mode in modes(case)? {
        let pairs = all_pairs()?;
        let mut selector = case.counting()?;
        case.did(format!("parked sources of every kind, {mode:?}, half of them at registration"));
        let mut tokens = Vec::new();
        let sources = pairs.iter().map(|(_, ours, _)| borrow(ours));
        for (at, source) in sources.chain(file.iter().map(borrow)).enumerate() {
            let at_once = at % 2 == 0;
            let first = if at_once { Interest::empty() } else { BOTH };
            let token = selector.register_with(source, first, (), mode)?;
            if !at_once {
                selector.select(NOW)?;
                selector.modify(token, Interest::empty())?;
            }
            tokens.push(token);
        }
        case.did("made them ready, and waited for 5 ms");
        pairs.iter().try_for_each(|(_, _, theirs)| send(theirs, b"x").map(drop))?;
        let before = selector.backend().calls();
        case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
        let waits = selector.backend().calls().wait - before.wait;
        case.expect_that(waits <= 10, "at most 10 calls of the backend's wait", waits)?;
        case.did("modified each of them to READ");
        for &token in &tokens {
            selector.modify(token, Interest::READ)?;
        }
        case.expect_tokens(&selector.select(case.long())?, &tokens)?;
        for &token in &tokens {
            selector.modify(token, Interest::empty())?;
            let key = selector.get(token).map(|key| (key.events, key.mode));
            case.expect("its key", key, Some((Interest::empty(), mode)))?;
        }
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        let calls = selector.backend().calls();
        let in_and_out = (calls.register, calls.unregister);
        case.did("unregistered them");
        for token in tokens {
            selector.unregister(token)?;
        }
        let calls = selector.backend().calls();
        case.expect("the calls of the backend", (calls.register, calls.unregister), in_and_out)?;
    }
    Ok(())
}

pub(super) fn reg_2_a_parked_source_reports_no_hang_up<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for mode in modes(case)? {
        for (name, ours, theirs) in all_pairs()? {
            let mut selector = case.selector()?;
            case.did(format!("registered a {name}, {mode:?}, parked it, and closed its other end"));
            let token = selector.register_with(&ours, Interest::READ, (), mode)?;
            selector.select(NOW)?;
            selector.modify(token, Interest::empty())?;
            drop(theirs);
            case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
            if DATAGRAMS.contains(&name) {
                continue;
            }
            case.did("modified it to READ");
            selector.modify(token, Interest::READ)?;
            case.only(&selector.select(case.long())?, token)?;
        }
    }
    Ok(())
}

pub(super) fn reg_2_parked_sources_are_checked_too<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    case.did("registered the same descriptor twice with an empty interest");
    let token = selector.register(borrow(&ours), Interest::empty(), ())?;
    let again = selector.register(borrow(&ours), Interest::empty(), ()).map_err(Error::from);
    case.expect_that(
        matches!(again, Err(Error::AlreadyRegistered { .. })),
        "Error::AlreadyRegistered",
        &again,
    )?;
    selector.unregister(token)?;
    let own = selector.backend().descriptor().map(|own| crate::fixtures::number_of(&own));
    for mode in modes(case)? {
        let parked = Interest::empty();
        if !selector.capabilities().deferred {
            case.did(format!("registered a closed descriptor with an empty interest, {mode:?}"));
            let number = closed_number()?;
            let answer =
                with_raw(number, |fd| selector.register_with(fd, parked, (), mode).is_ok());
            case.expect("whether it was accepted", answer, false)?;
        }
        if let Some(own) = own {
            case.did(format!("registered the selector's own descriptor likewise, {mode:?}"));
            let answer = with_raw(own, |fd| selector.register_with(fd, parked, (), mode).is_ok());
            case.expect("whether it was accepted", answer, false)?;
        }
    }
    case.expect("the number of sources", selector.len(), 0)
}

pub(super) fn reg_6_an_o_path_descriptor_is_refused<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let named = path_only()?;
    let mut selector = case.selector()?;
    for interest in [BOTH, Interest::READ] {
        case.did(format!("registered a descriptor that was opened with O_PATH for {interest:?}"));
        let answer = selector.register(&named, interest, ()).map_err(|refused| refused.error);
        if selector.capabilities().deferred {
            let token = answer?;
            let event = case.only(&selector.select(case.long())?, token)?;
            let error = event.readiness().contains(Readiness::ERROR);
            case.expect_that(error, "an ERROR", event)?;
            selector.unregister(token)?;
            continue;
        }
        let errno = answer.map_err(|error| std::io::Error::from(error).raw_os_error());
        case.expect_or(
            "poll(2) reports POLLNVAL for such a descriptor in every wait, and other facilities \
             treat it as an always-ready file",
            errno == Err(Some(crate::fixtures::NOT_OPEN)),
            "EBADF",
            errno,
        )?;
    }
    Ok(())
}

pub(super) fn mod_3_rearming_reports_an_edge_again<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    let mut selector = case.counting()?;
    case.did("registered a readable socket, level-triggered, and rearmed it");
    send(&theirs, b"x")?;
    let token = selector.register(&ours, Interest::READ, ())?;
    case.only(&selector.select(case.long())?, token)?;
    let before = selector.backend().calls();
    selector.rearm(token)?;
    case.expect("the backend's calls", selector.backend().calls(), before)?;
    case.only(&selector.select(case.long())?, token)?;
    if selector.capabilities().edge {
        selector.modify_with(token, Interest::READ, Mode::Edge)?;
        for _ in 0..3 {
            case.only(&selector.select(case.long())?, token)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
            case.did("rearmed an edge-triggered source that was not drained");
            selector.rearm(token)?;
        }
        case.only(&selector.select(case.long())?, token)?;
        case.did("drained it, and rearmed it");
        drain(&ours)?;
        selector.rearm(token)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    case.did("parked it, and rearmed it");
    send(&theirs, b"x")?;
    selector.modify(token, Interest::empty())?;
    selector.rearm(token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    selector.unregister(token)?;
    for token in [token, Token::from_bits(4321)] {
        case.did("rearmed a source that is not registered");
        let refused = selector.rearm(token);
        case.expect_that(
            matches!(refused, Err(Error::NotRegistered { .. })),
            "Error::NotRegistered",
            &refused,
        )?;
    }
    Ok(())
}

pub(super) fn mode_6_both_directions_of_a_one_shot_wait_for_arming<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, theirs) = pair()?;
    let mut selector = case.selector()?;
    case.did("let a writable one-shot source for READ and WRITE fire, and made it readable");
    let token = selector.register_with(&ours, BOTH, (), Mode::OneShot)?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("what it is", event.readiness(), Readiness::WRITE)?;
    let half = "each direction is disarmed separately when it is reported: disarm both";
    for _ in 0..3 {
        send(&theirs, b"x")?;
        for _ in 0..2 {
            case.because(half, case.expect_tokens(&selector.select(NOW)?, &[]))?;
        }
        case.did("rearmed it");
        selector.rearm(token)?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("what it is", event.readiness(), Readiness::from(BOTH))?;
    }
    case.did("drained it, rearmed it, and rearmed it again before it fired");
    drain(&ours)?;
    selector.rearm(token)?;
    selector.rearm(token)?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("what it is", event.readiness(), Readiness::WRITE)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn wait_7_one_select_reports_all<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    for mode in modes(case)? {
        for many in [63, 64, 65, 128, 500] {
            let many = at_most(many, 4)?;
            let mut selector = case.selector()?;
            case.did(format!(
                "registered {many} sources that are ready, {mode:?}, and waited once"
            ));
            let mut tokens = Vec::new();
            for _ in 0..many {
                tokens.push(selector.register_with(ours.try_clone()?, Interest::READ, (), mode)?);
            }
            let cut = "the kernel has filled the buffer: fetch the rest at once";
            case.because(cut, case.expect_tokens(&selector.select(case.long())?, &tokens))?;
            case.did("waited again");
            let lasting = matches!(mode, Mode::Level | Mode::Exclusive);
            let expected = if lasting { &tokens[..] } else { &[] };
            case.expect_tokens(&selector.select(NOW)?, expected)?;
        }
    }
    Ok(())
}
