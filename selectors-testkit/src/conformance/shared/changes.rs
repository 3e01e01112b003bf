//! SHARED-1, SHARED-5: a change is effective in the current wait, and does not end it.

use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use selectors::{Backend, Error, Interest, Mode};

use super::{during_a_wait, idle, ready, selector};
use crate::conformance::{Case, NOW, Outcome, Stop};
use crate::fixtures::{closed_number, drain, with_raw};

pub(super) fn shared_1_registering_is_effective_in_the_wait<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    case.did("registered a ready source from another thread while waiting, a hundred times");
    for number in 0..100 {
        let registrar = selector.registrar();
        let (ours, theirs) = ready()?;
        let (source, events) = during_a_wait(case, &mut selector, move || {
            Ok(registrar.register(ours, Interest::READ, number)?)
        })?;
        case.only(&events, source.token())?;
        case.expect("the data", selector.get(source.token()).copied(), Some(number))?;
        drop((source, theirs));
    }
    Ok(())
}

pub(super) fn shared_1_modifying_is_effective_in_the_wait<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let (ours, _theirs) = idle()?;
    let source = selector.registrar().register(ours, Interest::READ, 1)?;
    case.did("modified an idle source to WRITE from another thread while waiting, and back");
    for _ in 0..100 {
        let change = || Ok(source.modify(Interest::READ | Interest::WRITE)?);
        let ((), events) = during_a_wait(case, &mut selector, change)?;
        let event = case.only(&events, source.token())?;
        case.expect("whether it is WRITE", event.is_writable(), true)?;
        source.modify(Interest::READ)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    Ok(())
}

pub(super) fn shared_1_a_token_modifies_only_its_own_source<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    case.did("modified a parked one-shot source by its token, from another thread while waiting");
    let (ours, _theirs) = ready()?;
    let ours = Arc::new(ours);
    let parked = Interest::empty();
    let source = registrar.register_with(Arc::clone(&ours), parked, 1, Mode::OneShot)?;
    let old = source.token();
    for _ in 0..20 {
        let change = || Ok(registrar.modify(old, Interest::READ)?);
        let ((), events) = during_a_wait(case, &mut selector, change)?;
        case.only(&events, old)?;
    }
    case.did("unregistered it, registered another, and used the old token");
    drop(source);
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    let source = registrar.register(ours, parked, 2)?;
    let refused = registrar.modify(old, Interest::READ);
    let is_right = matches!(refused, Err(Error::NotRegistered { .. }));
    case.expect_that(is_right, "Error::NotRegistered", &refused)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    registrar.modify_with(source.token(), Interest::READ, Mode::Level)?;
    case.only(&selector.select(case.long())?, source.token()).map(drop)
}

pub(super) fn shared_1_parking_and_unregistering_are_effective_in_the_wait<
    B: Backend + Send + 'static,
>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (parked, mut first) = idle()?;
    let parked = registrar.register(parked, Interest::READ, 1)?;
    let (gone, mut second) = idle()?;
    let gone = registrar.register(gone, Interest::READ, 2)?;
    case.did("parked one source and unregistered another while waiting, and then made both ready");
    let waker = selector.waker();
    let (gone, events) = during_a_wait(case, &mut selector, || {
        parked.park()?;
        let gone = gone.into_inner();
        first.write_all(b"x")?;
        second.write_all(b"x")?;
        waker.wake()?;
        Ok(gone)
    })?;
    case.expect_tokens(&events, &[])?;
    case.expect("whether it was woken", events.woken(), true)?;
    case.expect("the number of bytes in the returned file", drain(&gone)?, 1)?;
    case.did("modified the parked one to READ while waiting");
    let ((), events) = during_a_wait(case, &mut selector, || Ok(parked.modify(Interest::READ)?))?;
    case.only(&events, parked.token())?;
    Ok(())
}

pub(super) fn shared_1_a_refusal_is_returned_to_the_caller<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let (registrar, waker) = (selector.registrar(), selector.waker());
    case.did("registered a closed descriptor, from another thread while waiting");
    let number = closed_number()?;
    let (refused, _) = during_a_wait(case, &mut selector, || {
        let refused = with_raw(number, |closed| registrar.register(closed, Interest::READ, 7));
        waker.wake()?;
        Ok(refused.map(drop).map_err(|refused| (refused.data, io::Error::from(refused.error))))
    })?;
    let Err((data, error)) = refused else {
        return case.expect("whether it was refused", false, true);
    };
    case.expect("the returned data", data, 7)?;
    case.expect_that(error.raw_os_error().is_some(), "the kernel's error", error)?;
    case.did("registered a source twice, and one with an unknown interest");
    let (ours, _theirs) = idle()?;
    let ours = Arc::new(ours);
    let source = selector.registrar().register(Arc::clone(&ours), Interest::READ, 1)?;
    let twice = selector.registrar().register(Arc::clone(&ours), Interest::READ, 2);
    let twice = twice.err().map(|refused| refused.error);
    let token = source.token();
    case.expect_that(
        matches!(twice, Some(Error::AlreadyRegistered { token: seen, .. }) if seen == token),
        "AlreadyRegistered",
        &twice,
    )?;
    let unknown = source.modify(Interest::from_bits_retain(0x80));
    let refused = matches!(unknown, Err(Error::InvalidInterest { .. }));
    case.expect_that(refused, "InvalidInterest", &unknown)?;
    drop(source);
    case.expect("the number of owners of the file object", Arc::strong_count(&ours), 1)?;
    case.expect("the number of sources", selector.len(), 0)
}

pub(super) fn shared_5_changes_do_not_wait_for_a_busy_waiter<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    case.did("made changes in another thread between two waits");
    let (done, changed) = mpsc::channel();
    thread::spawn(move || {
        let change = || -> Result<_, Stop> {
            let (ours, theirs) = ready()?;
            let source = registrar.register(ours, Interest::READ, 1)?;
            source.park()?;
            source.modify(Interest::READ)?;
            Ok((source, theirs))
        };
        // The receiver no longer exists if this took too long.
        let _ = done.send(change());
    });
    // A change that waits for the next wait would never return.
    let changed = changed.recv_timeout(case.long().unwrap_or(Duration::MAX));
    let changed = changed.map_err(|_| Stop::broken("  the changes did not return"))?;
    let (source, _theirs) = changed?;
    case.only(&selector.select(case.long())?, source.token())?;
    case.did("made changes in the waiting thread");
    source.modify_with(Interest::READ, Mode::OneShot)?;
    case.only(&selector.select(case.long())?, source.token()).map(drop)
}

pub(super) fn shared_5_changes_do_not_end_the_select<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let (registrar, waker) = (selector.registrar(), selector.waker());
    case.did("registered and dropped idle sources during a wait, and then woke it");
    let ((), events) = during_a_wait(case, &mut selector, move || {
        for number in 0..20 {
            let (ours, _theirs) = idle()?;
            let source = registrar.register(ours, Interest::READ, number)?;
            source.park()?;
        }
        Ok(waker.wake()?)
    })?;
    case.expect_tokens(&events, &[])?;
    case.expect("whether it was woken", events.woken(), true)?;
    case.expect("whether it was woken again", selector.select(NOW)?.woken(), false)
}
