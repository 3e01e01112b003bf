//! SHARED-4: no readiness is lost, and none is reported twice.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selectors::{Backend, Events, Interest, Mode};

use super::{SHORT, counted, ready, selector};
use crate::conformance::{Case, NOW, Outcome, Stop};

pub(super) fn shared_4_no_arming_is_lost<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, ()>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let (ours, _theirs) = ready()?;
    let reports = AtomicU32::new(0);
    let over = AtomicBool::new(false);
    let patience = case.long();
    case.did("rearmed a ready one-shot source in another thread, once for each report");
    thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<u32, Stop> {
            let parked = Interest::empty();
            let source = registrar.register_with(ours, parked, (), Mode::OneShot)?;
            let mut lost = 0;
            let start = Instant::now();
            // Fewer on a busy machine, where each may take long.
            let rounds = (0..1_000).take_while(|_| start.elapsed() < Duration::from_secs(2));
            for round in rounds {
                let before = reports.load(Ordering::Acquire);
                // By every method, and now and then before the last report was handled.
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
            // A thousand rounds may take long on a busy machine.
            case.progress.tick();
            let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
            reports.fetch_add(count, Ordering::Release);
        }
        let lost = thread.join().map_err(|_| Stop::broken("  the thread panicked"))??;
        case.expect("the number of lost armings", lost, 0)
    })
}

pub(super) fn shared_4_a_one_shot_is_reported_once_for_each_arming<B: Backend + Send + 'static>(
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

pub(super) fn shared_4_a_one_shot_that_fired_does_not_end_waits<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some((mut selector, counts)) = counted::<B, ()>(case)? else { return Ok(()) };
    case.did("waited for a ready one-shot source, and then for 20 ms more");
    let (ours, _theirs) = ready()?;
    let source = selector.registrar().register_with(ours, Interest::READ, (), Mode::OneShot)?;
    case.only(&selector.select(case.long())?, source.token())?;
    let before = counts.calls().wait;
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let calls = counts.calls().wait - before;
    case.expect_that(calls <= 10, "at most 10 calls of the backend's wait", calls)
}
