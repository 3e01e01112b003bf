//! READY-4: every state of a socket, with every interest, compared with poll(2).

use std::io;
use std::net::Shutdown;

use selectors::{Backend, Interest, Mode, Readiness, Token};

use super::stale_readiness::modes;
use super::streams::{PATIENTLY, REQUESTABLE, Stream, TCP, stream_pairs, truth};
use super::{Case, NOW, Outcome, Subject};
use crate::fixtures::{OwnedSource, duplicate, fill, is_ready, send};

/// How often a check is repeated if the network has changed the state meanwhile.
const TRIES: usize = 200;

/// The operations that were applied to a socket.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "they can be combined")]
struct State {
    unread: bool,
    urgent: bool,
    full: bool,
    half_closed: bool,
}

impl State {
    /// All combinations.
    fn all() -> impl Iterator<Item = Self> {
        (0..16).map(|bits| Self {
            unread: bits & 1 != 0,
            urgent: bits & 2 != 0,
            full: bits & 4 != 0,
            half_closed: bits & 8 != 0,
        })
    }

    fn describe(self, name: &str) -> String {
        let mut what = format!("a {name} socket");
        for (is, state) in [
            (self.unread, "unread data"),
            (self.urgent, "urgent data"),
            (self.full, "a full buffer"),
            (self.half_closed, "a half-closed peer"),
        ] {
            if is {
                what = format!("{what}, {state}");
            }
        }
        what
    }

    fn make(self, ours: &Stream, theirs: &Stream) -> io::Result<()> {
        if self.urgent {
            theirs.send_out_of_band(b"!")?;
            is_ready(ours, Interest::PRIORITY, PATIENTLY)?;
        }
        if self.unread {
            send(theirs, b"x")?;
            is_ready(ours, Interest::READ, PATIENTLY)?;
        }
        if self.half_closed {
            theirs.shutdown(Shutdown::Write)?;
            is_ready(ours, Interest::READ, PATIENTLY)?;
        }
        if self.full {
            fill(ours)?;
        }
        Ok(())
    }
}

const MIXED: &str = "one flag is derived from another, or hides it: READ, WRITE and PRIORITY have \
    to be requested and reported separately";

/// Waits, and compares the readiness with that of poll(2), while the state does not change.
fn check<B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Subject<OwnedSource, (), B>,
    token: Token,
    (ours, interest): (&Stream, Interest),
) -> Outcome {
    let now = |one| is_ready(ours, one, 0);
    for _ in 0..TRIES {
        let before = truth(interest, now)?;
        let events = selector.select(NOW)?;
        let reported = events.iter().fold(Readiness::empty(), |all, event| all | event.readiness());
        // A filled buffer may have space again, after the network has sent data.
        if truth(interest, now)? == before {
            let seen = reported & REQUESTABLE;
            case.because(MIXED, case.expect("its readiness", seen, before))?;
            let expected = if before.is_empty() { &[][..] } else { &[token] };
            return case.expect_tokens(&events, expected);
        }
        selector.rearm(token)?;
    }
    Err(case.cannot_run("a buffer that was filled did not stay full"))
}

pub(super) fn ready_4_every_state_of_a_socket<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let priority = case.backend()?.capabilities().priority;
    for state in State::all() {
        for (name, ours, theirs) in stream_pairs()? {
            // WSAPoll reports a half-closed peer as a hang-up, unlike everything else on Windows.
            let differs = cfg!(windows) && state.half_closed;
            if differs || state.urgent && !(priority && name == TCP) {
                continue;
            }
            // Full quickly, and permanently.
            ours.set_send_buffer_size(4096)?;
            theirs.set_recv_buffer_size(4096)?;
            state.make(&ours, &theirs)?;
            watch_for_everything(case, &state.describe(name), &ours)?;
        }
    }
    Ok(())
}

/// Watches a socket for everything, in every mode, newly registered and modified.
fn watch_for_everything<B: Backend>(case: &Case<'_, B>, what: &str, ours: &Stream) -> Outcome {
    let priority = case.backend()?.capabilities().priority;
    let interests = (1..=Interest::all().bits()).filter_map(Interest::from_bits);
    let interests: Vec<_> =
        interests.filter(|interest| priority || !interest.contains(Interest::PRIORITY)).collect();
    // Exclusive wake-up does not support every interest.
    for mode in modes(case)?.into_iter().filter(|mode| *mode != Mode::Exclusive) {
        let (mut selector, mut other) = (case.selector()?, case.selector()?);
        let changed = other.register_with(duplicate(ours)?, Interest::READ, (), mode)?;
        for &interest in &interests {
            let step = || format!("registered {what} for {interest:?}, {mode:?}");
            let token = selector.register_with(duplicate(ours)?, interest, (), mode)?;
            described(case, step, check(case, &mut selector, token, (ours, interest)))?;
            selector.unregister(token)?;
            let step = || format!("modified {what} to {interest:?}, {mode:?}");
            other.modify(changed, interest)?;
            described(case, step, check(case, &mut other, changed, (ours, interest)))?;
        }
    }
    Ok(())
}

/// Records the step if it failed.
fn described<B: Backend>(
    case: &Case<'_, B>,
    step: impl FnOnce() -> String,
    outcome: Outcome,
) -> Outcome {
    outcome.inspect_err(|_| case.did(step()))
}
