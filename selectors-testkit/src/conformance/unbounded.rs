//! WAIT-2, WAIT-3: waits without a timeout, and long waits of the backend itself.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use selectors::{Backend, Events, Interest, Mode, Token, Watch};

use super::{Case, Outcome};
use crate::fixtures::{PairStream, borrow, drain, pair, signal_storm};

const READING: Watch = Watch::new(Interest::READ, Mode::Level);

/// The usual cause if waits without a timeout were never tested.
const NONE: &str = "`None` is treated as zero or as a finite timeout, or the wait resumes by \
    itself after a signal";

pub(super) fn wait_2_without_a_timeout_a_source_ends_it<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::READ, ())?;
    case.did("waited without a timeout until another thread wrote, ten times");
    for _ in 0..10 {
        let events = thread::scope(|scope| {
            scope.spawn(|| theirs.write_all(b"x"));
            selector.select(None)
        })?;
        case.because(NONE, case.only(&events, token))?;
        drain(&ours)?;
    }
    if !selector.capabilities().waker {
        return Ok(());
    }
    let waker = selector.waker()?;
    case.did("waited without a timeout until another thread woke it, ten times");
    for _ in 0..10 {
        let waker = waker.clone();
        let thread = thread::spawn(move || waker.wake().is_ok());
        let events = selector.select(None)?;
        case.expect_or(NONE, events.woken(), "a wake", &events)?;
        case.expect("whether waking succeeded", thread.join().unwrap_or(false), true)?;
    }
    Ok(())
}

pub(super) fn wait_2_without_a_timeout_a_signal_ends_it<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    for sources in [0, 1] {
        case.did(format!(
            "waited with the backend without a timeout, {sources} sources, for a signal"
        ));
        let mut backend = case.backend()?;
        if sources == 1 {
            backend.register(borrow(&ours), Token::from_bits(1), READING)?;
        }
        // More than once, because some backends poll first.
        let _storm = signal_storm(Duration::from_millis(3))?;
        for _ in 0..3 {
            let answer = backend.wait(&mut Events::new(), None).map_err(|error| error.kind());
            let interrupted = answer == Err(ErrorKind::Interrupted);
            case.expect_or(NONE, interrupted, "ErrorKind::Interrupted", answer)?;
        }
    }
    for sources in [0, 1] {
        case.did(format!(
            "waited likewise, interruptibly, through a selector of {sources} sources"
        ));
        let mut selector = case.selector::<&PairStream, ()>()?;
        selector.set_interruptible(true);
        if sources == 1 {
            selector.register(&ours, Interest::READ, ())?;
        }
        let _storm = signal_storm(Duration::from_millis(3))?;
        let events = selector.select(None)?;
        case.expect_or(NONE, events.interrupted(), "an interruption", &events)?;
        case.expect_tokens(&events, &[])?;
    }
    Ok(())
}

pub(super) fn wait_3_the_backend_waits_for_long<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    for sources in [0, 1] {
        let mut backend = case.backend()?;
        if sources == 1 {
            backend.register(borrow(&ours), Token::from_bits(1), READING)?;
        }
        for timeout in [Duration::from_millis(40), Duration::from_millis(20)] {
            case.did(format!("waited with the backend for {timeout:?}, with {sources} sources"));
            let (start, mut events) = (Instant::now(), Events::new());
            backend.wait(&mut events, Some(timeout))?;
            let waited = start.elapsed();
            case.expect_tokens(&events, &[])?;
            case.expect_or(
                "one system call of a wait that needs several is taken for the whole wait",
                waited >= timeout,
                &format!("a wait of at least {timeout:?}"),
                waited,
            )?;
        }
    }
    Ok(())
}
