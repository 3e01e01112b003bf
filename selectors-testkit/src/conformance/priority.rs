//! READY-9: out-of-band data in every mode, together with other readiness, and during changes of the
//! interest.

use std::net::TcpStream;

use selectors::{Backend, Interest, Mode, Readiness};

use super::stale_readiness::modes;
use super::streams::PATIENTLY;
use super::{Case, NOW, Outcome, Stop};
use crate::fixtures::{is_ready, out_of_band, send, tcp_pair};

const ALL: Interest = Interest::READ.union(Interest::WRITE).union(Interest::PRIORITY);

/// A socket with urgent data and, after it, ordinary data; and its peer.
fn urgent() -> Result<(TcpStream, TcpStream), Stop> {
    let (ours, theirs) = tcp_pair()?;
    out_of_band(&theirs)?;
    send(&theirs, b"x")?;
    is_ready(&ours, Interest::READ, PATIENTLY)?;
    Ok((ours, theirs))
}

fn has_priority<B: Backend>(case: &Case<'_, B>) -> Result<bool, Stop> {
    Ok(case.backend()?.capabilities().priority)
}

pub(super) fn ready_9_priority_in_every_mode<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    if !has_priority(case)? {
        return Ok(());
    }
    for mode in modes(case)?.into_iter().filter(|mode| *mode != Mode::Exclusive) {
        for interest in [Interest::PRIORITY, ALL - Interest::READ, ALL - Interest::WRITE, ALL] {
            let (ours, _theirs) = urgent()?;
            let mut selector = case.selector()?;
            case.did(format!(
                "registered a socket with urgent and other data for {interest:?}, {mode:?}"
            ));
            let token = selector.register_with(&ours, interest, (), mode)?;
            let expected = Readiness::from(interest);
            for _ in 0..2 {
                let event = case.only(&selector.select(case.long())?, token)?;
                case.expect("its readiness", event.readiness(), expected)?;
                case.did("waited again");
                let events = selector.select(NOW)?;
                if mode == Mode::Level {
                    let event = case.only(&events, token)?;
                    case.expect("its readiness", event.readiness(), expected)?;
                } else {
                    case.expect_tokens(&events, &[])?;
                }
                case.did("rearmed it");
                selector.rearm(token)?;
            }
        }
    }
    Ok(())
}

pub(super) fn ready_9_priority_comes_and_goes<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    if !has_priority(case)? {
        return Ok(());
    }
    let (ours, _theirs) = urgent()?;
    let mut selector = case.selector()?;
    case.did("registered a socket with urgent and other data for READ");
    let token = selector.register(&ours, Interest::READ, ())?;
    for interest in [
        Interest::READ,
        Interest::READ | Interest::PRIORITY,
        Interest::READ,
        Interest::PRIORITY,
        Interest::WRITE,
        ALL,
        Interest::PRIORITY | Interest::WRITE,
        Interest::empty(),
        Interest::PRIORITY,
        Interest::empty(),
        Interest::READ,
    ] {
        case.did(format!("modified it to {interest:?}"));
        selector.modify(token, interest)?;
        let events = selector.select(NOW)?;
        if interest.is_empty() {
            case.expect_tokens(&events, &[])?;
        } else {
            let event = case.only(&events, token)?;
            let (seen, expected) = (event.readiness(), Readiness::from(interest));
            let cause = if seen.contains(expected) {
                "a change leaves a part of the old interest"
            } else {
                "PRIORITY is requested only at registration and not by a modify, or other \
                 readiness hides it"
            };
            case.because(cause, case.expect("its readiness", seen, expected))?;
        }
    }
    Ok(())
}
