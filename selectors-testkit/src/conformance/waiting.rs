//! WAIT: how long a wait lasts, and what ends it.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use selectors::backend::RawSource;
use selectors::{Backend, Error, Event, Events, Interest, Mode, Readiness, Token, Watch};

use super::stale_readiness::modes;
use super::streams::at_most;
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{above, borrow, drain, if_any, number_of, pair, send, signal_storm};

const READING: Watch = Watch::new(Interest::READ, Mode::Level);

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
fn lasts<B: Backend>(
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

pub(super) fn wait_7_every_ready_source_gets_its_turn<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    // More than a batch of a thousand, which is a common size.
    let sources = at_most(1100, 4)?;
    let mut selector = case.selector()?;
    let mut waiting = Vec::new();
    case.did(format!("registered {sources} sources that stay ready"));
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    for number in 1..=sources {
        waiting.push(selector.register(ours.try_clone()?, Interest::READ, ())?);
        // Whatever the capacity of the backend is: its list is full, or almost full.
        let odd = [number - 1, number, number + 1].iter().any(|number| number.is_power_of_two());
        if odd || number == sources {
            case.expect_tokens(&selector.select(NOW)?, &waiting)?;
        }
    }
    let mut rounds = 0;
    while !waiting.is_empty() && rounds < sources {
        rounds += 1;
        let events = selector.select(case.long())?;
        case.expect_that(!events.is_empty(), "some of the ready sources", &events)?;
        let reported: BTreeSet<_> = events.iter().map(Event::token).collect();
        waiting.retain(|token| !reported.contains(token));
    }
    case.expect(&format!("the sources that were not reported in {rounds} waits"), waiting.len(), 0)
}

pub(super) fn wait_8_descriptors_above_1024<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    high_descriptor(case, 1024)
}

pub(super) fn wait_8_descriptors_above_65536<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    // Too high for 16 bits with a sign, and without one.
    high_descriptor(case, 33_000)?;
    high_descriptor(case, 65_536)
}

fn high_descriptor<B: Backend>(case: &mut Case<'_, B>, number: RawSource) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let high = match above(&ours, number) {
        Ok(high) => high,
        Err(error) => return Err(case.cannot_run(format!("no descriptor above {number}: {error}"))),
    };
    let fd = number_of(&high);
    let mut selector = case.selector()?;
    let limit = selector.capabilities().max_descriptor;
    case.did(format!("registered descriptor {fd}"));
    let answer = selector.register(high, Interest::READ | Interest::WRITE, ());
    if let Some(limit) = limit.filter(|&limit| fd > limit) {
        let fields = match answer.map_err(|refused| refused.error) {
            Err(Error::DescriptorOutOfRange { fd, limit, .. }) => Some((fd, limit)),
            _ => None,
        };
        return case.expect("DescriptorOutOfRange's fields", fields, Some((fd, limit)));
    }
    let token = answer?;
    let (low, _low_peer) = pair()?;
    let low = selector.register(low.into(), Interest::WRITE, ())?;
    theirs.write_all(b"x")?;
    let events = selector.select(case.long())?;
    case.expect_tokens(&events, &[token, low])?;
    let both = Readiness::READ | Readiness::WRITE;
    let seen = events.iter().find(|event| event.token() == token).map(Event::readiness);
    case.expect("its readiness", seen, Some(both))?;
    selector.modify(token, Interest::READ)?;
    selector.unregister(low)?;
    case.only(&selector.select(case.long())?, token)?;
    selector.unregister(token)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn wait_8_high_descriptors_in_every_mode<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let Some(high) = above(&ours, 1024).ok() else {
        return Err(case.cannot_run("no descriptor above 1024"));
    };
    let limit = case.backend()?.capabilities().max_descriptor;
    if limit.is_some_and(|limit| number_of(&high) > limit) {
        return Ok(());
    }
    for mode in modes(case)? {
        for interest in [Interest::READ, Interest::WRITE, BOTH] {
            let mut selector = case.selector()?;
            case.did(format!("registered a high descriptor for {interest:?}, {mode:?}"));
            let token = selector.register_with(borrow(&high), interest, (), mode)?;
            let event = case.only(&selector.select(case.long())?, token)?;
            let seen = event.readiness() & Readiness::from(Interest::all());
            case.expect("its readiness", seen, Readiness::from(interest))?;
            selector.modify_with(token, Interest::WRITE, Mode::OneShot)?;
            case.only(&selector.select(case.long())?, token)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
        }
    }
    Ok(())
}

pub(super) fn wait_9_the_backend_appends<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut backend = case.backend()?;
    let (there, token) = (Token::from_bits(1), Token::from_bits(2));
    backend.register(borrow(&ours), token, READING)?;
    let mut events = Events::new();
    events.push(Event::new(there, Readiness::READ));
    case.did("waited with the backend and a list with an event");
    backend.wait(&mut events, case.long())?;
    case.expect_tokens(&events, &[there, token])?;
    case.did("waited until a signal arrived");
    drain(&ours)?;
    let Some(_storm) = if_any(signal_storm(Duration::from_millis(2)))? else { return Ok(()) };
    let answer = backend.wait(&mut events, case.long()).map_err(|error| error.kind());
    case.expect("the result of the backend", answer, Err(ErrorKind::Interrupted))?;
    case.expect_tokens(&events, &[there, token])
}

pub(super) fn wait_9_select_into_replaces<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, Interest::READ, ())?;
    let mut events = Events::new();
    case.did("waited with a list that contained an event of another selector");
    events.push(Event::new(Token::from_bits(u64::MAX / 3), Readiness::WRITE));
    for _ in 0..2 {
        selector.select_into(&mut events, case.long())?;
        case.only(&events, token)?;
    }
    case.did("waited in vain");
    drain(&ours)?;
    selector.select_into(&mut events, NOW)?;
    case.expect_tokens(&events, &[])
}

pub(super) fn wait_10_an_unregistered_source_has_no_key<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut selector = case.selector()?;
    let mut peers = Vec::new();
    for number in 0..3 {
        let (ours, mut theirs) = pair()?;
        theirs.write_all(b"x")?;
        peers.push(theirs);
        selector.register(ours, Interest::READ, number)?;
    }
    case.did("unregistered the others while handling the first of three events");
    let events = selector.select(case.long())?;
    case.expect("the number of events", events.len(), 3)?;
    let mut batch = events.iter();
    let Some(first) = batch.next() else { return Ok(()) };
    let mut freed = Vec::new();
    for event in batch.clone() {
        freed.push(selector.unregister(event.token())?.0);
    }
    case.did("registered them again, in the vacant slots");
    for ours in freed {
        selector.register(ours, Interest::READ, 100)?;
    }
    case.expect("whether the first has a key", selector.get(first.token()).is_some(), true)?;
    for event in batch {
        let data = selector.get(event.token()).map(|key| *key.data);
        case.expect("the key of an unregistered source", data, None)?;
    }
    let events = selector.select(case.long())?;
    for event in &events {
        case.expect("whether it has a key", selector.contains(event.token()), true)?;
    }
    case.expect("the number of events", events.len(), 3)
}
