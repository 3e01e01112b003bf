//! READY-1: readiness is as of this wait, not as of an earlier wait or of the moment an event was queued.

use selectors::{Backend, Interest, Mode, Readiness};

use super::streams::{PATIENTLY, all_pairs, byte_pairs};
use super::{Case, NOW, Outcome};
use crate::fixtures::{drain, fill, is_ready, pair, send};

const STALE: &str = "readiness is collected when it arises, and reported by a later wait without \
                     asking whether it is still true";

/// The modes that a backend supports.
pub(super) fn modes<B: Backend>(case: &Case<'_, B>) -> Result<Vec<Mode>, super::Stop> {
    let capabilities = case.backend()?.capabilities();
    let mut modes = vec![Mode::Level, Mode::OneShot];
    if capabilities.edge {
        modes.push(Mode::Edge);
    }
    if capabilities.exclusive {
        modes.push(Mode::Exclusive);
    }
    Ok(modes)
}

pub(super) fn ready_1_readiness_that_ended_between_two_waits<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for mode in modes(case)? {
        for (name, ours, theirs) in all_pairs()? {
            let mut selector = case.selector()?;
            case.did(format!("registered an idle {name} for READ, {mode:?}, and waited"));
            let token = selector.register_with(&ours, Interest::READ, (), mode)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
            case.did("made it readable, registered another, drained it, and waited again");
            send(&theirs, b"x")?;
            is_ready(&ours, Interest::READ, PATIENTLY)?;
            let other = selector.register(&theirs, Interest::READ, ())?;
            drain(&ours)?;
            selector.unregister(other)?;
            case.because(STALE, case.expect_tokens(&selector.select(NOW)?, &[]))?;
            case.did("made it readable once more");
            send(&theirs, b"x")?;
            case.only(&selector.select(case.long())?, token)?;
        }
        for (name, theirs, ours) in byte_pairs()?.into_iter().filter(|(name, ..)| *name != "TCP") {
            let mut selector = case.selector()?;
            case.did(format!("registered a full {name} for WRITE, {mode:?}, and waited"));
            fill(&ours)?;
            let token = selector.register_with(&ours, Interest::WRITE, (), mode)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
            case.did("drained it, filled it again, and waited");
            drain(&theirs)?;
            fill(&ours)?;
            case.because(STALE, case.expect_tokens(&selector.select(NOW)?, &[]))?;
            case.did("drained it");
            drain(&theirs)?;
            case.only(&selector.select(case.long())?, token)?;
        }
    }
    Ok(())
}

pub(super) fn ready_1_drained_sources_among_many<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    // More than a batch of 64, and no multiple of it.
    const MANY: usize = 70;
    for mode in [Mode::Level, Mode::OneShot] {
        let pairs: Vec<_> = (0..MANY).map(|_| pair()).collect::<Result<_, _>>()?;
        let mut selector = case.selector()?;
        case.did(format!("registered {MANY} sockets for READ, {mode:?}, and waited"));
        let mut tokens = Vec::new();
        for (ours, _) in &pairs {
            tokens.push(selector.register_with(ours, Interest::READ, (), mode)?);
        }
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("made all of them readable, and drained every second one");
        pairs.iter().try_for_each(|(_, theirs)| send(theirs, b"x").map(drop))?;
        pairs.iter().step_by(2).try_for_each(|(ours, _)| drain(ours).map(drop))?;
        let full: Vec<_> = tokens.iter().skip(1).step_by(2).copied().collect();
        case.because(STALE, case.expect_tokens(&selector.select(case.long())?, &full))?;
        case.did("drained the others");
        pairs.iter().try_for_each(|(ours, _)| drain(ours).map(drop))?;
        case.because(STALE, case.expect_tokens(&selector.select(NOW)?, &[]))?;
        case.did("made all of them readable again");
        pairs.iter().try_for_each(|(_, theirs)| send(theirs, b"x").map(drop))?;
        if mode == Mode::OneShot {
            tokens.retain(|token| !full.contains(token));
        }
        case.expect_tokens(&selector.select(case.long())?, &tokens)?;
    }
    Ok(())
}

pub(super) fn mode_2_arming_with_a_new_interest<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let mut selector = case.selector()?;
    case.did("registered a readable and writable socket for READ, one-shot");
    let both = Interest::READ | Interest::WRITE;
    let token = selector.register_with(&ours, Interest::READ, (), Mode::OneShot)?;
    for interest in [Interest::WRITE, Interest::READ, both, Interest::WRITE, both, Interest::READ] {
        selector.select(case.long())?;
        case.did(format!("it has fired: modified it to {interest:?}"));
        selector.modify(token, interest)?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::from(interest))?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        selector.modify(token, interest)?;
    }
    Ok(())
}

pub(super) fn reg_5_a_duplicate_changes_without_its_twin<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, theirs) = pair()?;
    let (first, second) = (ours.try_clone()?, ours.try_clone()?);
    send(&theirs, b"x")?;
    let mut selector = case.selector()?;
    case.did("registered two duplicates of a readable socket for READ, and modified one to WRITE");
    let first = selector.register(first, Interest::READ, ())?;
    let second = selector.register(second, Interest::READ, ())?;
    selector.modify(first, Interest::WRITE)?;
    for _ in 0..2 {
        let events = selector.select(case.long())?;
        case.expect_tokens(&events, &[first, second])?;
        for event in &events {
            let expected = if event.token() == first { Readiness::WRITE } else { Readiness::READ };
            case.expect("the readiness of each", event.readiness(), expected)?;
        }
    }
    case.did("modified it to READ, one-shot, and waited until it had fired");
    selector.modify_with(first, Interest::READ, Mode::OneShot)?;
    case.expect_tokens(&selector.select(case.long())?, &[first, second])?;
    case.only(&selector.select(case.long())?, second)?;
    case.did("unregistered it");
    selector.unregister(first)?;
    case.only(&selector.select(case.long())?, second).map(drop)
}
