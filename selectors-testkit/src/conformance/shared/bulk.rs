//! SHARED-6: many sources, many changes, and changes without free descriptors.

use std::sync::Arc;

use selectors::{Backend, Error, Interest, Mode, Readiness, Source};

use super::{ready, selector};
use crate::conformance::streams::at_most;
use crate::conformance::{Case, NOW, Outcome, emulation};
use crate::fixtures::{duplicate, limit_descriptors, open_descriptors, out_of_band, tcp_pair};

/// More often than a byte can count, even with a few slots in turn, and than fit into a table of a
/// common size.
const OFTEN: usize = 2_203;

/// More than a batch, than a byte can count, and than fit into the first chunk of slots.
const MANY: usize = 300;

pub(super) fn shared_6_one_select_reports_all<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let many = at_most(MANY, 4)?;
    let Some(mut selector) = selector::<B, ()>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let mut sources = Vec::new();
    case.did(format!("registered {many} ready sources, every third one-shot, and waited"));
    for number in 0..many {
        let mode = if number % 3 == 0 { Mode::OneShot } else { Mode::Level };
        sources.push(registrar.register_with(duplicate(&ours)?, Interest::READ, (), mode)?);
    }
    let all: Vec<_> = sources.iter().map(Source::token).collect();
    case.expect_tokens(&selector.select(case.long())?, &all)?;
    let lasting = all.iter().enumerate().filter(|(number, _)| number % 3 != 0);
    let lasting: Vec<_> = lasting.map(|(_, token)| *token).collect();
    case.expect_tokens(&selector.select(case.long())?, &lasting)
}

pub(super) fn shared_6_every_change_counts<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, usize>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let ours = Arc::new(ours);
    case.did(format!("registered and unregistered a source {OFTEN} times"));
    for number in 0..OFTEN {
        // Slots become free in a wait, and there are a few of them.
        let source = registrar.register(Arc::clone(&ours), Interest::READ, number)?;
        case.only(&selector.select(case.long())?, source.token())?;
        case.expect("its data", selector.get(source.token()).copied(), Some(number))?;
        drop(source);
        selector.select(NOW)?;
    }
    let (idle, _peer) = super::idle()?;
    let source = registrar.register(idle, Interest::WRITE, 0)?;
    case.did(format!("modified an idle source {OFTEN} times"));
    for number in 0..OFTEN {
        // If every nth change is lost, one of those to WRITE is lost.
        let writes = number % 2 == 1;
        source.modify(if writes { Interest::WRITE } else { Interest::READ })?;
        let expected = if writes { &[source.token()][..] } else { &[] };
        case.expect_tokens(&selector.select(NOW)?, expected)?;
    }
    Ok(())
}

pub(super) fn shared_6_changes_leak_nothing<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let Some(mut selector) = selector::<B, ()>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let ours = Arc::new(ours);
    case.did(format!("registered, modified, rearmed and unregistered a source {MANY} times"));
    let before = open_descriptors();
    for _ in 0..MANY {
        let mode = Mode::OneShot;
        let source = registrar.register_with(Arc::clone(&ours), Interest::READ, (), mode)?;
        case.only(&selector.select(case.long())?, source.token())?;
        source.rearm()?;
        source.modify(Interest::WRITE)?;
        // Refused, if the backend can refuse it.
        let _ = source.modify_with(Interest::PRIORITY, Mode::Exclusive);
    }
    case.expect_descriptors(before, MANY)
}

/// Makes changes when no descriptor can be opened any more.
fn change_without<B: Backend + Send + 'static>(case: &Case<'_, B>) -> Outcome {
    let Some(mut selector) = selector::<B, ()>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let ((ours, _theirs), (other, _other_peer)) = (ready()?, ready()?);
    let source = registrar.register_with(ours, Interest::READ, (), Mode::OneShot)?;
    let other = registrar.register(other, Interest::READ, ())?;
    case.expect_tokens(&selector.select(case.long())?, &[source.token(), other.token()])?;
    limit_descriptors(0)?;
    for _ in 0..3 {
        source.rearm()?;
        case.expect_tokens(&selector.select(case.long())?, &[source.token(), other.token()])?;
    }
    source.modify_with(Interest::WRITE, Mode::Level)?;
    drop(other);
    case.only(&selector.select(case.long())?, source.token()).map(drop)
}

pub(super) fn shared_6_changes_need_no_descriptor<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.backend()?;
    if emulation::is_any() {
        return Err(case.cannot_run("an emulation of a kernel is subject to the limit itself"));
    }
    case.did("in a forked child: lowered the limit on descriptors to none, and made changes");
    case.because(
        "a change opens a descriptor for itself",
        case.alone_in_forked_child(|| change_without(case)),
    )
}

pub(super) fn shared_6_priority_and_exclusive_wake_up<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, ()>(case)? else { return Ok(()) };
    let (registrar, capabilities) = (selector.registrar(), selector.capabilities());
    let (urgent, urgent_peer) = tcp_pair()?;
    let source = registrar.register(urgent, Interest::READ, ())?;
    case.did("modified a source to PRIORITY, and sent it a byte out of band");
    let answer = source.modify(Interest::PRIORITY);
    if case.declared_or_refused(capabilities.priority, answer)?.is_some() {
        out_of_band(&urgent_peer)?;
        let event = case.only(&selector.select(case.long())?, source.token())?;
        case.expect("its readiness", event.readiness(), Readiness::PRIORITY)?;
        case.did("modified it to READ");
        source.modify(Interest::READ)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        source.modify(Interest::READ | Interest::PRIORITY)?;
        case.only(&selector.select(case.long())?, source.token())?;
        case.did("registered it for PRIORITY");
        let source = registrar.register(source.into_inner(), Interest::PRIORITY, ())?;
        case.only(&selector.select(case.long())?, source.token())?;
        drop(source);
    }
    case.did("registered a ready source with exclusive wake-up");
    let (ours, _theirs) = ready()?;
    let answer = registrar.register_with(ours, Interest::READ, (), Mode::Exclusive);
    let answer = answer.map_err(Error::from);
    let Some(source) = case.declared_or_refused(capabilities.exclusive, answer)? else {
        return Ok(());
    };
    for mode in [Mode::Exclusive, Mode::Level, Mode::Exclusive] {
        source.modify_with(Interest::READ, mode)?;
        for _ in 0..2 {
            case.only(&selector.select(case.long())?, source.token())?;
        }
    }
    case.did("made a change of an exclusive source that is refused");
    let refused = source.modify(Interest::PRIORITY).is_err();
    case.expect("whether it was refused", refused, true)?;
    case.only(&selector.select(case.long())?, source.token()).map(drop)
}
