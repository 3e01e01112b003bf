//! CLOSE-4, CLOSE-5, WAIT-9: descriptors that are closed during calls, and events that survive a
//! recreated kernel object.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::BorrowedSource;
use selectors::{Backend, Interest, Mode, Readiness};

use super::close::FILE_BY_NUMBER;
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{
    LooseDescriptor, OwnedSource, borrow, duplicate, fill, if_any, is_close_on_exec, pair,
    regular_file, send,
};

const SHORT: Duration = Duration::from_millis(5);

pub(super) fn close_5_another_thread_closes_during_waits<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    const MANY: usize = 40;
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let idle: Vec<_> = (0..4).map(|_| pair()).collect::<Result<_, _>>()?;
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    let live = selector.register(borrow(&ours), Interest::READ, ())?;
    let mut loose = Vec::new();
    for at in 0..MANY {
        let source = LooseDescriptor::duplicate(&idle[at % idle.len()].0)?;
        selector.register(source.borrow(), Interest::READ, ())?;
        loose.push(source);
    }
    case.did(format!("another thread closed {MANY} idle sources, one by one, during waits"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for source in &loose {
                let _ = source.close();
                thread::yield_now();
            }
            over.store(true, Ordering::Release);
        });
        let mut outcome = Ok(());
        let mut rounds_left = 3;
        while rounds_left > 0 && outcome.is_ok() {
            rounds_left -= i32::from(over.load(Ordering::Acquire));
            outcome = selector.select(case.long()).map_err(Into::into).and_then(|events| {
                let lives = events.iter().any(|event| event.token() == live);
                case.expect_or(
                    "EBADF is returned because another thread closed a descriptor after it was \
                     checked: retry the call",
                    lives,
                    "the source that is ready",
                    &events,
                )?;
                let wrong = events.iter().find(|event| {
                    event.token() != live && !event.readiness().contains(Readiness::ERROR)
                });
                case.expect_or(
                    "select(2) reports a closed descriptor as ready: check whether it is open",
                    wrong.is_none(),
                    "a closed one to be an ERROR, or nothing",
                    wrong,
                )
            });
        }
        outcome
    })
}

pub(super) fn close_5_a_source_closed_during_a_wait_is_not_ready<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut interests = vec![Interest::READ, Interest::WRITE, BOTH];
    if case.backend()?.capabilities().priority {
        let urgent = Interest::PRIORITY;
        interests.extend([urgent, Interest::READ | urgent, Interest::WRITE | urgent]);
    }
    interests.into_iter().try_for_each(|interest| closed_during_a_wait(case, interest))
}

fn closed_during_a_wait<B: Backend>(case: &Case<'_, B>, interest: Interest) -> Outcome {
    let ((ours, theirs), (idle, _idle_peer)) = (pair()?, pair()?);
    // It is not writable, either.
    fill(&idle)?;
    case.did(format!(
        "waited for two idle sources, one of which, for {interest:?}, another thread closed before \
         it sent"
    ));
    let source = LooseDescriptor::duplicate(&idle)?;
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    let live = selector.register(borrow(&ours), Interest::READ, ())?;
    let closed = selector.register(source.borrow(), interest, ())?;
    thread::scope(|scope| {
        let closer = scope.spawn(|| {
            // Not before the wait, most of the time.
            thread::sleep(Duration::from_millis(10));
            source.close().and_then(|()| send(&theirs, b"x"))
        });
        let start = Instant::now();
        let events = loop {
            let patience = case.long();
            let events = selector.select(patience)?;
            let of_closed = events.iter().find(|event| event.token() == closed);
            case.expect_or(
                "select(2) reports a closed descriptor as ready: check whether it is open",
                of_closed.is_none_or(|event| event.readiness().contains(Readiness::ERROR)),
                "the closed one to be an ERROR, or nothing",
                of_closed,
            )?;
            // The closed one may be reported alone, and repeatedly, until the other one is ready.
            let alone = of_closed.is_some() && events.len() == 1;
            if !alone || patience.is_some_and(|patience| start.elapsed() > patience) {
                break events;
            }
        };
        if let Ok(sent) = closer.join() {
            sent?;
        }
        let lives = events.iter().any(|event| event.token() == live);
        case.expect_that(lives, "the source that is ready", &events)
    })
}

pub(super) fn close_5_a_reused_number_does_not_report_the_old_file<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut olds = vec![];
    if let Some(file) = if_any(regular_file())? {
        olds.push(("regular file", OwnedSource::from(file)));
    }
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    drop(theirs);
    olds.push(("readable socket", ours.into()));
    for mode in [Mode::Level, Mode::OneShot] {
        for (name, old) in &olds {
            let (idle, _idle_peer) = pair()?;
            let loose = LooseDescriptor::duplicate(old)?;
            let mut selector = case.selector()?;
            case.did(format!(
                "registered a {name}, {mode:?}, whose number became an idle socket's"
            ));
            let interest = Interest::READ;
            let token = selector.register_with(loose.borrow(), interest, (), mode)?;
            selector.select(NOW)?;
            // A fired source is not reported in any case.
            selector.rearm(token)?;
            if *name == "regular file" {
                loose.replace(&idle)?;
            } else {
                // No other descriptor refers to the open file.
                loose.close()?;
                loose.replace(&idle)?;
            }
            for _ in 0..2 {
                let events = selector.select(NOW)?;
                let wrong = events.iter().find(|event| {
                    event.token() != token || !event.readiness().contains(Readiness::ERROR)
                });
                // The old socket stays open, and a kernel that watches open files cannot notice the
                // close.
                let fine = wrong.is_none() || *name != "regular file";
                case.expect_or(FILE_BY_NUMBER, fine, "nothing, or an ERROR", wrong)?;
            }
            selector.unregister(token)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
        }
    }
    Ok(())
}

pub(super) fn close_4_a_new_kernel_object_keeps_all_state<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut selector = case.selector::<BorrowedSource<'_>, &str>()?;
    let capabilities = selector.capabilities();
    let (alive, peer) = pair()?;
    let (edge, edge_peer) = pair()?;
    let (fired, fired_peer) = pair()?;
    let (exclusive, exclusive_peer) = pair()?;
    let (parked, parked_peer) = pair()?;
    let file = if_any(regular_file())?;
    let waker = selector.waker().ok();
    case.did("registered sources in every mode, a parked one, and a file; let some fire");
    let mut lasting = Vec::new();
    if let Some(file) = &file {
        lasting.push(selector.register(borrow(file), Interest::READ, "file")?);
    }
    let mode = |mode, has| if has { mode } else { Mode::Level };
    let edges = mode(Mode::Edge, capabilities.edge);
    let edge = selector.register_with(borrow(&edge), Interest::READ, "edge", edges)?;
    let exclusives = mode(Mode::Exclusive, capabilities.exclusive);
    let read = Interest::READ;
    let exclusive = selector.register_with(borrow(&exclusive), read, "exclusive", exclusives)?;
    selector.register(borrow(&parked), Interest::empty(), "parked")?;
    send(&parked_peer, b"x")?;
    send(&fired_peer, b"x")?;
    let once = Mode::OneShot;
    let mut fired = vec![selector.register_with(borrow(&fired), read, "fired", once)?];
    let fired_file = if_any(regular_file())?;
    if let Some(file) = &fired_file {
        fired.push(selector.register_with(borrow(file), read, "fired file", once)?);
    }
    selector.select(case.long())?;
    case.did("closed a duplicate that was registered, unregistered it, and made the file ready");
    let loose = LooseDescriptor::duplicate(&alive)?;
    let ghost = selector.register(loose.borrow(), Interest::READ, "ghost")?;
    selector.select(NOW)?;
    loose.close()?;
    selector.unregister(ghost)?;
    send(&peer, b"x")?;
    for _ in 0..3 {
        case.expect_tokens(&selector.select(Some(SHORT))?, &lasting)?;
    }
    if let Some(own) = selector.backend().descriptor() {
        case.expect("whether its descriptor is close-on-exec", is_close_on_exec(own)?, true)?;
    }
    case.did("woke it, and made the others ready");
    if let Some(waker) = waker {
        waker.wake()?;
        case.expect("whether it was woken", selector.select(case.long())?.woken(), true)?;
        case.expect("whether it was woken again", selector.select(NOW)?.woken(), false)?;
    }
    send(&edge_peer, b"x")?;
    send(&exclusive_peer, b"x")?;
    let mut all = lasting.clone();
    all.extend([edge, exclusive]);
    let forgets = "some state of the old kernel object is not copied to the new one";
    case.because(forgets, case.expect_tokens(&selector.select(case.long())?, &all))?;
    if capabilities.edge {
        all.retain(|&token| token != edge);
    }
    case.because(forgets, case.expect_tokens(&selector.select(NOW)?, &all))?;
    case.did("rearmed the fired ones");
    for &token in &fired {
        selector.rearm(token)?;
    }
    let before = all.clone();
    all.extend(&fired);
    case.because(forgets, case.expect_tokens(&selector.select(NOW)?, &all))?;
    case.because(forgets, case.expect_tokens(&selector.select(NOW)?, &before))?;
    for token in fired {
        selector.unregister(token)?;
    }
    case.expect_tokens(&selector.select(NOW)?, &before)?;
    drop(duplicate(&alive)?);
    Ok(())
}

pub(super) fn wait_9_a_failed_rebuild_loses_nothing<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    const FAILURES: usize = 3;
    const LOST: &str = "a failure to recreate the kernel object is returned, or events taken from \
        the old one are dropped";
    let [(level, level_peer), (once, once_peer), (idle, _idle_peer)] = [pair()?, pair()?, pair()?];
    let mut selector = case.with_ghost::<BorrowedSource<'_>, ()>(FAILURES)?;
    let capabilities = selector.capabilities();
    let waker = if capabilities.waker { Some(selector.waker()?) } else { None };
    let level = selector.register(borrow(&level), Interest::READ, ())?;
    let mode = Mode::OneShot;
    let once = selector.register_with(borrow(&once), Interest::READ, (), mode)?;
    selector.register(borrow(&idle), Interest::READ, ())?;
    send(&level_peer, b"x")?;
    send(&once_peer, b"x")?;
    waker.as_ref().map_or(Ok(()), selectors::Waker::wake)?;
    case.did("made the backend report a ghost, and recreating the kernel object fail");
    let first = case.because(LOST, selector.select(case.long()).map_err(Into::into))?;
    case.because(LOST, case.expect_tokens(&first, &[level, once]))?;
    case.because(LOST, case.expect("whether it was woken", first.woken(), waker.is_some()))?;
    // The next attempt may come after as many waits as there are sources.
    for _ in 0..10 * FAILURES {
        let events = case.because(LOST, selector.select(NOW).map_err(Into::into))?;
        case.because(LOST, case.only(&events, level).map(drop))?;
        case.expect("whether it was woken again", events.woken(), false)?;
    }
    let tries = selector.backend().calls().rebuild;
    let what = "the number of attempts to recreate the kernel object";
    let again = "after `rebuild` has succeeded, the backend reports the ghost again, or a one-shot \
        source that has fired";
    case.because(again, case.expect(what, tries, FAILURES + 1))?;
    case.did("continued with the new kernel object");
    selector.rearm(once)?;
    case.expect_tokens(&selector.select(case.long())?, &[level, once])?;
    selector.unregister(level)?;
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])
}
