//! WAIT-6, REG-9, REG-12: state of the program, its process and its files, which a backend must not
//! change.

use std::io::{ErrorKind, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use selectors::{Backend, Events, Interest, Mode, Token, Watch};

use super::file_kinds::is_special;
use super::stale_readiness::modes;
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{
    Kind, OwnedSource, ProcessState, blocked_signal, borrow, drain, every_kind, file_settings,
    if_any, pair, process_state, receive, regular_file, reset_process_state, send, signal_storm,
    threads,
};

/// A timeout of whole milliseconds, and a finer one.
const SHORT: [Duration; 2] = [Duration::from_millis(2), Duration::from_micros(1_300)];

const MASK: &str = "a wait (ppoll, pselect, epoll_pwait) uses another signal mask than that of the \
    thread, or sets a mask and does not restore it";

/// Fails if the state has changed.
fn as_before<B: Backend>(case: &Case<'_, B>, before: &ProcessState, since: &str) -> Outcome {
    let changes = before.changes(&process_state()?);
    let what = format!("the same state of thread and process as before, after it {since}");
    case.expect_that(changes.is_empty(), &what, changes)
}

/// Uses selectors in every way that could change process state.
fn use_selectors<B: Backend>(case: &Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    // Installs a handler, which stays installed.
    drop(signal_storm(Duration::from_secs(1))?);
    reset_process_state()?;
    let before = process_state()?;
    let mut selector = case.selector()?;
    let waker = selector.waker().ok();
    let token = selector.register(borrow(&ours), Interest::READ, ())?;
    let file = if_any(regular_file())?;
    let file = file.as_ref().map(|file| selector.register(borrow(file), Interest::READ, ()));
    as_before(case, &before, "registered sources")?;
    if let Some(file) = file.transpose()? {
        selector.select(NOW)?;
        selector.unregister(file)?;
    }
    let mut backend = case.backend()?;
    backend.register(borrow(&ours), Token::from_bits(1), Watch::new(BOTH, Mode::OneShot))?;
    for timeout in SHORT.map(Some).into_iter().chain([NOW, None]) {
        let waited = format!("waited for {timeout:?}");
        if timeout.is_none() {
            send(&theirs, b"x")?;
        }
        selector.select(timeout)?;
        as_before(case, &before, &waited)?;
        drain(&ours)?;
        if let Some(waker) = &waker {
            waker.wake()?;
            selector.select(timeout)?;
            as_before(case, &before, "was woken")?;
        }
        backend.wait(&mut Events::new(), timeout.or(NOW))?;
        as_before(case, &before, &waited)?;
    }
    let storm = signal_storm(Duration::from_micros(500))?;
    selector.select(Some(Duration::from_millis(3)))?;
    selector.set_interruptible(true);
    selector.select(case.long())?;
    drop(storm);
    as_before(case, &before, "was interrupted by a signal")?;
    selector.modify_with(token, BOTH, Mode::OneShot)?;
    selector.select(NOW)?;
    selector.unregister(token)?;
    drop((selector, backend));
    as_before(case, &before, "was dropped")
}

pub(super) fn reg_12_process_settings_do_not_change<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    // Checked here, because a forked child cannot report it.
    process_state()?;
    case.did("in a forked child: used a selector and a backend");
    let cause = "a setting for a wait or a call is not restored on every path";
    // In a child, which no other test has changed.
    case.because(cause, case.alone_in_forked_child(|| use_selectors(case)))
}

pub(super) fn wait_6_a_blocked_signal_stays_blocked<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    let (mut selector, mut backend) = (case.selector()?, case.backend()?);
    let token = selector.register(&ours, Interest::READ, ())?;
    backend.register(borrow(&ours), token, Watch::new(Interest::READ, Mode::Level))?;
    selector.set_interruptible(true);
    let signal = blocked_signal()?;
    for timeout in SHORT {
        case.did(format!("waited for {timeout:?}, while a blocked signal was pending"));
        let events = selector.select(Some(timeout))?;
        let quiet = !events.interrupted() && signal.is_pending()?;
        case.expect_or(MASK, quiet, "a wait that the signal does not end", &events)?;
        let answer = backend.wait(&mut Events::new(), Some(timeout)).map_err(|error| error.kind());
        case.expect_or(MASK, answer.is_ok(), "a wait that the signal does not end", answer)?;
        case.expect_or(MASK, signal.is_pending()?, "a signal that is still pending", "none")?;
    }
    case.did("waited without a timeout, with a source that is ready");
    send(&theirs, b"x")?;
    let events = selector.select(None)?;
    case.because(MASK, case.only(&events, token))?;
    case.expect_or(MASK, signal.is_pending()?, "a signal that is still pending", "none")
}

/// The result of reading from a file.
fn read(source: &OwnedSource) -> Result<usize, ErrorKind> {
    receive(source, &mut [0; 16]).map_err(|error| error.kind())
}

/// The timeouts of waits that may take different paths.
const WAITS: [Option<Duration>; 3] =
    [NOW, Some(Duration::from_micros(1)), Some(Duration::from_micros(300))];

/// Registers a file, waits, modifies it, and unregisters it or drops the selector.
fn use_file<B: Backend>(
    case: &Case<'_, B>,
    source: &OwnedSource,
    (mode, timeout): (Mode, Option<Duration>),
    unregisters: bool,
) -> Outcome {
    let mut selector = case.selector()?;
    let token = selector.register_with(borrow(source), Interest::READ, (), mode)?;
    selector.select(timeout)?;
    selector.modify(token, BOTH)?;
    selector.select(timeout)?;
    if unregisters {
        selector.unregister(token)?;
    }
    Ok(())
}

pub(super) fn reg_9_files_do_not_change<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let modes = modes(case)?;
    // The others are not touched.
    let (kinds, others) = (every_kind()?, every_kind()?);
    for (Kind { name, source, .. }, Kind { source: other, .. }) in kinds.iter().zip(&others) {
        let before = file_settings(borrow(source))?;
        for unregisters in [true, false] {
            let watchable = modes.iter().filter(|mode| !is_special(name, **mode));
            for (&mode, timeout) in watchable.zip(WAITS.into_iter().cycle()) {
                use_file(case, source, (mode, timeout), unregisters)?;
            }
            let last = if unregisters { "unregistered it" } else { "dropped the selector" };
            case.did(format!("registered {name} in every mode, waited, modified it, and {last}"));
            let mut changes = file_settings(borrow(source))?;
            changes.retain(|name, value| before.get(name) != Some(value));
            let cause = "a flag or an option is set to learn more, or to be restored later";
            let what = format!("the same settings of {name} as before");
            case.expect_or(cause, changes.is_empty(), &what, changes)?;
        }
        let cause = "a read or a seek tests whether the file can be read";
        let what = format!("the data read from {name}");
        case.because(cause, case.expect(&what, read(source), read(other)))?;
    }
    Ok(())
}

/// How often selectors are created.
const ROUNDS: usize = 40;

pub(super) fn reg_12_no_thread_is_leaked<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (ours, theirs) = pair()?;
    case.did(format!("created, used and dropped {ROUNDS} selectors with a waker"));
    let before = threads()?;
    for _ in 0..ROUNDS {
        let mut selector = case.selector()?;
        let waker = selector.waker().ok();
        let token = selector.register(borrow(&ours), Interest::READ, ())?;
        selector.select(Some(Duration::from_micros(100)))?;
        waker.map_or(Ok(()), |waker| waker.wake())?;
        selector.select(NOW)?;
        send(&theirs, b"x")?;
        selector.select(case.long())?;
        drain(&ours)?;
        selector.unregister(token)?;
    }
    // Threads of other tests may start or end meanwhile.
    for _ in 0..200 {
        if threads()?.saturating_sub(before) < ROUNDS / 2 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let more = threads()?.saturating_sub(before);
    let cause = "a thread that polls, or waits for a timeout, does not end with its selector";
    case.expect_or(cause, more < ROUNDS / 2, "about as many threads as before", more)
}

pub(super) fn reg_12_child_processes_are_not_reaped<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    if cfg!(windows) {
        return Err(case.cannot_run("this system has no child processes to wait for"));
    }
    case.alone()?;
    let (ours, _theirs) = pair()?;
    let mut selector = case.selector()?;
    selector.register(&ours, Interest::READ, ())?;
    case.did("started a program, and waited often after it had ended");
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn()?;
    child.stdout.take().map_or(Ok(0), |mut end| end.read(&mut [0]))?;
    for _ in 0..20 {
        selector.select(Some(Duration::from_millis(1)))?;
    }
    let answer = child.wait().map_err(|error| error.kind());
    let reaped = "waitpid(2) of any child, for one that the backend has started, takes the status of \
                  the program's children";
    case.expect_or(reaped, answer.is_ok(), "the status of the child", answer)
}
