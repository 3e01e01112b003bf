//! MOD-1, REG-5, REG-9, WAIT-7: many changes between two waits, many ready sources, and many
//! selectors.

use selectors::backend::BorrowedSource;
use selectors::{Backend, Events, Interest, Mode, Readiness};

use super::stale_readiness::modes;
use super::streams::{PATIENTLY, at_most};
use super::{BOTH, Case, NOW, Outcome, Stop};
use crate::fixtures::{
    OwnedSource, borrow, drain, duplicate, fill, half_closed, if_any, is_ready, out_of_band, pair,
    pipe, regular_file, send, tcp_pair,
};

/// More than fit into a queue of a common size, 256.
const MANY: usize = 300;

/// How often each is changed, which makes more changes than a queue of 4,096 has room for.
const TIMES: usize = 15;

const FULL: &str = "changes are queued for the next wait, and dropped when the queue is full";

pub(super) fn mod_1_many_changes_between_two_waits<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let twins: Vec<_> =
        (0..at_most(MANY, 4)?).map(|_| duplicate(&ours)).collect::<Result<_, _>>()?;
    let mut selector = case.selector()?;
    let register = |twin| selector.register(borrow(twin), Interest::READ, ());
    let tokens: Vec<_> = twins.iter().map(register).collect::<Result<_, _>>()?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    for (interest, times) in [(Interest::WRITE, 1), (BOTH, 1), (Interest::READ, 1), (BOTH, TIMES)] {
        let many = tokens.len();
        case.did(format!("modified {many} writable sources {times} times, last to {interest:?}"));
        for time in 1..=times {
            case.progress.tick();
            let interest = if (times - time) % 2 == 0 { interest } else { Interest::READ };
            tokens.iter().try_for_each(|token| selector.modify(*token, interest))?;
        }
        let expected = if interest == Interest::READ { &[][..] } else { &tokens };
        case.because(FULL, case.expect_tokens(&selector.select(NOW)?, expected))?;
    }
    Ok(())
}

pub(super) fn reg_9_many_are_unregistered_between_two_waits<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let twins: Vec<_> =
        (0..at_most(MANY, 4)?).map(|_| duplicate(&ours)).collect::<Result<_, _>>()?;
    let mut selector = case.counting()?;
    let rebuilds = selector.backend().calls().rebuild;
    for round in 0..2 {
        case.did(format!("registered {} ready sources, and waited", twins.len()));
        let register = |twin| selector.register(borrow(twin), Interest::READ, ());
        let tokens: Vec<_> = twins.iter().map(register).collect::<Result<_, _>>()?;
        case.because(FULL, case.expect_tokens(&selector.select(case.long())?, &tokens))?;
        if round == 0 {
            case.did(format!("unregistered them all, {TIMES} times, and waited for 5 ms"));
            tokens.into_iter().try_for_each(|token| selector.unregister(token).map(drop))?;
            for twin in twins.iter().cycle().take((TIMES - 1) * twins.len()) {
                case.progress.tick();
                let token = selector.register(borrow(twin), Interest::READ, ())?;
                selector.unregister(token)?;
            }
            let before = selector.backend().calls().wait;
            case.expect_tokens(&selector.select(Some(std::time::Duration::from_millis(5)))?, &[])?;
            let waits = selector.backend().calls().wait - before;
            case.expect_or(FULL, waits <= 10, "at most 10 calls of the backend's wait", waits)?;
            let rebuilds = selector.backend().calls().rebuild - rebuilds;
            let none = "no call of rebuild, because the kernel watches nothing";
            case.expect_or(FULL, rebuilds == 0, none, rebuilds)?;
        }
    }
    Ok(())
}

/// How many selectors a program may have: one for each of many threads.
const SELECTORS: usize = 100;

pub(super) fn reg_5_one_file_in_many_selectors<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    let few = at_most(SELECTORS, 8)?;
    case.did(format!("registered a socket with {few} selectors"));
    let mut selectors = Vec::new();
    for _ in 0..few {
        let mut selector = case.selector()?;
        let token = selector.register(borrow(&ours), Interest::READ, ())?;
        selectors.push((selector, token));
    }
    let one = "the number of backends in a process is limited, or they share state";
    send(&theirs, b"x")?;
    for (selector, token) in &mut selectors {
        case.because(one, case.only(&selector.select(case.long())?, *token))?;
    }
    case.did("dropped every second one");
    let mut number = 0;
    selectors.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    for (selector, token) in &mut selectors {
        case.because(one, case.only(&selector.select(case.long())?, *token))?;
    }
    Ok(())
}

pub(super) fn wait_7_every_kind_of_readiness_at_once<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let capabilities = case.backend()?.capabilities();
    let mut selector = case.selector()?;
    let (mut expected, mut peers): (_, Vec<OwnedSource>) = (Vec::new(), Vec::new());
    let mut add = |source: OwnedSource, interest, mode| {
        let token = selector.register_with(source, interest, (), mode)?;
        expected.push((token, Readiness::from(interest)));
        Ok::<_, Stop>(())
    };
    case.did("registered readable, writable, closed and half-closed sources in all modes");
    for mode in modes(case)? {
        for interest in [Interest::READ, Interest::WRITE, BOTH] {
            let (ours, theirs) = pair()?;
            send(&theirs, b"x")?;
            peers.push(theirs.into());
            add(ours.into(), interest, mode)?;
        }
        let (ours, _gone) = pair()?;
        add(ours.into(), Interest::READ, mode)?;
    }
    let (ours, theirs) = half_closed()?;
    is_ready(&ours, Interest::READ, PATIENTLY)?;
    peers.push(theirs.into());
    add(ours.into(), BOTH, Mode::Level)?;
    if let Some((_, writer)) = if_any(pipe())? {
        add(writer, Interest::WRITE, Mode::Level)?;
    }
    if let Some(file) = if_any(regular_file())? {
        add(file.into(), BOTH, Mode::Level)?;
    }
    if capabilities.priority {
        case.did("… and one with urgent data");
        let (ours, theirs) = tcp_pair()?;
        out_of_band(&theirs)?;
        is_ready(&ours, Interest::PRIORITY, PATIENTLY)?;
        peers.push(theirs.into());
        add(ours.into(), Interest::PRIORITY, Mode::Level)?;
    }
    case.did("… and some that are idle");
    let (idle, full) = (pair()?, pair()?);
    fill(&full.0)?;
    selector.register(idle.0.into(), Interest::READ, ())?;
    selector.register(full.0.into(), Interest::WRITE, ())?;
    let hidden = "sources with one kind of readiness, or in one mode, are reported first, and the \
        others only by the next wait";
    let tokens: Vec<_> = expected.iter().map(|(token, _)| *token).collect();
    let events = selector.select(case.long())?;
    case.because(hidden, case.expect_tokens(&events, &tokens))?;
    for (token, expected) in expected {
        let of_it = events.iter().find(|event| event.token() == token);
        let seen = of_it.map(|event| event.readiness() & Readiness::from(Interest::all()));
        case.because(hidden, case.expect("the readiness of each", seen, Some(expected)))?;
    }
    Ok(())
}

pub(super) fn wait_7_a_list_with_little_capacity<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let twins: Vec<_> = (0..5).map(|_| duplicate(&ours)).collect::<Result<_, _>>()?;
    for capacity in [0, 1, 4, 5] {
        for mode in modes(case)? {
            let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
            case.did(format!(
                "waited for five ready sources with a list of capacity {capacity}, {mode:?}"
            ));
            let register = |twin| selector.register_with(borrow(twin), Interest::READ, (), mode);
            let tokens: Vec<_> = twins.iter().map(register).collect::<Result<_, _>>()?;
            let mut events = Events::with_capacity(capacity);
            selector.select_into(&mut events, case.long())?;
            let cause =
                "the capacity of the list is taken for the number of wanted events: let it grow";
            case.because(cause, case.expect_tokens(&events, &tokens))?;
        }
    }
    drain(&ours)?;
    Ok(())
}

/// Sizes of lists, and more than the largest of them.
const THOUSANDS: [usize; 7] = [100, 512, 1_000, 1_024, 2_048, 4_096, 4_200];

pub(super) fn wait_7_thousands_are_ready_at_once<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let most = at_most(THOUSANDS[THOUSANDS.len() - 1], 4)?;
    let twins: Vec<_> = (0..most).map(|_| duplicate(&ours)).collect::<Result<_, _>>()?;
    let mut selector = case.selector()?;
    let mut tokens = Vec::new();
    let few = "the number of sources or events is limited";
    for many in THOUSANDS.map(|many| many.min(most)) {
        for twin in &twins[tokens.len()..many] {
            tokens.push(selector.register(borrow(twin), Interest::READ, ())?);
        }
        case.did(format!("waited for {many} ready sources"));
        case.because(few, case.expect_tokens(&selector.select(case.long())?, &tokens))?;
    }
    case.did("unregistered every second of them");
    for token in tokens.iter().step_by(2) {
        selector.unregister(*token)?;
    }
    tokens = tokens.into_iter().skip(1).step_by(2).collect();
    case.because(few, case.expect_tokens(&selector.select(case.long())?, &tokens))
}
