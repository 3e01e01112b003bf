//! WAIT-1, WAIT-11: backends with several code paths for waits, one of which is wrong.

use nix::poll::{PollFd, PollFlags, PollTimeout};
use selectors::backend::{RawSource, Registered};
use selectors::{Event, Events, Mode, Readiness};
use selectors_testkit::fixtures::with_raw;

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::row::{Row, epoll, poll, rows};

/// Changes the events of waits with certain timeouts.
struct Sometimes {
    when: fn(Timeout) -> bool,
    reported: fn(Vec<Event>) -> Vec<Event>,
}

impl Defect for Sometimes {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let found = beneath.found(timeout)?;
        events.extend(if (self.when)(timeout) { (self.reported)(found) } else { found });
        Ok(())
    }
}

/// Not a whole number of milliseconds.
fn is_fine(timeout: Timeout) -> bool {
    timeout.is_some_and(|timeout| timeout.subsec_nanos() % 1_000_000 != 0)
}

fn no_hints(found: Vec<Event>) -> Vec<Event> {
    let hints = Readiness::HANGUP | Readiness::READ_CLOSED;
    found.into_iter().map(|event| Event::new(event.token(), event.readiness() - hints)).collect()
}

fn the_first_64(mut found: Vec<Event>) -> Vec<Event> {
    found.truncate(64);
    found
}

/// Does not block after it has refused a registration.
#[derive(Default)]
struct TurnsAfterARefusal {
    has_refused: bool,
}

impl Defect for TurnsAfterARefusal {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let answer = beneath.register(new);
        self.has_refused |= answer.is_err();
        answer
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let turns = self.has_refused && timeout.is_some();
        beneath.wait(events, if turns { NOW } else { timeout })
    }
}

fn has_hung_up(fd: RawSource) -> bool {
    with_raw(fd, |fd| {
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        let polled = nix::poll::poll(&mut fds, PollTimeout::ZERO);
        let flags = fds[0].revents().unwrap_or(PollFlags::empty());
        polled.is_ok() && flags.contains(PollFlags::POLLHUP)
    })
}

/// Does not block while an edge-triggered source is hung up.
struct TurnsForHungUpEdges;

impl Defect for TurnsForHungUpEdges {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let mut edges = beneath.sources.values().filter(|source| source.watch.mode == Mode::Edge);
        let turns = timeout.is_some() && edges.any(|source| has_hung_up(source.fd));
        beneath.wait(events, if turns { NOW } else { timeout })
    }
}

rows! {
    "WAIT-1" endless_without_hints "reports no hints in waits without a timeout"
        poll Sometimes { when: |timeout| timeout.is_none(), reported: no_hints } =>
            wait_1_every_timeout_reports_the_same;
    "WAIT-1" fine_first_64 "reports 64 at most in waits with a fine timeout"
        poll Sometimes { when: is_fine, reported: the_first_64 } =>
            wait_1_every_timeout_reports_the_same;
    "WAIT-11" turns_after_a_refusal "does not block after a refused registration"
        poll TurnsAfterARefusal::default() =>
            wait_11_idle_waits_sleep;
    "WAIT-11" turns_for_hung_up_edges "does not block while an edge-triggered source is hung up"
        epoll TurnsForHungUpEdges =>
            wait_11_idle_waits_sleep;
}
