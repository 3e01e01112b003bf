//! WAIT-12, PROC-1, PROC-7: exhausted descriptors, signals of wakes, and wakes from signal handlers.

use std::time::Duration;

use selectors::backend::BorrowedSource;
use selectors::{Backend, Interest, Mode};

use super::{Case, NOW, Outcome, Stop, emulation};
use crate::fixtures::{
    LooseDescriptor, OwnedSource, PairStream, borrow, drain, duplicate, if_any,
    let_broken_pipes_kill, limit_descriptors, pair, regular_file, send, wake_in_handler,
};

const NEEDS_ONE: &str = "a wait or a later call opens a descriptor, or makes a call that fails \
    because of the limit: poll(2) returns EINVAL for more entries than the limit";

/// Uses up or limits the descriptors of this process.
fn take_away(how: &str, like: &PairStream) -> Result<Vec<OwnedSource>, Stop> {
    if how.starts_with("lowered") {
        limit_descriptors(0)?;
        return Ok(Vec::new());
    }
    let open = crate::fixtures::open_descriptors();
    limit_descriptors(u64::try_from(open).unwrap_or(0) + 8)?;
    let mut hog = Vec::new();
    while let Ok(another) = duplicate(like) {
        hog.push(another);
    }
    Ok(hog)
}

/// Handles events when there are no free descriptors.
fn serve<B: Backend>(case: &Case<'_, B>, how: &str) -> Outcome {
    let [(level, level_peer), (once, once_peer), (alive, alive_peer)] = [pair()?, pair()?, pair()?];
    let file = if_any(regular_file())?;
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    let waker = selector.waker().ok();
    let first = selector.register(borrow(&level), Interest::READ, ())?;
    let mode = Mode::OneShot;
    let second = selector.register_with(borrow(&once), Interest::READ, (), mode)?;
    let always = file.as_ref().map(|file| selector.register(borrow(file), Interest::READ, ()));
    let always = always.transpose()?;
    let loose = LooseDescriptor::duplicate(&alive)?;
    let ghost = selector.register(loose.borrow(), Interest::READ, ())?;
    selector.select(NOW)?;
    loose.close()?;
    selector.unregister(ghost)?;
    let _hog = take_away(how, &alive)?;
    for _ in 0..3 {
        send(&alive_peer, b"x")?;
        send(&level_peer, b"x")?;
        send(&once_peer, b"x")?;
        if let Some(waker) = &waker {
            waker.wake()?;
        }
        let mut expected = vec![first, second];
        expected.extend(always);
        let events = selector.select(case.long())?;
        case.because(NEEDS_ONE, case.expect_tokens(&events, &expected))?;
        case.expect("whether it was woken", events.woken(), waker.is_some())?;
        case.expect("whether it was woken again", selector.select(NOW)?.woken(), false)?;
        drain(&level)?;
        drain(&once)?;
        selector.rearm(second)?;
        if let Some(always) = always {
            selector.modify_with(always, Interest::READ, Mode::OneShot)?;
            case.only(&selector.select(case.long())?, always)?;
        }
        case.expect_tokens(&selector.select(Some(Duration::from_micros(1_200)))?, &[])?;
        if let Some(always) = always {
            selector.modify_with(always, Interest::READ, Mode::Level)?;
        }
    }
    selector.modify(first, Interest::WRITE)?;
    selector.unregister(second)?;
    let mut expected = vec![first];
    expected.extend(always);
    for timeout in [case.long(), None] {
        case.because(NEEDS_ONE, case.expect_tokens(&selector.select(timeout)?, &expected))?;
    }
    Ok(())
}

pub(super) fn wait_12_sources_are_served_without_free_descriptors<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let ways = ["used up all descriptors", "lowered the limit on descriptors to none"];
    case.backend()?;
    for how in &ways[..if emulation::is_any() { 1 } else { 2 }] {
        case.did(format!("in a forked child: {how}, and continued"));
        case.because(NEEDS_ONE, case.alone_in_forked_child(|| serve(case, how)))?;
    }
    Ok(())
}

pub(super) fn proc_7_a_signal_handler_may_wake<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector::<OwnedSource, ()>()?;
    if !selector.capabilities().waker {
        return Ok(());
    }
    let waker = selector.waker()?;
    let handler = wake_in_handler(&waker)?;
    case.did("a signal handler of this thread woke it, before waits and during them");
    let not_there = "waking takes a lock that the wait holds, allocates memory, or is done by \
        another thread";
    for _ in 0..3 {
        handler.signal()?;
        let woken = selector.select(NOW)?.woken();
        case.expect_or(not_there, woken, "a wake", woken)?;
    }
    for _ in 0..20 {
        let events = std::thread::scope(|scope| {
            scope.spawn(|| handler.signal());
            selector.select(case.long())
        })?;
        case.expect_or(not_there, events.woken(), "a wake", &events)?;
        case.expect("whether it was woken again", selector.select(NOW)?.woken(), false)?;
    }
    case.did("likewise, with interruptible waits");
    selector.set_interruptible(true);
    for _ in 0..20 {
        let woken = std::thread::scope(|scope| {
            scope.spawn(|| handler.signal());
            // One wait may report the interruption, and the next one the wake.
            let first = selector.select(case.long())?.woken();
            Ok::<_, selectors::Error>(first || selector.select(case.long())?.woken())
        })?;
        case.expect_or(not_there, woken, "a wake", woken)?;
    }
    case.expect("the number of failed wakes in the handler", handler.failures(), 0)
}

/// In a process that SIGPIPE ends.
fn wake_what_is_gone<B: Backend>(case: &Case<'_, B>) -> Outcome {
    let mut selector = case.selector::<OwnedSource, ()>()?;
    let waker = selector.waker()?;
    waker.wake()?;
    case.expect("whether it was woken", selector.select(case.long())?.woken(), true)?;
    let_broken_pipes_kill()?;
    drop(selector);
    for _ in 0..3 {
        waker.wake()?;
    }
    Ok(())
}

pub(super) fn proc_1_no_wake_raises_a_signal<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    if !case.backend()?.capabilities().waker {
        return Ok(());
    }
    case.did("in a forked child that does not ignore SIGPIPE: woke a selector that was dropped");
    let cause = "a wake is written to a pipe or a socket whose other end is closed, in a process that does not \
                 ignore SIGPIPE: keep the other end open, or use MSG_NOSIGNAL";
    case.because(cause, case.alone_in_forked_child(|| wake_what_is_gone(case)))
}
