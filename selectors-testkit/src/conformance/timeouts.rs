//! WAIT-1: waits report the same events whatever their timeout.

use std::collections::BTreeMap;
use std::time::Duration;

use selectors::{Backend, Events, Interest, Mode, Readiness, Token, Watch};

use super::stale_readiness::modes;
use super::streams::PATIENTLY;
use super::{BOTH, Case, NOW, Outcome, Stop};
use crate::fixtures::{
    OwnedSource, borrow, duplicate, fill, if_any, is_ready, number_of, out_of_band, pair, pipe,
    regular_file, send, tcp_pair,
};

/// Each may take a different path through a backend: nothing, a fraction of the kernel's unit, whole units,
/// both, more than the kernel takes, and no limit.
const TIMEOUTS: [Option<Duration>; 6] = [
    NOW,
    Some(Duration::from_micros(700)),
    Some(Duration::from_secs(10)),
    Some(Duration::from_micros(10_000_500)),
    Some(Duration::MAX),
    None,
];

/// More than a batch of 64.
const MANY: usize = 70;

const ALIKE: &str = "waits without a timeout, or with a fine one, take another path, which misses a direction, hints, \
                     files, disarming, or events beyond a batch";

/// Sources that are ready, each with what it is watched for, and what keeps them ready.
#[derive(Default)]
struct Ready {
    sources: Vec<(OwnedSource, Watch)>,
    peers: Vec<OwnedSource>,
}

fn ready<B: Backend>(case: &Case<'_, B>) -> Result<Ready, Stop> {
    let Ready { mut sources, mut peers } = Ready::default();
    let (ours, theirs) = pair()?;
    send(&theirs, b"x")?;
    is_ready(&ours, Interest::READ, PATIENTLY)?;
    for mode in modes(case)? {
        for interest in [Interest::READ, Interest::WRITE, BOTH] {
            sources.push((duplicate(&ours)?, Watch::new(interest, mode)));
        }
        let (hung_up, _) = pair()?;
        is_ready(&hung_up, Interest::READ, PATIENTLY)?;
        sources.push((hung_up.into(), Watch::new(BOTH, mode)));
    }
    let level = |interest| Watch::new(interest, Mode::Level);
    for _ in 0..MANY {
        sources.push((duplicate(&ours)?, level(Interest::READ)));
    }
    peers.push(theirs.into());
    if let Some((reader, _)) = if_any(pipe())? {
        sources.push((reader, level(Interest::READ)));
    }
    if let Some(file) = if_any(regular_file())? {
        sources.push((file.into(), level(BOTH)));
    }
    if case.backend()?.capabilities().priority {
        let (ours, theirs) = tcp_pair()?;
        out_of_band(&theirs)?;
        is_ready(&ours, Interest::PRIORITY, PATIENTLY)?;
        peers.push(theirs.into());
        sources.push((ours.into(), level(Interest::PRIORITY)));
    }
    Ok(Ready { sources, peers })
}

/// What a wait reports of each source.
fn reported(events: &Events) -> BTreeMap<Token, Readiness> {
    let mut all = BTreeMap::new();
    for event in events {
        *all.entry(event.token()).or_insert(Readiness::empty()) |= event.readiness();
    }
    all
}

pub(super) fn wait_1_every_timeout_reports_the_same<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let Ready { sources, peers } = ready(case)?;
    let (idle, full) = (pair()?, pair()?);
    fill(&full.0)?;
    let mut backend = case.backend()?;
    let watched = (1..).map(Token::from_bits).zip(&sources);
    for (token, (source, watch)) in watched.clone() {
        backend.register(borrow(source), token, *watch)?;
    }
    let reads = Watch::new(Interest::READ, Mode::Level);
    backend.register(borrow(&idle.0), Token::from_bits(1_000), reads)?;
    let writes = Watch::new(Interest::WRITE, Mode::Level);
    backend.register(borrow(&full.0), Token::from_bits(1_001), writes)?;
    let mut first: Option<BTreeMap<_, _>> = None;
    for timeout in TIMEOUTS {
        case.did(format!(
            "had the backend wait for {timeout:?}, with {} sources of every readiness",
            sources.len()
        ));
        let mut events = Events::new();
        backend.wait(&mut events, timeout)?;
        let seen = reported(&events);
        let missing: Vec<_> =
            watched.clone().filter(|(token, _)| !seen.contains_key(token)).collect();
        case.expect_or(ALIKE, missing.is_empty(), "events of all of them", &missing)?;
        let first = first.get_or_insert_with(|| seen.clone());
        let others: Vec<_> =
            seen.iter().filter(|(token, is)| first.get(token) != Some(is)).collect();
        case.expect_or(ALIKE, others.is_empty(), "what the first wait has reported", others)?;
        events.clear();
        backend.wait(&mut events, NOW)?;
        for (token, (source, watch)) in watched.clone() {
            if matches!(watch.mode, Mode::Level | Mode::Exclusive) {
                continue;
            }
            let again = events.iter().find(|event| event.token() == token);
            let what = format!("nothing more of {watch:?} after it was reported");
            case.expect_or(ALIKE, again.is_none(), &what, again)?;
            backend.modify(number_of(source), token, *watch, *watch)?;
        }
    }
    drop(peers);
    Ok(())
}
