//! REG-12: no call leaks a descriptor, or memory, however often it is called.

use std::time::Duration;

use selectors::backend::{BorrowedSource, Registered};
use selectors::{Backend, Events, Interest, Mode, Token, Waker, Watch};

use super::rebuilding::{leave_a_ghost, rebuild};
use super::{BOTH, Case, NOW, Outcome, Subject};
use crate::fixtures::{
    LooseDescriptor, PairStream, borrow, closed_number, drain, if_any, most_memory, number_of,
    open_descriptors, pair, regular_file, send, signal_storm, with_raw,
};

const READING: Watch = Watch::new(Interest::READ, Mode::Level);

/// Requests that backends refuse.
const REFUSED: Watch = Watch::new(Interest::PRIORITY, Mode::Exclusive);

/// The repetitions: more than threads of other tests may open descriptors meanwhile.
const TIMES: usize = 120;

type Selector<'a, B> = Subject<BorrowedSource<'a>, (), B>;

/// Registers closed descriptors, and ones that cannot be watched.
fn refuse<'a, B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Selector<'a, B>,
    ours: &'a PairStream,
) -> Outcome {
    // Accepted if changes are deferred.
    let answer = with_raw(closed_number()?, |fd| selector.register(fd, BOTH, ()));
    if let Ok(token) = answer {
        selector.select(NOW)?;
        selector.unregister(token)?;
    }
    let (mut backend, token) = (case.backend()?, Token::from_bits(1));
    if backend.register(borrow(ours), token, REFUSED).is_ok() {
        backend.unregister(number_of(ours), token, REFUSED)?;
    }
    Ok(())
}

/// Modifies to an interest that is not supported.
fn refuse_to_modify<B: Backend>(case: &Case<'_, B>, ours: &PairStream) -> Outcome {
    let (mut backend, fd, token) = (case.backend()?, number_of(ours), Token::from_bits(1));
    backend.register(borrow(ours), token, READING)?;
    let answer = backend.modify(fd, token, READING, REFUSED);
    let watch = if answer.is_ok() { REFUSED } else { READING };
    Ok(backend.unregister(fd, token, watch)?)
}

fn modify<'a, B: Backend>(selector: &mut Selector<'a, B>, ours: &'a PairStream) -> Outcome {
    let token = selector.register(borrow(ours), Interest::READ, ())?;
    selector.modify(token, BOTH)?;
    selector.select(NOW)?;
    selector.modify_with(token, Interest::WRITE, Mode::OneShot)?;
    selector.select(NOW)?;
    selector.unregister(token)?;
    Ok(())
}

fn watch_file<'a, B: Backend>(
    selector: &mut Selector<'a, B>,
    file: Option<BorrowedSource<'a>>,
) -> Outcome {
    let Some(file) = file else { return Ok(()) };
    let token = selector.register_with(file, BOTH, (), Mode::OneShot)?;
    selector.select(NOW)?;
    selector.modify(token, BOTH)?;
    selector.select(NOW)?;
    selector.unregister(token)?;
    Ok(())
}

pub(super) fn reg_12_no_call_leaks<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (ours, _theirs) = pair()?;
    let ends = pair()?;
    let file = if_any(regular_file())?;
    let file = file.as_ref().map(borrow);
    let mut selector = case.selector()?;
    for what in [
        "refused calls",
        "modifications",
        "refused modifications",
        "timed waits",
        "files",
        "ghosts",
    ] {
        case.did(format!("made {TIMES} {what}"));
        let before = open_descriptors();
        for _ in 0..TIMES {
            match what {
                "refused calls" => refuse(case, &mut selector, &ours)?,
                "modifications" => modify(&mut selector, &ours)?,
                "refused modifications" => refuse_to_modify(case, &ours)?,
                "timed waits" => drop(selector.select(Some(Duration::from_micros(200)))?),
                "files" => watch_file(&mut selector, file)?,
                _ => {
                    leave_a_ghost(&mut selector, &ends)?;
                    selector.select(NOW)?;
                    drain(&ends.0)?;
                }
            }
        }
        case.expect_descriptors(before, TIMES)?;
    }
    Ok(())
}

/// Waits that end in each way.
fn wait<B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Selector<'_, B>,
    waker: Option<&Waker>,
) -> Outcome {
    let before = open_descriptors();
    for _ in 0..TIMES {
        waker.map_or(Ok(()), Waker::wake)?;
        selector.select(None)?;
    }
    case.expect_descriptors(before, TIMES)
}

pub(super) fn reg_12_no_wait_leaks<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (ours, theirs) = pair()?;
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    if selector.capabilities().waker {
        case.did(format!("woke it {TIMES} times"));
        let waker = selector.waker()?;
        wait(case, &mut selector, Some(&waker))?;
    }
    send(&theirs, b"x")?;
    let mut busy = Vec::new();
    for many in [1, 70] {
        while busy.len() < many {
            let another = LooseDescriptor::duplicate(&ours)?;
            selector.register(another.borrow(), Interest::READ, ())?;
            busy.push(another);
        }
        case.did(format!("waited {TIMES} times without a timeout, with {many} ready sources"));
        wait(case, &mut selector, None)?;
    }
    drain(&ours)?;
    let Some(_storm) = if_any(signal_storm(Duration::from_micros(100)))? else { return Ok(()) };
    case.did(format!("waited for a signal {TIMES} times"));
    selector.set_interruptible(true);
    wait(case, &mut selector, None)
}

/// How often each call is made, and how much of the memory it may have kept then: less than 32 bytes each
/// time.
const CALLS: usize = 10_000;
const MOST: usize = 320_000;

/// Makes every call that a server makes for each of its clients, and some that it makes rarely.
fn serve<B: Backend>(case: &Case<'_, B>, times: usize) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let (mut backend, fd, token) = (case.backend()?, number_of(&ours), Token::from_bits(1));
    let other = Watch::new(BOTH, Mode::OneShot);
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    let waker = selector.waker().ok();
    let closed = closed_number()?;
    let mut events = Events::new();
    for number in 0..times {
        case.progress.tick();
        backend.register(borrow(&ours), token, READING)?;
        backend.wait(&mut events, [NOW, Some(Duration::from_micros(1)), None][number % 3])?;
        backend.modify(fd, token, READING, other)?;
        backend.wait(&mut events, NOW)?;
        let refused = Token::from_bits(2);
        if with_raw(closed, |fd| backend.register(fd, refused, READING)).is_ok() {
            // Deferred.
            backend.unregister(closed, refused, READING)?;
        }
        if number % 10 == 0 {
            rebuild(&mut backend, &[Registered::new(fd, token, other)], &mut events)?;
            drop(case.backend()?);
        }
        if number % 4 == 0 {
            waker.iter().try_for_each(Waker::wake)?;
            selector.select(NOW)?;
        }
        backend.unregister(fd, token, other)?;
        events.clear();
    }
    Ok(())
}

pub(super) fn reg_12_no_call_leaks_memory<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    most_memory()?;
    case.did(format!(
        "in a forked child: registered, modified, woke and unregistered {CALLS} times, and waited"
    ));
    // In a child, where no other thread allocates.
    let outcome = case.alone_in_forked_child(|| {
        serve(case, CALLS / 10)?;
        let before = most_memory()?;
        serve(case, CALLS)?;
        let more = most_memory()?.saturating_sub(before);
        case.expect_that(more < MOST, &format!("less than {MOST} bytes more than before"), more)
    });
    let kept = "a list of registrations, changes or events grows with each call";
    case.because(kept, outcome)
}
