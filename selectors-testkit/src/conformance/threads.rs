//! PROC: other threads, forked children, panics.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use selectors::{Backend, Event, Events, Interest, Token, Waker};

use super::counts::OFTEN;
use super::{Case, NOW, Outcome, Stop, Subject};
use crate::fixtures::{OwnedSource, borrow, drain, in_forked_child, open_descriptors, pair};

const LOST: &str = "wakes are counted, and one is lost when the counter wraps around";

type Wakeable<B> = (Subject<OwnedSource, (), B>, Waker);

/// A selector without sources, and its waker, if the backend supports it.
fn with_waker<B: Backend>(case: &Case<'_, B>) -> Result<Option<Wakeable<B>>, Stop> {
    let mut selector = case.selector()?;
    let declared = selector.capabilities().waker;
    let answer = selector.waker();
    let waker = case.declared_or_refused(declared, answer)?;
    Ok(waker.map(|waker| (selector, waker)))
}

pub(super) fn proc_1_a_wake_ends_a_wait<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let Some((mut selector, waker)) = with_waker(case)? else { return Ok(()) };
    case.did("woke it before the wait");
    waker.wake()?;
    let events = selector.select(case.long())?;
    case.expect("whether it was woken", events.woken(), true)?;
    case.expect_tokens(&events, &[])?;
    case.did("woke it from another thread during the wait, thirty times");
    for _ in 0..30 {
        let waker = waker.clone();
        let thread = thread::spawn(move || waker.wake());
        let events = selector.select(case.long())?;
        case.expect("whether it was woken", events.woken(), true)?;
        thread.join().map_err(|_| Stop::broken("  the thread panicked"))??;
    }
    case.did("with a source registered and ready");
    let (ours, mut theirs) = pair()?;
    let token = selector.register(ours.into(), Interest::READ, ())?;
    theirs.write_all(b"x")?;
    case.only(&selector.select(case.long())?, token)?;
    waker.wake()?;
    let events = selector.select(case.long())?;
    case.expect("whether it was woken", events.woken(), true)?;
    case.expect("the number of sources", selector.len(), 1)?;
    case.expect("the number of listed sources", selector.iter().count(), 1)
}

pub(super) fn proc_1_a_waker_outlives_its_selector<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let Some((selector, waker)) = with_waker(case)? else { return Ok(()) };
    case.did("dropped the selector, and woke it many times");
    drop(selector);
    for _ in 0..10 {
        waker.wake()?;
    }
    case.did("made another selector, and waited without blocking");
    let mut other = case.selector::<OwnedSource, ()>()?;
    let events = other.select(NOW)?;
    case.expect("whether that one was woken", events.woken(), false)
}

pub(super) fn proc_1_every_waker_wakes<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector::<OwnedSource, ()>()?;
    if !selector.capabilities().waker {
        return Ok(());
    }
    let first = selector.waker()?;
    let wakers = [first.clone(), selector.waker()?, selector.waker()?.clone()];
    drop(first);
    for (number, waker) in wakers.iter().enumerate() {
        case.did(format!("created three wakers, and woke it with the {number}th, counted from 0"));
        waker.wake()?;
        case.expect("whether it was woken", selector.select(case.long())?.woken(), true)?;
        case.expect("whether it was woken again", selector.select(NOW)?.woken(), false)?;
    }
    Ok(())
}

pub(super) fn proc_2_many_wakes_are_one<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let Some((mut selector, waker)) = with_waker(case)? else { return Ok(()) };
    for round in 0..20 {
        case.did("woke it many times, then waited twice");
        for _ in 0..=round * 10 {
            waker.wake()?;
        }
        case.expect("whether it was woken", selector.select(case.long())?.woken(), true)?;
        let again = selector.select(NOW)?;
        case.expect("whether it was woken again", again.woken(), false)?;
    }
    Ok(())
}

pub(super) fn proc_2_no_wake_is_lost<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let Some((mut selector, waker)) = with_waker(case)? else { return Ok(()) };
    case.did("exchanged three hundred messages with a thread, each with a wake");
    let (sender, receiver) = mpsc::channel();
    let (answers, questions) = mpsc::channel();
    let thread = thread::spawn(move || {
        for number in 0..300 {
            sender.send(number).ok()?;
            waker.wake().ok()?;
            // Sometimes two wakes end the same wait.
            if number % 3 == 0 {
                questions.recv().ok()?;
            }
        }
        Some(())
    });
    let mut expected = 0;
    while expected < 300 {
        let events = selector.select(case.long())?;
        case.expect("whether it was woken", events.woken(), true)?;
        while let Ok(number) = receiver.try_recv() {
            case.expect("the message", number, expected)?;
            if number % 3 == 0 {
                let _ = answers.send(());
            }
            expected += 1;
        }
    }
    drop(answers);
    thread.join().map_err(|_| Stop::broken("  the thread panicked"))?;
    Ok(())
}

pub(super) fn proc_2_wakes_never_stop<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let Some((mut selector, waker)) = with_waker(case)? else { return Ok(()) };
    case.did(format!("woke it {OFTEN} times, and waited with a zero timeout after each"));
    for number in 1..=OFTEN {
        waker.wake()?;
        let events = selector.select(NOW)?;
        if !events.woken() {
            case.did(format!("this was wake {number}"));
        }
        case.expect_or(LOST, events.woken(), "a wake", &events)?;
    }
    Ok(())
}

pub(super) fn proc_2_a_wake_is_for_one_selector<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let Some((mut one, waker)) = with_waker(case)? else { return Ok(()) };
    let Some((mut two, other)) = with_waker(case)? else { return Ok(()) };
    let shared = "selectors of one thread or process share the channel of their wakers";
    for _ in 0..3 {
        case.did("woke one of two selectors, and then the other");
        waker.wake()?;
        case.expect_or(shared, !two.select(NOW)?.woken(), "no wake of the other", "a wake")?;
        case.expect_or(shared, one.select(case.long())?.woken(), "a wake of the one", "none")?;
        other.wake()?;
        case.expect_or(shared, !one.select(NOW)?.woken(), "no wake of the one", "a wake")?;
        case.expect_or(shared, two.select(case.long())?.woken(), "a wake of the other", "none")?;
        case.did("woke both");
        [&waker, &other].into_iter().try_for_each(Waker::wake)?;
        let woken = (one.select(case.long())?.woken(), two.select(case.long())?.woken());
        case.expect_or(shared, woken == (true, true), "wakes of both", woken)?;
    }
    case.did("dropped the other");
    drop(two);
    waker.wake()?;
    case.expect_or(shared, one.select(case.long())?.woken(), "a wake of the one", "none")
}

pub(super) fn proc_3_wakers_tokens_and_events_cross_threads<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    fn crosses<S: Send + 'static>(_: &S) {}
    crosses(&Events::new());
    let Some((mut selector, waker)) = with_waker(case)? else { return Ok(()) };
    case.did("shared a waker between threads, and sent events to another");
    let (ours, mut theirs) = pair()?;
    let token = selector.register(ours.into(), Interest::READ, ())?;
    theirs.write_all(b"x")?;
    let events = selector.select(case.long())?;
    let tokens: Vec<Token> = thread::spawn(move || events.iter().map(Event::token).collect())
        .join()
        .map_err(|_| Stop::broken("  the thread panicked"))?;
    case.expect("the tokens", tokens, vec![token])?;
    selector.unregister(token)?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| waker.wake())).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    case.expect("whether it was woken", selector.select(case.long())?.woken(), true)
}

pub(super) fn proc_4_a_forked_copy_changes_nothing<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (ours, mut theirs) = pair()?;
    let (one_shot, mut one_shot_peer) = pair()?;
    let mut slot = Some(case.selector()?);
    let Some(selector) = &mut slot else { return Ok(()) };
    let token = selector.register(borrow(&ours), Interest::READ, ())?;
    let mode = selectors::Mode::OneShot;
    let once = selector.register_with(borrow(&one_shot), Interest::READ, (), mode)?;
    case.did("forked a child that dropped its copy of the selector");
    let fine = in_forked_child(|| drop(slot.take()))?;
    case.expect("whether the child succeeded", fine, true)?;
    let Some(selector) = &mut slot else { return Ok(()) };
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    theirs.write_all(b"x")?;
    one_shot_peer.write_all(b"x")?;
    case.expect_tokens(&selector.select(case.long())?, &[token, once])?;
    case.did("modified and unregistered them in the parent");
    selector.modify(token, Interest::READ | Interest::WRITE)?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("WRITE", event.is_writable(), true)?;
    selector.unregister(token)?;
    selector.unregister(once)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn proc_5_a_panic_leaves_the_selector_usable<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::READ, 0)?;
    theirs.write_all(b"x")?;
    case.did("panicked while handling an event");
    let panic = catch_unwind(AssertUnwindSafe(|| -> Result<(), selectors::Error> {
        for event in selector.select(case.long())? {
            if let Some(key) = selector.get_mut(event.token()) {
                *key.data += 1;
                // No message, because the panic is intended.
                std::panic::resume_unwind(Box::new("handled"));
            }
        }
        Ok(())
    }));
    case.expect("whether it panicked", panic.is_err(), true)?;
    case.expect("the data", selector.get(token).map(|key| *key.data), Some(1))?;
    case.only(&selector.select(case.long())?, token)?;
    drain(&ours)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    selector.unregister(token)?;
    case.expect("the number of sources", selector.len(), 0)
}

/// How many selectors are made.
const ROUNDS: usize = 20;

pub(super) fn proc_6_a_selector_outlives_its_thread<B: Backend + Send>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let own = "a resource belongs to the thread that created the backend: it ends with it, or is freed only there";
    let (ours, mut theirs) = pair()?;
    let panicked = |_| Stop::panicked("on another thread");
    let new = case.new;
    drop(case.backend()?);
    case.did(format!(
        "used {ROUNDS} selectors, each made by a thread that has ended, and dropped by another"
    ));
    let before = open_descriptors();
    for _ in 0..ROUNDS {
        let made = thread::scope(|scope| scope.spawn(new).join()).map_err(panicked)?;
        let mut selector = Subject::new(made?, case.defect);
        let waker = selector.waker().ok();
        let token = selector.register(borrow(&ours), Interest::READ, ())?;
        theirs.write_all(b"x")?;
        case.because(own, case.only(&selector.select(case.long())?, token))?;
        drain(&ours)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        if let Some(waker) = waker {
            waker.wake()?;
            case.expect_or(own, selector.select(case.long())?.woken(), "a wake", "none")?;
        }
        thread::scope(|scope| scope.spawn(move || drop(selector)).join()).map_err(panicked)?;
    }
    case.because(own, case.expect_descriptors(before, ROUNDS))
}
