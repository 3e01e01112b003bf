//! SHARED-2, SHARED-3: unregistered sources, and their data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selectors::{Backend, Events, Interest, Mode};

use super::{SHORT, counted, during_a_wait, idle, ready, selector};
use crate::conformance::streams::PATIENTLY;
use crate::conformance::{Case, NOW, Outcome, Stop};
use crate::fixtures::{drain, is_ready};

pub(super) fn shared_2_an_unregistered_source_is_not_reported<B: Backend + Send + 'static>(
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
        case.expect("the number of bytes in the returned file", drain(&gone)?, 1)?;
    }
    Ok(())
}

pub(super) fn shared_2_an_unregistered_source_does_not_end_waits<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some((mut selector, counts)) = counted::<B, u32>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    case.did("unregistered a ready source, which a duplicate keeps open, and waited for 20 ms");
    let (ours, _theirs) = ready()?;
    let ours = Arc::new(ours);
    drop(registrar.register(Arc::clone(&ours), Interest::READ, 1)?);
    let before = counts.calls().wait;
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let calls = counts.calls().wait - before;
    case.expect_that(calls <= 10, "at most 10 calls of the backend's wait", calls)
}

pub(super) fn shared_2_the_file_is_closed_at_once<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, u32>(case)? else { return Ok(()) };
    let (registrar, waker) = (selector.registrar(), selector.waker());
    case.did("dropped a source in another thread while waiting, and read from its peer");
    let (ours, theirs) = idle()?;
    let source = registrar.register(ours, Interest::READ, 1)?;
    let (end, _) = during_a_wait(case, &mut selector, move || {
        drop(source);
        let end = is_ready(&theirs, Interest::READ, PATIENTLY)?;
        waker.wake()?;
        Ok(end)
    })?;
    case.expect("whether the peer sees end-of-file", end, true)
}

pub(super) fn shared_3_a_token_finds_its_own_data_or_none<B: Backend + Send + 'static>(
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
        case.expect("the number of tokens that still find data", alive, 0)
    })
}

/// The least and the greatest number of sources that are unregistered before the data of most of
/// them must have been dropped.
const GONE: (usize, usize) = (100, 50_000);

pub(super) fn shared_3_data_does_not_accumulate_during_a_wait<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some(mut selector) = selector::<B, Arc<()>>(case)? else { return Ok(()) };
    let (registrar, waker) = (selector.registrar(), selector.waker());
    let data = Arc::new(());
    let patience = case.long().unwrap_or(Duration::MAX);
    case.did("registered and dropped idle sources in another thread, during a single wait");
    let ((made, kept), events) = during_a_wait(case, &mut selector, || {
        let (ours, _theirs) = idle()?;
        let ours = Arc::new(ours);
        let (mut made, mut last) = (0, Instant::now());
        loop {
            if made < GONE.1 {
                drop(registrar.register(Arc::clone(&ours), Interest::READ, Arc::clone(&data))?);
                (made, last) = (made + 1, Instant::now());
            } else {
                thread::yield_now();
            }
            let kept = Arc::strong_count(&data) - 1;
            let gone = made >= GONE.0 && kept < made / 2;
            if gone || last.elapsed() > patience / 2 {
                waker.wake()?;
                return Ok((made, kept));
            }
        }
    })?;
    let cause = "unregistered sources are released when a wait ends, and the waiting thread is \
        never woken for that";
    let what = format!("the data of less than half of {made} unregistered sources");
    case.expect_or(cause, kept < made / 2, &what, kept)?;
    case.expect_tokens(&events, &[])
}

pub(super) fn shared_3_data_is_dropped_in_the_next_wait<B: Backend + Send + 'static>(
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
