//! REG-9, MOD-1, MODE-6: no call is the last one that works, and none of many is lost.

use selectors::{Backend, Interest, Mode, Readiness};

use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{borrow, duplicate, pair, send};

/// More than a table of a common size has room for, and no multiple of a round number.
const MANY: usize = 4_201;

/// More than twice what every hundredth, or every thousandth, could hide in.
const OFTEN: usize = 2_203;

const FULL: &str = "something is taken for each registration, and not given back when its source is \
                    unregistered: a slot of a table, a number, a queue's entry";

const LOST: &str = "changes are collected, or counted, and one is dropped when there is no room, or \
                    the count begins anew";

pub(super) fn reg_9_no_registration_is_the_last<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = pair()?;
    let (other, _other_peer) = pair()?;
    send(&theirs, b"x")?;
    let mut selector = case.selector()?;
    let idle = selector.register(borrow(&other), Interest::READ, ())?;
    case.did(format!("registered and unregistered a ready source {MANY} times"));
    for number in 1..=MANY {
        let mode = if number % 2 == 0 { Mode::Level } else { Mode::OneShot };
        let token = selector.register_with(borrow(&ours), Interest::READ, (), mode)?;
        for what in ["registered it", "rearmed it"] {
            let events = selector.select(NOW)?;
            if events.len() != 1 {
                case.did(format!("{what} for the {number}th time, and waited"));
            }
            case.because(FULL, case.only(&events, token))?;
            selector.rearm(token)?;
        }
        selector.unregister(token)?;
    }
    selector.modify(idle, Interest::WRITE)?;
    case.only(&selector.select(case.long())?, idle).map(drop)
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
        let events = selector.select(NOW)?;
        let seen = events.iter().find(|event| event.token() == token);
        let seen = seen.map(|event| event.readiness() & Readiness::from(BOTH));
        let expected = selector.get(token).map(|key| Readiness::from(key.events));
        case.expect_or(
            LOST,
            seen == expected,
            &format!("what it is watched for since change {number}: {expected:?}"),
            seen,
        )?;
    }
    Ok(())
}
