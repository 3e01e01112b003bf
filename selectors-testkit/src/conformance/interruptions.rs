//! WAIT-6: what a signal does to a wait.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use selectors::{Backend, Events, Interest, Token};

use super::waiting::{READING, lasts};
use super::{Case, NOW, Outcome};
use crate::fixtures::{borrow, drain, pair, signal_storm};

pub(super) fn wait_6_a_signal_does_not_end_the_wait<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut selector = case.selector()?;
    selector.register(&ours, Interest::READ, ())?;
    case.did("waited for 30 ms under a storm of signals");
    let storm = signal_storm(Duration::from_millis(1))?;
    let timeout = Duration::from_millis(30);
    for _ in 0..100 {
        let before = storm.handled();
        lasts(case, timeout, |timeout| Ok(selector.select(Some(timeout))?))?;
        // Other tests send signals as well; one that arrives now is most likely ours.
        if storm.handled() > before {
            return Ok(());
        }
    }
    Err(case.cannot_run("no signal arrived"))
}

pub(super) fn wait_6_no_event_is_lost<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::READ, ())?;
    case.did("waited for bytes from another thread, thirty times under a storm of signals");
    let _storm = signal_storm(Duration::from_micros(200))?;
    for _ in 0..30 {
        let events = std::thread::scope(|scope| {
            scope.spawn(|| {
                // After some signals have arrived, on a machine that is not too busy.
                std::thread::sleep(Duration::from_millis(1));
                theirs.write_all(b"x")
            });
            selector.select(case.long())
        })?;
        case.only(&events, token)?;
        drain(&ours)?;
    }
    if !selector.capabilities().waker {
        return Ok(());
    }
    case.did("had a signal interrupt it, and woke it, thirty times");
    let waker = selector.waker()?;
    selector.set_interruptible(true);
    for _ in 0..30 {
        let interrupted = selector.select(case.long())?.interrupted();
        case.expect("whether it was interrupted", interrupted, true)?;
        waker.wake()?;
        // Or a few times more, each time a signal comes before it.
        let woken = (0..1_000).find_map(|_| match selector.select(NOW) {
            Ok(events) if !events.woken() && events.interrupted() => None,
            events => Some(events.map(|events| events.woken())),
        });
        case.expect("whether it was woken", woken.transpose()?, Some(true))?;
    }
    Ok(())
}

pub(super) fn wait_6_on_request_a_signal_ends_it<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut selector = case.selector()?;
    selector.register(&ours, Interest::READ, ())?;
    selector.set_interruptible(true);
    case.did("waited for a signal that comes every 5 ms");
    let storm = signal_storm(Duration::from_millis(5))?;
    let events = selector.select(case.long())?;
    case.expect("whether it was interrupted", events.interrupted(), true)?;
    case.expect_tokens(&events, &[])?;
    case.did("waited with the backend in the same way");
    let mut backend = case.backend()?;
    backend.register(borrow(&ours), Token::from_bits(1), READING)?;
    let answer = backend.wait(&mut Events::new(), case.long()).map_err(|error| error.kind());
    case.expect("the result of the backend", answer, Err(ErrorKind::Interrupted))?;
    // Some facilities have another call for fine timeouts.
    let long = case.long().unwrap_or_default();
    for timeout in [Some(long), Some(long + Duration::from_micros(300)), None] {
        case.did(format!(
            "waited with the backend for {timeout:?}, until the first signal ends it"
        ));
        let mut handled = 0;
        // A signal may arrive before the wait begins.
        for _ in 0..20 {
            if handled != 1 {
                let before = storm.handled();
                let answer = backend.wait(&mut Events::new(), timeout).map_err(|it| it.kind());
                case.expect("the result of the backend", answer, Err(ErrorKind::Interrupted))?;
                handled = storm.handled() - before;
            }
        }
        case.expect_or(
            "the backend repeats a system call that was interrupted",
            handled == 1,
            "a wait that the first signal ends",
            format!("twenty waits that later ones ended, the last by signal {handled}"),
        )?;
    }
    Ok(())
}
