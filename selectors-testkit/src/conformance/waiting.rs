//! WAIT-1 to WAIT-5: how long a wait lasts, and what ends it.

use std::io::Write;
use std::time::{Duration, Instant};

use selectors::{Backend, Events, Interest, Mode, Token, Watch};

use super::{Case, NOW, Outcome};
use crate::fixtures::{borrow, drain, pair, signal_storm};

pub(super) const READING: Watch = Watch::new(Interest::READ, Mode::Level);

pub(super) fn wait_1_zero_reports_what_is_ready<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.counting()?;
    let token = selector.register(&ours, Interest::READ, ())?;
    case.did("waited with a zero timeout, with nothing ready");
    let start = Instant::now();
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    let waited = Some(start.elapsed());
    case.expect_that(waited < case.long(), "no blocking", waited)?;
    case.expect("calls of the backend's wait", selector.backend().calls().wait, 1)?;
    case.did("waited with a zero timeout, with a byte to read");
    theirs.write_all(b"x")?;
    case.only(&selector.select(NOW)?, token).map(drop)
}

pub(super) fn wait_2_without_sources_the_timeout_holds<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut selector = case.selector::<std::fs::File, ()>()?;
    case.did("waited with a zero timeout, without a source");
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("waited for 15 ms, without a source");
    lasts(case, Duration::from_millis(15), |timeout| Ok(selector.select(Some(timeout))?))?;
    let mut backend = case.backend()?;
    lasts(case, Duration::from_millis(15), |timeout| {
        let mut events = Events::new();
        backend.wait(&mut events, Some(timeout))?;
        Ok(events)
    })?;
    case.did("registered and unregistered a source, and waited for 15 ms");
    let (ours, _theirs) = pair()?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::WRITE, ())?;
    selector.unregister(token)?;
    lasts(case, Duration::from_millis(15), |timeout| Ok(selector.select(Some(timeout))?))
}

pub(super) fn wait_2_without_sources_a_waker_ends_it<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut selector = case.selector::<std::fs::File, ()>()?;
    if !selector.capabilities().waker {
        return Ok(());
    }
    let waker = selector.waker()?;
    case.did("woke a wait without sources from another thread");
    let thread = std::thread::spawn(move || waker.wake());
    let events = selector.select(case.long())?;
    case.expect("whether it was woken", events.woken(), true)?;
    thread.join().map_err(|_| super::Stop::broken("  the thread panicked"))??;
    Ok(())
}

pub(super) fn wait_2_without_sources_a_signal_ends_it<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut selector = case.selector::<std::fs::File, ()>()?;
    selector.set_interruptible(true);
    case.did("waited without sources for a signal that comes every 5 ms");
    let _storm = signal_storm(Duration::from_millis(5))?;
    let events = selector.select(case.long())?;
    let swallowed = "the wait returns `Ok` without events, or starts again, instead of the error \
        `Interrupted`";
    let interrupted = case.expect("whether it was interrupted", events.interrupted(), true);
    case.because(swallowed, interrupted)?;
    case.expect_tokens(&events, &[])
}

/// Checks that an idle wait of `timeout` lasts that long and reports nothing.
pub(super) fn lasts<B: Backend>(
    case: &Case<'_, B>,
    timeout: Duration,
    wait: impl FnOnce(Duration) -> Result<Events, super::Stop>,
) -> Outcome {
    let start = Instant::now();
    let events = wait(timeout)?;
    let waited = start.elapsed();
    case.expect_tokens(&events, &[])?;
    case.expect_that(waited >= timeout, &format!("a wait of at least {timeout:?}"), waited)
}

/// Timeouts at the limits of every rounding.
const TIMEOUTS: [Duration; 8] = [
    Duration::from_nanos(1),
    Duration::from_nanos(999),
    Duration::from_micros(150),
    Duration::from_nanos(1_000_001),
    Duration::from_micros(1_400),
    Duration::from_micros(1_999),
    Duration::from_millis(5),
    Duration::from_nanos(7_654_321),
];

pub(super) fn wait_3_never_early<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut selector = case.selector()?;
    selector.register(&ours, Interest::READ, ())?;
    for timeout in TIMEOUTS {
        case.did(format!("waited with the selector for {timeout:?}"));
        lasts(case, timeout, |timeout| Ok(selector.select(Some(timeout))?))?;
    }
    Ok(())
}

pub(super) fn wait_3_the_backend_rounds_away_from_zero<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut backend = case.backend()?;
    backend.register(borrow(&ours), Token::from_bits(1), READING)?;
    for timeout in TIMEOUTS {
        case.did(format!("waited with the backend for {timeout:?}"));
        lasts(case, timeout, |timeout| {
            let mut events = Events::new();
            backend.wait(&mut events, Some(timeout))?;
            Ok(events)
        })?;
    }
    Ok(())
}

pub(super) fn wait_4_a_fine_timeout_does_not_spin<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut selector = case.counting()?;
    selector.register(&ours, Interest::READ, ())?;
    case.did("waited 20 times for 300 µs");
    for _ in 0..20 {
        let timeout = Duration::from_micros(300);
        lasts(case, timeout, |timeout| Ok(selector.select(Some(timeout))?))?;
    }
    // A poll, the wait, and sometimes another wait because of a clock that differs.
    let waits = selector.backend().calls().wait;
    case.expect_that(waits <= 80, "at most 80 calls of the backend's wait", waits)
}

pub(super) fn wait_4_the_resolution_is_as_declared<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut backend = case.backend()?;
    let resolution = backend.capabilities().timeout_resolution;
    case.expect_that(
        resolution <= Duration::from_millis(20),
        "a resolution of at most 20 ms",
        resolution,
    )?;
    if resolution >= Duration::from_millis(1) {
        return Ok(());
    }
    backend.register(borrow(&ours), Token::from_bits(1), READING)?;
    case.did("waited for 100 µs until it took less than 1 ms, at most 2,000 times");
    let timeout = Duration::from_micros(100);
    let mut shortest = Duration::MAX;
    for _ in 0..2_000 {
        let start = Instant::now();
        backend.wait(&mut Events::new(), Some(timeout))?;
        shortest = shortest.min(start.elapsed());
        if shortest < Duration::from_millis(1) {
            return Ok(());
        }
    }
    case.expect_that(false, "a wait with the declared resolution", shortest)
}

pub(super) fn wait_5_no_timeout_is_too_long<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::READ, ())?;
    let seconds = |seconds| Duration::from_secs(seconds);
    let longs = [
        Duration::MAX,
        seconds(u64::MAX),
        seconds(i64::MAX as u64),
        seconds(u64::from(u32::MAX)),
        seconds(i32::MAX as u64 + 1),
        seconds(100_000_001),
        Duration::from_millis(i32::MAX as u64 + 1),
    ];
    for timeout in longs {
        case.did(format!("waited for {timeout:?} until another thread wrote"));
        let events = std::thread::scope(|scope| {
            scope.spawn(|| theirs.write_all(b"x"));
            selector.select(Some(timeout))
        })?;
        case.only(&events, token)?;
        drain(&ours)?;
        case.did("waited with the backend for that long, with a ready source");
        let (other, mut other_peer) = pair()?;
        other_peer.write_all(b"x")?;
        let mut backend = case.backend()?;
        backend.register(borrow(&other), Token::from_bits(9), READING)?;
        let mut events = Events::new();
        backend.wait(&mut events, Some(timeout))?;
        case.only(&events, Token::from_bits(9))?;
    }
    Ok(())
}
