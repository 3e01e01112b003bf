//! Rare situations: listeners with several pending connections, wakes together with events, numbers
//! at the end of a word, selectors that change threads.

use std::thread;
use std::time::Duration;

use selectors::{Backend, Events, Interest, Mode, Readiness};

use super::{Case, NOW, Outcome, Stop};
use crate::fixtures::{
    OwnedSource, above, borrow, drain, duplicate, listener_with_pending, number_of, pair, send,
};

pub(super) fn ready_5_a_listener_stays_ready_until_all_are_accepted<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (listener, _first) = listener_with_pending()?;
    let address = listener.local_addr()?;
    let _second = std::net::TcpStream::connect(address)?;
    let mut selector = case.selector()?;
    case.did("registered a listener with two pending connections");
    let token = selector.register(&listener, Interest::READ, ())?;
    let once =
        "a listener is reported when a connection arrives, and not as long as one is pending";
    for accepted in 0..2 {
        for _ in 0..2 {
            case.did(format!("waited, with {accepted} of two accepted"));
            let events = selector.select(case.long())?;
            case.because(once, case.only(&events, token))?;
        }
        listener.accept()?;
    }
    case.did("waited, with both accepted");
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("connected once more, one-shot, and accepted after it was rearmed");
    let _third = std::net::TcpStream::connect(address)?;
    selector.modify_with(token, Interest::READ, Mode::OneShot)?;
    for _ in 0..2 {
        case.because(once, case.only(&selector.select(case.long())?, token))?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        selector.modify(token, Interest::READ)?;
    }
    listener.accept()?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn proc_1_a_zero_timeout_sees_a_wake<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector::<OwnedSource, ()>()?;
    if !selector.capabilities().waker {
        return Ok(());
    }
    let waker = selector.waker()?;
    let (ours, theirs) = pair()?;
    for sources in [0, 1] {
        case.did(format!("woke it, and waited with a zero timeout, with {sources} sources"));
        for _ in 0..3 {
            waker.wake()?;
            let events = selector.select(NOW)?;
            case.expect("whether it was woken", events.woken(), true)?;
            case.expect("whether it was woken again", selector.select(NOW)?.woken(), false)?;
        }
        if sources == 0 {
            selector.register(borrow(&ours).try_clone_to_owned()?, Interest::READ, ())?;
        }
    }
    drop(theirs);
    Ok(())
}

pub(super) fn proc_2_a_wake_hides_no_event<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector()?;
    if !selector.capabilities().waker {
        return Ok(());
    }
    let waker = selector.waker()?;
    for round in 0..4 {
        let (ours, theirs) = pair()?;
        let (other, other_peer) = pair()?;
        case.did("made two one-shot sources ready, woke it meanwhile, and waited twice");
        let mode = Mode::OneShot;
        let first = selector.register_with(ours, Interest::READ, (), mode)?;
        let second = selector.register_with(other, Interest::READ, (), mode)?;
        send(&theirs, b"x")?;
        if round % 2 == 0 {
            waker.wake()?;
            send(&other_peer, b"x")?;
        } else {
            send(&other_peer, b"x")?;
            waker.wake()?;
        }
        let mut events = selector.select(case.long())?;
        let woken = events.woken();
        let again = selector.select(NOW)?;
        case.expect("whether it was woken", (woken, again.woken()), (true, false))?;
        events.extend(again);
        case.expect_tokens(&events, &[first, second])?;
        selector.unregister(first)?;
        selector.unregister(second)?;
    }
    Ok(())
}

pub(super) fn proc_2_a_reused_list_does_not_keep_the_wake<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut selector = case.selector::<OwnedSource, ()>()?;
    if !selector.capabilities().waker {
        return Ok(());
    }
    let waker = selector.waker()?;
    let mut events = Events::new();
    case.did("woke it, and used the same list for two waits");
    waker.wake()?;
    selector.select_into(&mut events, case.long())?;
    case.expect("whether it was woken", events.woken(), true)?;
    selector.select_into(&mut events, NOW)?;
    case.expect("whether it was woken again", events.woken(), false)?;
    case.did("cleared a list of a wait that was woken");
    waker.wake()?;
    selector.select_into(&mut events, case.long())?;
    events.clear();
    case.expect("whether the cleared list is woken", events.woken(), false)
}

pub(super) fn proc_2_no_wake_is_lost_beside_events<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let mut selector = case.selector::<OwnedSource, ()>()?;
    if !selector.capabilities().waker {
        return Ok(());
    }
    case.did("waited, and only then asked for a waker");
    let token = selector.register(duplicate(&ours)?, Interest::READ, ())?;
    case.only(&selector.select(case.long())?, token)?;
    let waker = selector.waker()?;
    let mut tokens = vec![token];
    // With no ready source, one, a batch, and more than a batch; the first two more often than a
    // byte can count.
    for (many, times) in [(0, 300), (1, 300), (64, 40), (100, 40)] {
        while tokens.len() > many {
            tokens.pop().map_or(Ok(()), |token| selector.unregister(token).map(drop))?;
        }
        while tokens.len() < many {
            tokens.push(selector.register(duplicate(&ours)?, Interest::READ, ())?);
        }
        case.did(format!("woke it {times} times, with {many} ready sources"));
        for wakes in 0..times {
            waker.wake()?;
            let events = selector.select(if wakes % 2 == 0 { NOW } else { case.long() })?;
            case.expect("whether it was woken", events.woken(), true)?;
            if wakes < 3 {
                case.expect_tokens(&events, &tokens)?;
                case.expect("whether it was woken again", selector.select(NOW)?.woken(), false)?;
            }
        }
    }
    Ok(())
}

pub(super) fn wait_8_the_last_bit_of_a_word<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let mut tried = 0;
    // If the requested number is taken, the duplicate gets another one, which is skipped.
    for number in (31..2048).step_by(32).filter(|number| number % 64 == 63 || *number < 300) {
        let Ok(high) = above(&ours, number - 1) else { break };
        let mut selector = case.selector()?;
        let fd = number_of(&high);
        if selector.capabilities().max_descriptor.is_some_and(|limit| fd > limit) {
            break;
        }
        tried += usize::from(fd == number);
        case.did(format!("registered descriptor {fd}, and no higher one"));
        let interest = Interest::READ | Interest::WRITE;
        let token = selector.register(high, interest, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::from(interest))?;
        selector.modify(token, Interest::READ)?;
        case.only(&selector.select(case.long())?, token)?;
        selector.unregister(token)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    if tried == 0 {
        return Err(case.cannot_run("no descriptor got a requested number"));
    }
    Ok(())
}

pub(super) fn proc_6_a_selector_changes_threads<B: Backend + Send>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, theirs) = pair()?;
    let (other, other_peer) = pair()?;
    let selector = case.selector()?;
    case.did("registered sources on a thread that has ended, and waited on this one");
    let filled = thread::scope(|scope| {
        let fill = || -> Result<_, Stop> {
            let mut selector = selector;
            let token = selector.register(&ours, Interest::READ, ())?;
            let once = selector.register_with(&other, Interest::READ, (), Mode::OneShot)?;
            let waker = selector.waker().ok();
            selector.select(NOW)?;
            Ok((selector, token, once, waker))
        };
        scope.spawn(fill).join()
    });
    let panicked = |_| Stop::panicked("on another thread");
    let (mut selector, token, once, waker) = filled.map_err(panicked)??;
    send(&theirs, b"x")?;
    case.only(&selector.select(case.long())?, token)?;
    if let Some(waker) = &waker {
        waker.wake()?;
        case.expect("whether it was woken", selector.select(case.long())?.woken(), true)?;
    }
    case.did("modified it here, and waited on a third thread");
    selector.modify(token, Interest::READ | Interest::WRITE)?;
    send(&other_peer, b"x")?;
    let long = case.long();
    let waited = thread::scope(|scope| {
        let wait = move || -> Result<_, Stop> {
            let events = selector.select(long)?;
            Ok((selector, events))
        };
        scope.spawn(wait).join()
    });
    let (mut selector, events) = waited.map_err(panicked)??;
    case.expect_tokens(&events, &[token, once])?;
    case.did("unregistered one and rearmed the other here");
    selector.unregister(token)?;
    selector.modify(once, Interest::READ)?;
    case.only(&selector.select(case.long())?, once)?;
    drain(&other)?;
    selector.modify(once, Interest::READ)?;
    case.expect_tokens(&selector.select(Some(Duration::from_millis(1)))?, &[])
}
