//! READY-1, WAIT-3, WAIT-6, PROC-6: other work between waits, signals, and waits on several threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::BorrowedSource;
use selectors::{Backend, Interest};

use super::stale_readiness::modes;
use super::{Case, NOW, Outcome, Stop};
use crate::fixtures::{borrow, drain, fill, pair, send, signal_storm};

/// The duration of the other work.
const BUSY: Duration = Duration::from_millis(35);

const SHORT: Duration = Duration::from_millis(3);

pub(super) fn wait_3_time_passes_between_waits<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut selector = case.selector()?;
    selector.register(&ours, Interest::READ, ())?;
    case.did(format!("waited, did something else for {BUSY:?}, and waited for {SHORT:?}"));
    let cached = "the time at the end of a wait is used to compute the deadline of the next one";
    for until in [false, true] {
        selector.select(Some(Duration::from_micros(100)))?;
        let before = selector.now();
        thread::sleep(BUSY);
        let passed = selector.now().saturating_duration_since(before);
        let what = format!("a clock on which at least {BUSY:?} passed");
        case.expect_or(cached, passed >= BUSY, &what, passed)?;
        let start = Instant::now();
        let events = if until {
            let deadline = selector.now() + SHORT;
            selector.select_until(Some(deadline))?
        } else {
            selector.select(Some(SHORT))?
        };
        let waited = start.elapsed();
        case.expect_tokens(&events, &[])?;
        let what = format!("a wait of at least {SHORT:?}");
        case.expect_or(cached, waited >= SHORT, &what, waited)?;
    }
    case.did("waited until a deadline in the past");
    let past = selector.now();
    thread::sleep(SHORT);
    case.expect_tokens(&selector.select_until(Some(past))?, &[])
}

pub(super) fn ready_1_data_that_arrives_during_a_long_pause<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut sources = Vec::new();
    for mode in modes(case)? {
        let ends = pair()?;
        let mut selector = case.selector()?;
        let token = selector.register_with(ends.0.try_clone()?, Interest::READ, (), mode)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        sources.push((mode, ends, selector, token));
    }
    thread::sleep(BUSY);
    for (mode, (ours, theirs), selector, token) in &mut sources {
        case.did(format!(
            "waited, did something else for {BUSY:?}, and waited for a {mode:?} source"
        ));
        send(theirs, b"x")?;
        let cause = "readiness is dropped if no wait runs for a while";
        case.because(cause, case.only(&selector.select(NOW)?, *token))?;
        drain(ours)?;
    }
    Ok(())
}

pub(super) fn proc_6_waits_do_not_block_each_other<B: Backend + Send>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, theirs) = pair()?;
    let (other, other_peer) = pair()?;
    let mut waits = case.selector()?;
    let token = waits.register(&ours, Interest::READ, ())?;
    send(&other_peer, b"x")?;
    let (over, long) = (AtomicBool::new(false), case.long());
    case.did(
        "one selector waited on another thread, while others were created and used on this one",
    );
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let events = waits.select(long);
            over.store(true, Ordering::Release);
            events
        });
        let used = (0..5).try_for_each(|_| {
            // Time for the other thread to begin its wait.
            thread::sleep(Duration::from_millis(1));
            let mut selector = case.selector()?;
            let token = selector.register(&other, Interest::READ, ())?;
            case.only(&selector.select(NOW)?, token)?;
            selector.modify(token, Interest::WRITE)?;
            case.only(&selector.select(case.long())?, token)?;
            selector.unregister(token)?;
            Ok::<_, Stop>(())
        });
        let held_up = over.load(Ordering::Acquire);
        send(&theirs, b"x")?;
        let events = waiter.join().map_err(|_| Stop::panicked("on another thread"))??;
        used?;
        let cause = "a lock or buffer that all backends share is held during a wait";
        case.expect_or(
            cause,
            !held_up,
            "this thread to finish before the other wait ends",
            "it came after",
        )?;
        case.only(&events, token).map(drop)
    })
}

pub(super) fn wait_6_a_signal_undoes_no_change<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let lost = "changes are submitted by the next wait, and dropped if a signal ends it";
    let [(new, new_peer), (changed, changed_peer), (gone, gone_peer)] = [pair()?, pair()?, pair()?];
    send(&changed_peer, b"x")?;
    send(&gone_peer, b"x")?;
    fill(&changed)?;
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    let changed = selector.register(borrow(&changed), Interest::READ, ())?;
    let gone = selector.register(borrow(&gone), Interest::READ, ())?;
    case.expect_tokens(&selector.select(case.long())?, &[changed, gone])?;
    case.did("registered, modified and unregistered sources, and waited for a signal");
    let new = selector.register(borrow(&new), Interest::READ, ())?;
    selector.modify(changed, Interest::WRITE)?;
    selector.unregister(gone)?;
    selector.set_interruptible(true);
    let storm = signal_storm(Duration::from_millis(2))?;
    let events = selector.select(case.long())?;
    drop(storm);
    case.expect("whether it was interrupted", events.interrupted(), true)?;
    case.because(lost, case.expect_tokens(&events, &[]))?;
    selector.set_interruptible(false);
    case.because(lost, case.expect_tokens(&selector.select(NOW)?, &[]))?;
    case.did("made them ready");
    send(&new_peer, b"x")?;
    drain(&changed_peer)?;
    case.because(lost, case.expect_tokens(&selector.select(case.long())?, &[new, changed]))
}
