//! SHARED-6: the behaviour of a selector of one thread, and handles that outlive their selector.

use std::panic::{AssertUnwindSafe, catch_unwind};

use selectors::{Backend, Error, Event, Interest, Mode, SharedSelector};

use super::{during_a_wait, idle, ready, selector};
use crate::conformance::{Case, NOW, Outcome};
use crate::fixtures::{LooseDescriptor, drain, if_any, in_forked_child, number_of, regular_file};

pub(super) fn shared_6_files_and_edges_work<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    if let Some(file) = if_any(regular_file())? {
        case.did("registered a regular file while waiting");
        let (source, events) = during_a_wait(case, &mut selector, || {
            Ok(registrar.register(file, Interest::READ, 1)?)
        })?;
        case.only(&events, source.token())?;
        drop(source);
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    case.did("registered an edge-triggered source, and rearmed it");
    let (ours, _theirs) = ready()?;
    let edge = registrar.register_with(ours, Interest::READ, 2, Mode::Edge);
    let edge = edge.map_err(|refused| refused.error);
    let declared = selector.capabilities().edge;
    let Some(edge) = case.declared_or_refused(declared, edge)? else { return Ok(()) };
    for _ in 0..3 {
        case.only(&selector.select(case.long())?, edge.token())?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        edge.rearm()?;
    }
    Ok(())
}

pub(super) fn shared_6_a_panic_leaves_the_selector_usable<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let (ours, _theirs) = ready()?;
    let source = selector.registrar().register(ours, Interest::READ, 1)?;
    case.did("panicked while handling an event");
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _events = selector.select(case.long());
        // No message, because the panic is intended.
        std::panic::resume_unwind(Box::new("handled"));
    }));
    case.expect("whether it panicked", panic.is_err(), true)?;
    case.only(&selector.select(case.long())?, source.token()).map(drop)
}

pub(super) fn shared_6_handles_outlive_the_selector<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let source = registrar.register(ours, Interest::READ, 1)?;
    case.did("dropped the selector, and used its handles");
    drop(selector);
    let modified = source.modify(Interest::WRITE);
    case.expect_that(matches!(modified, Err(Error::Closed)), "Error::Closed", &modified)?;
    case.expect("the number of bytes in the returned file", drain(source.into_inner())?, 1)?;
    let (other, _peer) = idle()?;
    let refused = registrar.register(other, Interest::READ, 2).err();
    let refused = refused.map(|refused| refused.error);
    case.expect_that(matches!(refused, Some(Error::Closed)), "Error::Closed", &refused)
}

pub(super) fn shared_6_a_forked_child_changes_nothing<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let Some(selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let source = registrar.register(ours, Interest::READ, 1)?;
    let (other, _peer) = idle()?;
    let mut slots = Some((selector, source, other));
    case.did("forked a child that used, and then dropped, its copies of the selector and a handle");
    let fine = in_forked_child(|| {
        let Some((mut selector, source, other)) = slots.take() else { return };
        let forked = |result: Result<(), Error>| matches!(result, Err(Error::Forked));
        assert!(forked(source.modify(Interest::WRITE)), "modify");
        assert!(forked(source.park()), "park");
        assert!(forked(selector.waker().wake()), "wake");
        assert!(forked(selector.select(NOW).map(drop)), "select");
        let refused = registrar.register(other, Interest::READ, 2);
        assert!(forked(refused.map(drop).map_err(|refused| refused.error)), "register");
        drop(source);
        drop(selector);
    })?;
    case.expect("whether every call was refused in the child", fine, true)?;
    let Some((mut selector, source, _other)) = slots else { return Ok(()) };
    let events = selector.select(case.long())?;
    case.expect("whether the parent was woken", events.woken(), false)?;
    case.only(&events, source.token())?;
    source.park()?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn shared_6_after_fork_works<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let source = registrar.register_with(ours, Interest::READ, 1, Mode::OneShot)?;
    let (other, _peer) = ready()?;
    let mut parked = Some(registrar.register(other, Interest::empty(), 2)?);
    let patience = case.long();
    case.did("forked a child that called after_fork and used its copy of the selector");
    let fine = in_forked_child(|| {
        let done = selector.after_fork();
        if matches!(done, Err(Error::Unsupported { .. })) {
            return;
        }
        done.expect("after_fork");
        let one = |selector: &mut SharedSelector<u32>, token| {
            let events = selector.select(patience).expect("select");
            assert!(events.len() == 1 && events.iter().all(|event| event.token() == token));
        };
        one(&mut selector, source.token());
        assert!(selector.select(NOW).expect("select").is_empty(), "one-shot");
        // Dropped at the end, only in the child.
        let parked = parked.take().expect("it is here");
        parked.modify(Interest::READ).expect("modify");
        one(&mut selector, parked.token());
        selector.waker().wake().expect("wake");
        assert!(selector.select(patience).expect("select").woken(), "woken");
        drop(parked);
        source.rearm().expect("rearm");
        one(&mut selector, source.token());
    })?;
    case.expect("whether it worked there", fine, true)?;
    case.only(&selector.select(case.long())?, source.token())?;
    case.expect("the number of sources in the parent", selector.len(), 2)
}

pub(super) fn shared_6_a_forked_child_forgets_what_it_drops<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let source = registrar.register(ours, Interest::READ, 1)?;
    let (other, _peer) = ready()?;
    let number = number_of(&other);
    let mut dropped = Some(registrar.register(other, Interest::READ, 2)?);
    let (stranger, _its_peer) = ready()?;
    let patience = case.long();
    case.did("forked a child that dropped a source, reused its number, and called after_fork");
    let fine = in_forked_child(|| {
        let old = dropped.take().map(|source| source.token()).expect("it is here");
        assert_eq!(selector.len(), 1, "the number of sources");
        let stranger = LooseDescriptor::at(number, &stranger).expect("dup2");
        let done = selector.after_fork();
        if matches!(done, Err(Error::Unsupported { .. })) {
            return;
        }
        done.expect("after_fork");
        let tokens = |selector: &mut SharedSelector<u32>| {
            let events = selector.select(patience).expect("select");
            events.iter().map(Event::token).collect::<Vec<_>>()
        };
        assert_eq!(tokens(&mut selector), [source.token()], "the other file is not a source");
        assert!(selector.get(old).is_none(), "its data");
        let new = registrar.register(stranger.borrow(), Interest::READ, 3).expect("register");
        source.park().expect("park");
        assert_eq!(tokens(&mut selector), [new.token()]);
        assert_eq!(selector.get(new.token()), Some(&3));
        assert_eq!(selector.len(), 2, "the number of sources afterwards");
    })?;
    case.expect("whether it worked there", fine, true)?;
    let Some(dropped) = dropped else { return Ok(()) };
    case.expect_tokens(&selector.select(case.long())?, &[source.token(), dropped.token()])?;
    case.expect("the number of sources in the parent", selector.len(), 2)
}
