//! CLOSE-3, REG-9, READY-3, MODE-2: mistakes that only a combination of two features reveals.

use selectors::backend::BorrowedSource;
use selectors::{Backend, Interest, Mode, Readiness};

use super::stale_readiness::modes;
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{
    LooseDescriptor, OwnedSource, borrow, drain, out_of_band, pair, send, tcp_pair,
};

/// Watches descriptor 0, in each of two modes, while another source is registered and unregistered.
fn serve_zero<B: Backend>(case: &Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    let (other, _other_peer) = pair()?;
    let zero = LooseDescriptor::at(0, &ours)?;
    for mode in [Mode::Level, Mode::OneShot] {
        let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
        let first = selector.register(borrow(&other), Interest::READ, ())?;
        let token = selector.register_with(zero.borrow(), Interest::READ, (), mode)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        send(&theirs, b"x")?;
        case.only(&selector.select(case.long())?, token)?;
        selector.unregister(first)?;
        selector.modify(token, BOTH)?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::from(BOTH))?;
        drain(&ours)?;
        selector.modify(token, Interest::READ)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        selector.unregister(token)?;
    }
    Ok(())
}

pub(super) fn reg_9_descriptor_zero_stays_registered<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.did("in a forked child: registered descriptor 0, and unregistered another source");
    case.because(
        "a number is negated to disarm a source, or tested for being positive: 0 is a descriptor",
        case.alone_in_forked_child(|| serve_zero(case)),
    )
}

pub(super) fn ready_3_urgent_and_ordinary_data_are_one_event<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let urgent = Interest::PRIORITY;
    for interest in [Interest::READ | urgent, Interest::WRITE | urgent, BOTH | urgent] {
        let (ours, theirs) = tcp_pair()?;
        let mut selector = case.selector()?;
        case.did(format!("registered a TCP socket for {interest:?}"));
        let answer = selector.register(&ours, interest, ()).map_err(Into::into);
        let declared = selector.capabilities().priority;
        let Some(token) = case.declared_or_refused(declared, answer)? else { return Ok(()) };
        case.did("sent it a byte, and one out of band");
        send(&theirs, b"x")?;
        out_of_band(&theirs)?;
        case.expect_in_steps("its readiness", &mut selector, token, interest.into())?;
    }
    Ok(())
}

pub(super) fn mode_2_a_fired_one_shot_that_is_closed_stays_silent<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, theirs) = pair()?;
    let (other, _other_peer) = pair()?;
    let fired = LooseDescriptor::duplicate(OwnedSource::from(ours))?;
    let level = LooseDescriptor::duplicate(OwnedSource::from(other))?;
    let mut selector = case.selector()?;
    case.did("let a one-shot source fire, and closed it and another source");
    let silent = selector.register_with(fired.borrow(), Interest::READ, (), Mode::OneShot)?;
    let gone = selector.register(level.borrow(), Interest::READ, ())?;
    send(&theirs, b"x")?;
    case.only(&selector.select(case.long())?, silent)?;
    fired.close()?;
    level.close()?;
    for _ in 0..3 {
        let events = selector.select(NOW)?;
        let wrong = events.iter().find(|event| event.token() != gone);
        case.expect_that(wrong.is_none(), "no event of the fired source", wrong)?;
    }
    Ok(())
}

pub(super) fn close_3_a_reused_number_has_not_fired<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let ends = [pair()?, pair()?];
    ends.iter().try_for_each(|(_, theirs)| send(theirs, b"x").map(drop))?;
    let modes = modes(case)?;
    for mode in modes.iter().filter(|mode| **mode != Mode::Level) {
        let loose = LooseDescriptor::duplicate(&ends[0].0)?;
        let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
        let old = selector.register_with(loose.borrow(), Interest::READ, (), *mode)?;
        case.only(&selector.select(case.long())?, old)?;
        case.did(format!("closed a source, {mode:?}, that was reported, and unregistered it"));
        loose.close()?;
        selector.unregister(old)?;
        case.did("registered another one with its number in the same way");
        loose.replace(&ends[1].0)?;
        let new = selector.register_with(loose.borrow(), Interest::READ, (), *mode)?;
        let kept = "fired sources are recorded by descriptor, and closed ones are not removed";
        case.because(kept, case.only(&selector.select(NOW)?, new))?;
        selector.rearm(new)?;
        case.because(kept, case.only(&selector.select(NOW)?, new))?;
    }
    Ok(())
}
