//! REG-9, MOD-1, MODE-6: no call is the last one that works, and none of many is lost.

use selectors::{Backend, Interest, Mode, Readiness};

use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{borrow, duplicate, pair, send};

/// So many are registered at a time, and so many times: more than a table of a common size has room
/// for.
const SOURCES: usize = 16;
const ROUNDS: usize = 264;

/// More than twice what every hundredth, or every thousandth, could hide in.
const OFTEN: usize = 2_203;

const FULL: &str = "something is taken for each registration, and not given back when its source is \
                    unregistered: a slot of a table, a number, a queue's entry";

const LOST: &str = "changes are collected, or counted, and one is dropped when there is no room, or \
                    the count begins anew";

pub(super) fn reg_9_no_registration_is_the_last<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
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
            &format!("what it is watched for since change {number}: {expected:?}"),
            seen,
        )?;
    }
    Ok(())
}
