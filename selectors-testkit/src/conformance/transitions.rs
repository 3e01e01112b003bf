//! MOD-1, MODE-2: changes from every mode to every other, and unrequested readiness of one-shot
//! sources.

use std::net::Shutdown;

use selectors::{Backend, Event, Interest, Mode, Readiness};

use super::stale_readiness::modes;
use super::{Case, NOW, Outcome};
use crate::fixtures::{drain, fill, pair, send};

pub(super) fn mod_1_every_mode_changes_to_every_other<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let modes = modes(case)?;
    let pairs = modes.iter().flat_map(|from| modes.iter().map(move |to| (*from, *to)));
    for (from, to) in pairs.filter(|(from, to)| from != to) {
        for fires in [false, true] {
            let (ours, theirs) = pair()?;
            let mut selector = case.selector()?;
            case.did(format!("registered a socket, {from:?}; it was reported: {fires}"));
            let token = selector.register_with(&ours, Interest::READ, (), from)?;
            if fires {
                send(&theirs, b"x")?;
                case.only(&selector.select(case.long())?, token)?;
            } else {
                case.expect_tokens(&selector.select(NOW)?, &[])?;
            }
            case.did(format!("modified it to {to:?}, with the same interest"));
            selector.modify_with(token, Interest::READ, to)?;
            if !fires {
                case.expect_tokens(&selector.select(NOW)?, &[])?;
                send(&theirs, b"x")?;
            }
            for what in ["waited", "sent another byte, and waited"] {
                case.did(what);
                if what != "waited" {
                    send(&theirs, b"y")?;
                    if to == Mode::OneShot {
                        case.expect_tokens(&selector.select(NOW)?, &[])?;
                        continue;
                    }
                }
                case.only(&selector.select(case.long())?, token)?;
                let lasts = matches!(to, Mode::Level | Mode::Exclusive);
                let expected = if lasts { &[token][..] } else { &[] };
                case.expect_tokens(&selector.select(NOW)?, expected)?;
            }
        }
    }
    Ok(())
}

const USED_UP: &str = "the kernel is asked for more than the interest (POLLRDHUP with POLLOUT, \
    READ with WRITE), and an unrequested report disarms the source, or counts as its edge";

pub(super) fn mode_2_masked_readiness_does_not_fire<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for mode in modes(case)? {
        case.did(format!("registered a full socket for WRITE, {mode:?}"));
        let (ours, theirs) = pair()?;
        fill(&ours)?;
        let mut selector = case.selector()?;
        let token = selector.register_with(&ours, Interest::WRITE, (), mode)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("its peer sent a byte, and then no more");
        send(&theirs, b"x")?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        socket2::SockRef::from(&theirs).shutdown(Shutdown::Write)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("its peer drained it");
        drain(&theirs)?;
        let event = case.because(USED_UP, case.only(&selector.select(case.long())?, token))?;
        case.expect_or(USED_UP, event.is_writable(), "WRITE", event)?;

        case.did(format!("registered a writable socket for READ, {mode:?}, and filled it"));
        let (ours, theirs) = pair()?;
        let token = selector.register_with(&ours, Interest::READ, (), mode)?;
        selector.select(NOW)?;
        fill(&ours)?;
        drain(&theirs)?;
        let reported = selector.select(NOW)?;
        case.expect("its events", reported.iter().any(|event| event.token() == token), false)?;
        case.did("sent it a byte");
        send(&theirs, b"x")?;
        let events = selector.select(case.long())?;
        let seen = events.iter().find(|event| event.token() == token).map(Event::readiness);
        case.expect_or(USED_UP, seen == Some(Readiness::READ), "READ", seen)?;
    }
    Ok(())
}
