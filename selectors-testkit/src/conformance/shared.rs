//! SHARED: changes by other threads while one waits.
//!
//! These cases have a list of their own, since they need backends that can go to another thread.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::{BorrowedSource, Changer, RawSource, Trigger};
use selectors::{
    Backend, Capabilities, Error, Events, Interest, Mode, SharedSelector, Token, Watch,
};

use super::{Case, NOW, Outcome, PATIENCE, Report, Stop, attempt_here, outcome_of, report_not_run};
use crate::fixtures::{
    OwnedSource, PairStream, closed_number, drain, if_any, in_forked_child, is_ready, pair,
    regular_file, with_raw,
};

/// A short while.
const SHORT: Duration = Duration::from_millis(20);

/// Hands the list of the cases for shared selectors to a macro, after `$before`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_shared_case {
    ($then:path, $($before:tt)*) => {
        $then! {
            $($before)*
            shared_1_registering_is_effective_in_the_wait
            shared_1_modifying_is_effective_in_the_wait
            shared_1_a_token_modifies_its_own_source_alone
            shared_1_parking_and_unregistering_are_effective_in_the_wait
            shared_1_a_refusal_is_returned_to_the_caller
            shared_2_what_was_unregistered_is_not_reported
            shared_2_what_was_unregistered_does_not_end_waits
            shared_2_the_file_is_closed_at_once
            shared_3_a_token_finds_its_own_data_or_none
            shared_3_data_goes_in_the_next_wait
            shared_4_no_arming_is_lost
            shared_4_a_one_shot_is_reported_once_for_each_arming
            shared_4_a_one_shot_that_fired_does_not_end_waits
            shared_5_changes_do_not_wait_for_a_busy_waiter
            shared_5_changes_do_not_end_the_select
            shared_6_files_and_edges_are_as_ever
            shared_6_a_panic_leaves_the_selector_usable
            shared_6_handles_outlive_the_selector
            shared_6_a_forked_child_changes_nothing
            shared_6_a_forked_child_can_go_on
        }
    };
}

type Run<B> = fn(&mut Case<'_, B>) -> Outcome;

macro_rules! list {
    ($($case:ident)+) => {
        /// The names of the cases for shared selectors, rule by rule.
        pub const SHARED_CASES: &[&str] = &[$(stringify!($case)),+];

        fn all<B: Backend + Send + 'static>() -> Vec<(&'static str, Run<B>)> {
            vec![$((stringify!($case), $case::<B> as Run<B>)),+]
        }
    };
}

for_each_shared_case!(list,);

/// Runs the case for shared selectors of this name, as one test of a harness.
///
/// # Panics
///
/// If the backend is wrong, with what there is to say about it, and if there is no such case.
pub fn check_shared<B: Backend + Send + 'static>(
    name: &'static str,
    new: impl Fn() -> io::Result<B> + Send + 'static,
) {
    report_not_run(name, outcome_of(all::<B>(), name, new, PATIENCE));
}

/// Runs every case for shared selectors over backends that `new` makes, waiting for no longer than
/// `patience` for what must come.
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
/// use std::time::Duration;
///
/// let patience = Duration::from_secs(20);
/// let report = selectors_testkit::conformance::run_shared(Poll::new, patience);
/// assert!(report.failed.is_empty(), "{report}");
/// ```
pub fn run_shared<B: Backend + Send + 'static>(
    new: impl Fn() -> io::Result<B>,
    patience: Duration,
) -> Report {
    let mut report = Report::default();
    for (name, case) in all::<B>() {
        report.add(name, attempt_here(name, &new, patience, None, (case, true)));
    }
    report
}

/// A source that is ready for READ, and its peer.
fn ready() -> io::Result<(OwnedSource, PairStream)> {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    Ok((ours.into(), theirs))
}

fn idle() -> io::Result<(OwnedSource, PairStream)> {
    let (ours, theirs) = pair()?;
    Ok((ours.into(), theirs))
}

/// A shared selector, and whether it can be had: not where the backend cannot be woken.
fn selector<B: Backend + Send + 'static, T>(
    case: &Case<'_, B>,
) -> Result<Option<SharedSelector<T>>, Stop> {
    let backend = case.backend()?;
    let declared = backend.capabilities().waker;
    case.declared_or_refused(declared, SharedSelector::with_backend(backend))
}

/// A selector, and how often it has had its backend wait.
type CountedSelector<T> = (SharedSelector<T>, Arc<AtomicU32>);

/// As [`selector`], with the number of times that it has had the backend wait.
fn counted<B: Backend + Send + 'static, T>(
    case: &Case<'_, B>,
) -> Result<Option<CountedSelector<T>>, Stop> {
    let backend = Counted { backend: case.backend()?, waits: Arc::default() };
    let waits = Arc::clone(&backend.waits);
    let declared = backend.capabilities().waker;
    let selector = case.declared_or_refused(declared, SharedSelector::with_backend(backend))?;
    Ok(selector.map(|selector| (selector, waits)))
}

/// Makes a change in another thread while this one waits; returns what came of both.
fn during_a_wait<B: Backend, T: Send, R: Send>(
    case: &Case<'_, B>,
    selector: &mut SharedSelector<T>,
    change: impl FnOnce() -> Result<R, Stop> + Send,
) -> Result<(R, Events), Stop> {
    let (changed, events) = thread::scope(|scope| {
        let thread = scope.spawn(change);
        let events = selector.select(case.long());
        (thread.join(), events)
    });
    let changed = changed.map_err(|_| Stop::broken("  the thread panicked"))??;
    Ok((changed, events?))
}

fn shared_1_registering_is_effective_in_the_wait<B: Backend + Send + 'static>(
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

fn shared_1_modifying_is_effective_in_the_wait<B: Backend + Send + 'static>(
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

fn shared_1_a_token_modifies_its_own_source_alone<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    case.did("armed a parked one-shot source by its token, from another thread while waiting");
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
    case.did("unregistered it, registered another in its place, and used the old token");
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

fn shared_1_parking_and_unregistering_are_effective_in_the_wait<B: Backend + Send + 'static>(
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
    case.expect("the bytes in the file that came back", drain(&gone)?, 1)?;
    case.did("armed the parked one while waiting");
    let ((), events) = during_a_wait(case, &mut selector, || Ok(parked.modify(Interest::READ)?))?;
    case.only(&events, parked.token())?;
    Ok(())
}

fn shared_1_a_refusal_is_returned_to_the_caller<B: Backend + Send + 'static>(
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
    case.expect("the data that came back", data, 7)?;
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

fn shared_2_what_was_unregistered_is_not_reported<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    case.did("unregistered a ready source in another thread, and waited");
    for mode in [Mode::Level, Mode::OneShot] {
        let (ours, _theirs) = ready()?;
        let source = selector.registrar().register_with(ours, Interest::READ, 1, mode)?;
        let token = source.token();
        case.only(&selector.select(case.long())?, token)?;
        let gone = thread::spawn(move || source.into_inner()).join();
        let gone = gone.map_err(|_| Stop::broken("  the thread panicked"))?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.expect("its data", selector.get(token), None)?;
        case.expect("the bytes in the file that came back", drain(&gone)?, 1)?;
    }
    Ok(())
}

fn shared_2_what_was_unregistered_does_not_end_waits<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some((mut selector, waits)) = counted::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    case.did("unregistered a ready source, which something else keeps open, and waited for 20 ms");
    let (ours, _theirs) = ready()?;
    let ours = Arc::new(ours);
    drop(registrar.register(Arc::clone(&ours), Interest::READ, 1)?);
    let before = waits.load(Ordering::Relaxed);
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let calls = waits.load(Ordering::Relaxed) - before;
    case.expect_that(calls <= 10, "at most 10 calls of the backend's wait", calls)
}

fn shared_2_the_file_is_closed_at_once<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let (registrar, waker) = (selector.registrar(), selector.waker());
    case.did("dropped a source in another thread while waiting, and read from its peer");
    let (ours, theirs) = idle()?;
    let source = registrar.register(ours, Interest::READ, 1)?;
    let (end, _) = during_a_wait(case, &mut selector, move || {
        drop(source);
        let end = is_ready(&theirs, Interest::READ, 10_000)?;
        waker.wake()?;
        Ok(end)
    })?;
    case.expect("whether the peer sees the end", end, true)
}

fn shared_3_a_token_finds_its_own_data_or_none<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let over = AtomicBool::new(false);
    case.did("registered and dropped ready sources in another thread, a thousand times");
    thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<Vec<_>, Stop> {
            let mut tokens = Vec::new();
            let (mut ours, _theirs) = ready()?;
            for number in 0..1_000 {
                let source = registrar.register(ours, Interest::READ, number)?;
                tokens.push(source.token());
                ours = source.into_inner();
            }
            over.store(true, Ordering::Release);
            registrar.waker().wake()?;
            Ok(tokens)
        });
        let mut seen = Vec::new();
        let mut events = Events::new();
        while !over.load(Ordering::Acquire) && !thread.is_finished() {
            selector.select_into(&mut events, case.long())?;
            for event in &events {
                seen.extend(selector.get(event.token()).map(|&number| (event.token(), number)));
            }
        }
        let tokens = thread.join().map_err(|_| Stop::broken("  the thread panicked"))??;
        for (token, number) in seen {
            case.expect("the token of the data", token, tokens[number as usize])?;
        }
        let mut distinct = tokens.clone();
        distinct.sort();
        distinct.dedup();
        case.expect("the number of different tokens", distinct.len(), tokens.len())?;
        let alive = tokens.iter().filter(|&&token| selector.get(token).is_some()).count();
        case.expect("the number of tokens that still find something", alive, 0)
    })
}

fn shared_3_data_goes_in_the_next_wait<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, Arc<()>>(case)? else { return Ok(()) };
    let data = Arc::new(());
    let (ours, _theirs) = ready()?;
    let source = selector.registrar().register(ours, Interest::READ, Arc::clone(&data))?;
    case.only(&selector.select(case.long())?, source.token())?;
    case.did("borrowed the data, dropped the source, and waited without blocking");
    let borrowed = selector.get(source.token());
    drop(source);
    case.expect("whether the data is still there", borrowed, Some(&data))?;
    selector.select(NOW)?;
    case.expect("the number of owners of the data", Arc::strong_count(&data), 1)
}

fn shared_4_no_arming_is_lost<B: Backend + Send + 'static>(case: &mut Case<'_, B>) -> Outcome {
    let Some(mut selector) = selector::<B, ()>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let reports = AtomicU32::new(0);
    let over = AtomicBool::new(false);
    let patience = case.long();
    case.did("armed a ready one-shot source in another thread, once for each report");
    thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<u32, Stop> {
            let parked = Interest::empty();
            let source = registrar.register_with(ours, parked, (), Mode::OneShot)?;
            let mut lost = 0;
            for round in 0..1_000 {
                let before = reports.load(Ordering::Acquire);
                // In every way, and now and then before the last report was taken.
                match round % 4 {
                    0 => source.modify(Interest::READ)?,
                    1 => source.modify(Interest::WRITE)?,
                    2 => {
                        source.modify(Interest::WRITE)?;
                        source.modify(Interest::READ | Interest::WRITE)?;
                    }
                    _ => {
                        source.park()?;
                        source.modify(Interest::READ)?;
                    }
                }
                let deadline = Instant::now() + patience.unwrap_or(Duration::MAX);
                while reports.load(Ordering::Acquire) == before {
                    if Instant::now() > deadline {
                        lost += 1;
                        break;
                    }
                    thread::yield_now();
                }
                if lost > 0 {
                    break;
                }
            }
            over.store(true, Ordering::Release);
            registrar.waker().wake()?;
            Ok(lost)
        });
        let mut events = Events::new();
        while !over.load(Ordering::Acquire) && !thread.is_finished() {
            selector.select_into(&mut events, None)?;
            let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
            reports.fetch_add(count, Ordering::Release);
        }
        let lost = thread.join().map_err(|_| Stop::broken("  the thread panicked"))??;
        case.expect("the number of lost armings", lost, 0)
    })
}

fn shared_4_a_one_shot_is_reported_once_for_each_arming<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, ()>(case)? else { return Ok(()) };
    let (ours, _theirs) = ready()?;
    let source = selector.registrar().register_with(ours, Interest::READ, (), Mode::OneShot)?;
    case.did("waited twice for each arming of a ready one-shot source");
    for round in 0..20 {
        case.only(&selector.select(case.long())?, source.token())?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        if round % 2 == 0 { source.rearm()? } else { source.modify(Interest::READ)? }
    }
    Ok(())
}

fn shared_4_a_one_shot_that_fired_does_not_end_waits<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some((mut selector, waits)) = counted::<B, ()>(case)? else { return Ok(()) };
    case.did("waited for a ready one-shot source, and then for 20 ms more");
    let (ours, _theirs) = ready()?;
    let source = selector.registrar().register_with(ours, Interest::READ, (), Mode::OneShot)?;
    case.only(&selector.select(case.long())?, source.token())?;
    let before = waits.load(Ordering::Relaxed);
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let calls = waits.load(Ordering::Relaxed) - before;
    case.expect_that(calls <= 10, "at most 10 calls of the backend's wait", calls)
}

fn shared_5_changes_do_not_wait_for_a_busy_waiter<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    case.did("made changes in another thread while the waiter was not waiting");
    let (done, changed) = mpsc::channel();
    thread::spawn(move || {
        let change = || -> Result<_, Stop> {
            let (ours, theirs) = ready()?;
            let source = registrar.register(ours, Interest::READ, 1)?;
            source.park()?;
            source.modify(Interest::READ)?;
            Ok((source, theirs))
        };
        // Nobody receives it if it took too long.
        let _ = done.send(change());
    });
    // It would be for ever if the change waited for the next wait.
    let changed = changed.recv_timeout(case.long().unwrap_or(Duration::MAX));
    let changed = changed.map_err(|_| Stop::broken("  the changes did not return"))?;
    let (source, _theirs) = changed?;
    case.only(&selector.select(case.long())?, source.token())?;
    case.did("made changes in the thread that waits");
    source.modify_with(Interest::READ, Mode::OneShot)?;
    case.only(&selector.select(case.long())?, source.token()).map(drop)
}

fn shared_5_changes_do_not_end_the_select<B: Backend + Send + 'static>(
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

fn shared_6_files_and_edges_are_as_ever<B: Backend + Send + 'static>(
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
    case.did("registered an edge-triggered source, and asked for it again");
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

fn shared_6_a_panic_leaves_the_selector_usable<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let (ours, _theirs) = ready()?;
    let source = selector.registrar().register(ours, Interest::READ, 1)?;
    case.did("panicked while handling an event");
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _events = selector.select(case.long());
        // No message: it is not news to whoever reads the log.
        std::panic::resume_unwind(Box::new("handled"));
    }));
    case.expect("whether it panicked", panic.is_err(), true)?;
    case.only(&selector.select(case.long())?, source.token()).map(drop)
}

fn shared_6_handles_outlive_the_selector<B: Backend + Send + 'static>(
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
    case.expect("the bytes in the file that came back", drain(source.into_inner())?, 1)?;
    let (other, _peer) = idle()?;
    let refused = registrar.register(other, Interest::READ, 2).err();
    let refused = refused.map(|refused| refused.error);
    case.expect_that(matches!(refused, Some(Error::Closed)), "Error::Closed", &refused)
}

fn shared_6_a_forked_child_changes_nothing<B: Backend + Send + 'static>(
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
    case.expect("whether the child was refused everything", fine, true)?;
    let Some((mut selector, source, _other)) = slots else { return Ok(()) };
    let events = selector.select(case.long())?;
    case.expect("whether the parent was woken", events.woken(), false)?;
    case.only(&events, source.token())?;
    source.park()?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

fn shared_6_a_forked_child_can_go_on<B: Backend + Send + 'static>(
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
    case.did("forked a child that went on with its copy of the selector");
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
        // Dropped at the end, in the child alone.
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

/// A backend whose waits are counted, and which changes nothing else.
struct Counted<B> {
    backend: B,
    waits: Arc<AtomicU32>,
}

impl<B: Backend> Backend for Counted<B> {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.backend.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.backend.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.backend.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.backend.wait(events, timeout)
    }

    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        self.backend.waker(token)
    }

    fn changer(&self) -> io::Result<Option<Box<dyn Changer>>> {
        self.backend.changer()
    }

    fn now(&self) -> Instant {
        self.backend.now()
    }
}
