//! WAIT-1, WAIT-3, WAIT-4, WAIT-11: timeouts of every length, and how often a wait blocks.
//!
//! No case depends on the load of the machine: a measurement that load can prolong is repeated
//! until it succeeds once.

use std::thread;
use std::time::{Duration, Instant};

use selectors::{Backend, Events, Interest, Mode, Token, Waker, Watch};

use super::counts::OFTEN;
use super::{Case, NOW, Outcome, Stop, emulation};
use crate::fixtures::{borrow, drain, pair, send, sleeps};

const READING: Watch = Watch::new(Interest::READ, Mode::Level);

/// How often a measurement that load can prolong is tried before the backend is considered wrong.
const TRIES: usize = 40;

/// Likewise for sleeps, of which a busy machine causes few.
const FEW_TRIES: usize = 12;

const ZERO: &str = "zero is rounded up to the kernel's unit or treated as a short time, a wait \
    that need not block begins with a call that does, some \
    waits yield the processor, or are left to another thread";

pub(super) fn wait_1_zero_does_not_sleep<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    // Nothing else makes this thread sleep in between.
    case.alone()?;
    let (ours, theirs) = pair()?;
    let (mut selector, mut backend) = (case.selector()?, case.backend()?);
    let token = selector.register(&ours, Interest::READ, ())?;
    backend.register(borrow(&ours), token, READING)?;
    let waker = selector.waker().ok();
    let mut events = Events::new();
    case.did(format!(
        "waited with a zero timeout {OFTEN} times, idle and ready, after changes, wakes and timed \
         waits, until it did not sleep"
    ));
    let mut least = u64::MAX;
    for _ in 0..FEW_TRIES {
        let mut slept = 0;
        for number in 0..OFTEN {
            case.progress.tick();
            match number % 64 {
                3 => drop(selector.select(Some(Duration::from_micros(1)))?),
                8 | 40 => drop(send(&theirs, b"x")?),
                15 | 47 => selector.modify(token, Interest::READ | Interest::WRITE)?,
                19 | 51 => selector.modify(token, Interest::READ)?,
                24 | 56 => drop(drain(&ours)?),
                30 | 62 => waker.iter().try_for_each(Waker::wake)?,
                _ => {}
            }
            let before = sleeps()?;
            selector.select_into(&mut events, NOW)?;
            events.clear();
            backend.wait(&mut events, NOW)?;
            slept += sleeps()? - before;
        }
        least = least.min(slept);
        if least == 0 {
            break;
        }
    }
    case.expect_or(ZERO, least == 0, "waits that do not sleep", format_args!("{least} sleeps"))
}

/// For how long this thread was ready to run so far and others were running: the second number of what Linux
/// says of it. Elsewhere no time at all.
fn kept_waiting() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Ways to end a wait, with names: a source, and the waker if there is one.
fn ends<'a>(
    [source, wake]: [&'static str; 2],
    waker: Option<&'a Waker>,
) -> impl Iterator<Item = (&'static str, Option<&'a Waker>)> {
    std::iter::once((source, None)).chain(waker.map(|waker| (wake, Some(waker))))
}

const SLEEPS_FIRST: &str = "a wait checks for events only after a sleep, or continues after the \
    first event to collect more, or is left to another thread";

pub(super) fn wait_1_a_wait_with_a_ready_source_does_not_sleep<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let (ours, theirs) = pair()?;
    let (mut selector, mut backend) = (case.selector()?, case.backend()?);
    let token = selector.register(&ours, Interest::READ, ())?;
    backend.register(borrow(&ours), token, READING)?;
    let waker = selector.waker().ok();
    for (what, waker) in ends(["ready source", "wake"], waker.as_ref()) {
        for timeout in [case.long(), Some(TICK), None] {
            case.did(format!("waited for {timeout:?} until it did not sleep, with a {what}"));
            let mut least = u64::MAX;
            for _ in 0..FEW_TRIES {
                if waker.is_none() {
                    send(&theirs, b"x")?;
                }
                waker.map_or(Ok(()), Waker::wake)?;
                let before = sleeps()?;
                let events = selector.select(timeout)?;
                if waker.is_none() {
                    backend.wait(&mut Events::new(), timeout)?;
                }
                least = least.min(sleeps()? - before);
                case.expect("whether it was woken", events.woken(), waker.is_some())?;
                drain(&ours)?;
                if least == 0 {
                    break;
                }
            }
            let what = "a wait that does not sleep";
            case.expect_or(SLEEPS_FIRST, least == 0, what, format_args!("{least} sleeps"))?;
        }
    }
    Ok(())
}

pub(super) fn wait_1_an_event_ends_the_wait_soon<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::READ, ())?;
    let waker = selector.waker().ok();
    for (what, waker) in ends(["wrote", "woke it"], waker.as_ref()) {
        for timeout in [case.long(), None] {
            case.did(format!("waited for {timeout:?}; another thread {what} after {SOON:?}"));
            let (mut shortest, mut counted) = (None, 0);
            for _ in 0..5 * TRIES {
                let (start, kept_before) = (Instant::now(), kept_waiting());
                let (before, late) = thread::scope(|scope| {
                    let other = scope.spawn(|| {
                        thread::sleep(SOON);
                        let sent = Instant::now();
                        let done = match waker {
                            Some(waker) => waker.wake().map_err(Stop::from),
                            None => send(&theirs, b"x").map(drop).map_err(Stop::from),
                        };
                        done.map(|()| sent)
                    });
                    let events = selector.select(timeout)?;
                    let (ended, kept) =
                        (Instant::now(), kept_waiting().saturating_sub(kept_before));
                    let sent = other.join().map_err(|_| Stop::panicked("on another thread"))??;
                    let tokens = if waker.is_none() { &[token][..] } else { &[] };
                    case.expect_tokens(&events, tokens)?;
                    let late = ended.saturating_duration_since(sent).saturating_sub(kept);
                    Ok::<_, Stop>((sent.saturating_duration_since(start), late))
                })?;
                drain(&ours)?;
                // Otherwise the event may have arrived just when a nap of the wait ended.
                if before < TICK {
                    shortest = Some(shortest.map_or(late, |shortest| late.min(shortest)));
                    counted += 1;
                }
                if counted == FEW_TRIES || shortest.is_some_and(|shortest| shortest < TICK) {
                    break;
                }
            }
            case.expect_or(
                "the kernel waits for something else, or for short periods after which other \
                 sources are checked",
                shortest.is_none_or(|shortest| shortest < TICK),
                &format!("a wait that ends within {TICK:?}"),
                shortest,
            )?;
        }
    }
    Ok(())
}

/// Timeouts that lose bits in another unit, or in a narrower type.
const LENGTHS: [Duration; 23] = [
    Duration::from_secs(1),
    // A carry when it is rounded up.
    Duration::new(0, 999_999_999),
    Duration::new(1, 999_999_999),
    // Not a whole number of seconds.
    Duration::from_millis(1_001),
    Duration::from_millis(2_500),
    Duration::from_micros(30_000_500),
    Duration::from_secs(60),
    // Milliseconds in 16 bits, and in 31 and 32.
    Duration::from_millis(1 << 16),
    Duration::from_millis((1 << 16) + 1),
    Duration::from_millis(1 << 31),
    Duration::from_millis((1 << 31) + 1),
    Duration::from_millis(1 << 32),
    Duration::from_millis((1 << 32) + 1),
    // Microseconds and nanoseconds in 32 bits, and nanoseconds in 63.
    Duration::from_micros(1 << 31),
    Duration::from_micros(1 << 32),
    Duration::from_nanos(1 << 32),
    Duration::from_nanos(1 << 63),
    Duration::from_nanos((1 << 63) + 1),
    // Seconds in 31 and 32 bits.
    Duration::from_secs(1 << 31),
    Duration::from_secs((1 << 31) + 1),
    Duration::from_secs(1 << 32),
    Duration::from_secs((1 << 32) + 1),
    // More nanoseconds than fit into 64 bits.
    Duration::from_secs(20_000_000_000),
];

/// A tick of common clocks: some kernels wait for one more than requested.
const TICK: Duration = Duration::from_millis(10);

/// How much too long a wait may take on an otherwise idle machine.
const LATE: Duration = if cfg!(target_os = "linux") { Duration::from_millis(3) } else { TICK };

/// After what time a wait with a very long timeout is ended.
const SOON: Duration = Duration::from_millis(2);

pub(super) fn wait_3_no_timeout_is_truncated<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    let mut backend = case.backend()?;
    let token = Token::from_bits(1);
    backend.register(borrow(&ours), token, READING)?;
    for timeout in LENGTHS {
        case.did(format!("waited with the backend for {timeout:?}, until another thread wrote"));
        let mut events = Events::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(SOON);
                send(&theirs, b"x")
            });
            backend.wait(&mut events, Some(timeout))
        })?;
        let cause = "the seconds are dropped, or the number does not fit into the kernel's type: a \
            very long wait may be shortened, but not this much";
        case.because(cause, case.only(&events, token))?;
        drain(&ours)?;
    }
    Ok(())
}

pub(super) fn wait_4_waits_are_not_too_long<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let (mut selector, mut backend) = (case.selector()?, case.backend()?);
    let token = selector.register(&ours, Interest::READ, ())?;
    backend.register(borrow(&ours), token, READING)?;
    let resolution = backend.capabilities().timeout_resolution;
    for timeout in [3, 17, 110].map(Duration::from_millis) {
        let most = timeout + resolution + LATE;
        case.did(format!("waited for {timeout:?} until it took less than {most:?}"));
        for waits in ["the selector", "the backend"] {
            let mut shortest = Duration::MAX;
            for _ in 0..TRIES {
                let (start, kept) = (Instant::now(), kept_waiting());
                if waits == "the selector" {
                    selector.select(Some(timeout))?;
                } else {
                    backend.wait(&mut Events::new(), Some(timeout))?;
                }
                let kept = kept_waiting().saturating_sub(kept);
                shortest = shortest.min(start.elapsed().saturating_sub(kept));
                if shortest < most {
                    break;
                }
            }
            case.expect_or(
                "the timeout is rounded up to a coarser unit than the declared resolution, or the \
                 wait starts again",
                shortest < most,
                &format!("a wait of {waits} that takes less than {most:?}"),
                shortest,
            )?;
        }
    }
    Ok(())
}

/// How long an idle wait lasts: several naps of a wait that naps.
const IDLE: Duration = Duration::from_millis(25);

/// How often it may sleep.
const SLEEPS: u64 = 2;

pub(super) fn wait_11_a_wait_sleeps_once<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.backend()?;
    if emulation::is_device() {
        // A kernel does not.
        return Err(Stop::NotRun("an emulated device sleeps repeatedly".to_owned()));
    }
    case.alone()?;
    let (ours, theirs) = pair()?;
    let mut selector = case.selector()?;
    selector.register(&ours, Interest::READ, ())?;
    for timeout in [Some(IDLE), None] {
        case.did(format!("waited for {timeout:?}, which was over after {IDLE:?}"));
        let mut least = u64::MAX;
        // Not more often, because on a busy machine a wait that naps oversleeps, too.
        for _ in 0..3 {
            least = least.min(thread::scope(|scope| {
                if timeout.is_none() {
                    scope.spawn(|| {
                        thread::sleep(IDLE);
                        send(&theirs, b"x")
                    });
                }
                let before = sleeps()?;
                selector.select(timeout)?;
                Ok::<_, Stop>(sleeps()? - before)
            })?);
            drain(&ours)?;
            if least <= SLEEPS {
                break;
            }
        }
        case.expect_or(
            "the wait sleeps repeatedly and polls in between, instead of blocking in the kernel",
            least <= SLEEPS,
            "a wait that sleeps once, or twice",
            least,
        )?;
    }
    Ok(())
}
