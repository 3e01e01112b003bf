//! REG-9, MOD-1, READY-1, MODE-6, WAIT-7: thousands of repetitions of one call, none of which may fail or
//! be lost.

use selectors::{Backend, Events, Interest, Mode, Readiness, Token, Watch};

use super::stale_readiness::modes;
use super::{BOTH, Case, NOW, Outcome, Stop};
use crate::fixtures::{borrow, drain, duplicate, fill, number_of, pair, send};

const READ: Interest = Interest::READ;

/// The number of sources registered at a time, and of rounds: more than fit into a table of a
/// common size.
const SOURCES: usize = 16;
const ROUNDS: usize = 264;

/// More than twice as often as needed to find a defect in every hundredth or thousandth call.
pub(super) const OFTEN: usize = 2_203;

const FULL: &str = "a registration takes a slot of a table, a number or an entry of a queue, which \
    unregistering does not release";

const SOMETIMES: &str = "sometimes readiness is reported without a call of the kernel, or a source \
    that was idle for long is not watched any more";

const LOST: &str = "changes are queued or counted, and one is lost when the queue is full or the \
    counter wraps around";

pub(super) fn reg_9_registering_never_stops_working<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let pairs: Vec<_> = (0..SOURCES).map(|_| pair()).collect::<Result<_, _>>()?;
    pairs.iter().try_for_each(|(_, theirs)| send(theirs, b"x").map(drop))?;
    let mut selector = case.selector()?;
    case.did(format!("registered and unregistered {SOURCES} ready sources {ROUNDS} times"));
    for round in 1..=ROUNDS {
        let mut tokens = Vec::new();
        for (number, (ours, _)) in pairs.iter().enumerate() {
            let mode = if number % 2 == 0 { Mode::Level } else { Mode::OneShot };
            let answer = selector.register_with(borrow(ours), Interest::READ, (), mode);
            let what = format!("no error in round {round}");
            case.expect_or(FULL, answer.is_ok(), &what, answer.as_ref().map(drop))?;
            tokens.push(answer?);
        }
        let steps = ["registered", "rearmed"];
        for what in steps.into_iter().take(if round % 8 == 0 { 2 } else { 1 }) {
            let events = selector.select(NOW)?;
            if events.len() != tokens.len() {
                case.did(format!("{what} them in round {round}, and waited"));
            }
            case.because(FULL, case.expect_tokens(&events, &tokens))?;
            tokens.iter().try_for_each(|token| selector.rearm(*token))?;
        }
        tokens.into_iter().try_for_each(|token| selector.unregister(token).map(drop))?;
    }
    Ok(())
}

pub(super) fn mod_1_every_change_counts<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let mut selector = case.selector()?;
    let twin = duplicate(&ours)?;
    let first = selector.register(borrow(&ours), Interest::READ, ())?;
    let second = selector.register(borrow(&twin), Interest::READ, ())?;
    let all = [Interest::WRITE, BOTH, Interest::READ];
    case.did(format!("modified two sources that are readable and writable {OFTEN} times"));
    for number in 1..=OFTEN {
        let interest = all[number % all.len()];
        let token = if number % 7 < 4 { first } else { second };
        selector.modify(token, interest)?;
        let expected = Some(Readiness::from(interest));
        let events = selector.select(NOW)?;
        let seen = events.iter().find(|event| event.token() == token);
        let seen = seen.map(|event| event.readiness() & Readiness::from(BOTH));
        case.expect_or(
            LOST,
            seen == expected,
            &format!("the interest since change {number}: {expected:?}"),
            seen,
        )?;
    }
    Ok(())
}

pub(super) fn mode_6_arming_never_stops_working<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let mut selector = case.selector()?;
    let twin = duplicate(&ours)?;
    let once = selector.register_with(borrow(&ours), Interest::READ, (), Mode::OneShot)?;
    let edges = if selector.capabilities().edge { Mode::Edge } else { Mode::OneShot };
    let edge = selector.register_with(borrow(&twin), Interest::READ, (), edges)?;
    let (mut events, mut armed) = (Events::new(), vec![once, edge]);
    case.did(format!("armed a one-shot and an edge-triggered source {OFTEN} times"));
    for number in 0..OFTEN {
        selector.select_into(&mut events, NOW)?;
        case.because(LOST, case.expect_tokens(&events, &armed))?;
        // Now and then each alone, and in both ways.
        armed = match number % 5 {
            0 => vec![once],
            1 => vec![edge],
            _ => vec![once, edge],
        };
        for &token in &armed {
            match number % 3 {
                0 => selector.modify(token, BOTH).and_then(|()| selector.modify(token, READ))?,
                _ => selector.rearm(token)?,
            }
        }
    }
    Ok(())
}

pub(super) fn ready_1_no_wait_of_many_reports_idle_sources<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (idle, full) = (pair()?, pair()?);
    fill(&full.0)?;
    let mut selector = case.selector()?;
    let (mut twins, mut events, mut tokens) = (Vec::new(), Events::new(), Vec::new());
    for mode in modes(case)? {
        twins.push((duplicate(&idle.0)?, Interest::READ, mode));
        twins.push((duplicate(&full.0)?, Interest::WRITE, mode));
    }
    for (twin, interest, mode) in &twins {
        tokens.push(selector.register_with(borrow(twin), *interest, (), *mode)?);
    }
    case.did(format!("waited with a zero timeout {OFTEN} times, with idle sources in every mode"));
    for number in 1..=OFTEN {
        selector.select_into(&mut events, NOW)?;
        if !events.is_empty() {
            case.did(format!("this was wait {number}"));
        }
        case.because(SOMETIMES, case.expect_tokens(&events, &[]))?;
    }
    case.did("made them ready");
    send(&idle.1, b"x")?;
    drain(&full.1)?;
    case.because(SOMETIMES, case.expect_tokens(&selector.select(case.long())?, &tokens))
}

/// More often than 16 bits can count.
const BEYOND_16_BITS: usize = (1 << 16) + 2;

const WRAPS: &str = "a counter of 16 bits wraps around, or a kernel object expires and is not \
    renewed";

pub(super) fn reg_9_no_number_is_used_up<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let (mut backend, fd) = (case.backend()?, number_of(&ours));
    case.did(format!(
        "registered and unregistered a source with the backend {BEYOND_16_BITS} times"
    ));
    let (watch, mut events) = (Watch::new(READ, Mode::Level), Events::new());
    for number in 1..=BEYOND_16_BITS {
        let token = Token::from_bits(number as u64);
        case.because(WRAPS, backend.register(borrow(&ours), token, watch).map_err(Stop::from))?;
        if number % 4_096 < 2 || number == BEYOND_16_BITS {
            case.progress.tick();
            events.clear();
            backend.wait(&mut events, NOW)?;
            case.because(WRAPS, case.only(&events, token).map(drop))?;
        }
        case.because(WRAPS, backend.unregister(fd, token, watch).map_err(Stop::from))?;
    }
    events.clear();
    backend.wait(&mut events, NOW)?;
    case.expect_tokens(&events, &[])
}

pub(super) fn wait_7_events_never_stop<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    let mut backend = case.backend()?;
    let token = Token::from_bits(1);
    backend.register(borrow(&ours), token, Watch::new(READ, Mode::Level))?;
    case.did(format!("made the backend report a source {BEYOND_16_BITS} times"));
    let mut events = Events::new();
    for number in 0..BEYOND_16_BITS {
        if number % 1_024 == 0 {
            case.progress.tick();
        }
        events.clear();
        backend.wait(&mut events, NOW)?;
        if events.len() != 1 {
            break;
        }
    }
    case.because(WRAPS, case.only(&events, token).map(drop))
}
