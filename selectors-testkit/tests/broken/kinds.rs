//! READY, MODE and others: backends that are wrong for a few kinds of sources, modes and numbers.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use selectors::backend::{RawSource, Registered, Trigger};
use selectors::{Event, Events, Interest, Mode, Readiness, Token, Watch};
use selectors_testkit::fixtures::with_raw;
use socket2::{Domain, SockRef, Type};

use super::defect::{Answer, Beneath, Defect, Timeout};
use super::proc::is_wake;
use super::row::{Row, epoll, poll, rows};
use super::variants::{KeepsBits, KeepsTheRest, Reports};

fn is_unix_listener(fd: RawSource) -> bool {
    with_raw(fd, |fd| {
        let socket = SockRef::from(&fd);
        let unix = socket.domain().is_ok_and(|domain| domain == Domain::UNIX);
        unix && socket.is_listener().is_ok_and(|listens| listens)
    })
}

pub(crate) fn is_datagram(fd: RawSource) -> bool {
    with_raw(fd, |fd| SockRef::from(&fd).r#type().is_ok_and(|r#type| r#type == Type::DGRAM))
}

fn unix_listeners_are_deaf(readiness: Readiness, source: Registered) -> Readiness {
    if is_unix_listener(source.fd) { Readiness::empty() } else { readiness }
}

/// Treats a socket without a connection as not writable.
fn datagrams_cannot_be_sent(readiness: Readiness, source: Registered) -> Readiness {
    if is_datagram(source.fd) { readiness - Readiness::WRITE } else { readiness }
}

fn datagrams_have_no_errors(readiness: Readiness, source: Registered) -> Readiness {
    let error = readiness.contains(Readiness::ERROR) && is_datagram(source.fd);
    if error { Readiness::empty() } else { readiness }
}

fn urgent_beside_nothing(readiness: Readiness, _: Registered) -> Readiness {
    let read = readiness.contains(Readiness::READ);
    if read { readiness - Readiness::PRIORITY } else { readiness }
}

/// Does not report PRIORITY in some modes.
fn urgent_when_level(readiness: Readiness, source: Registered) -> Readiness {
    let level = source.watch.mode == Mode::Level;
    if level { readiness } else { readiness - Readiness::PRIORITY }
}

fn zero_is_none(readiness: Readiness, source: Registered) -> Readiness {
    if source.fd == 0 { Readiness::empty() } else { readiness }
}

fn standard_streams_are_none(readiness: Readiness, source: Registered) -> Readiness {
    if (1..3).contains(&source.fd) { Readiness::empty() } else { readiness }
}

/// Reports out-of-band data once for each source.
#[derive(Default)]
struct UrgentOnce(BTreeSet<Token>);

impl Defect for UrgentOnce {
    fn report(&mut self, _: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let once = |event: Event| {
            let urgent = event.readiness().contains(Readiness::PRIORITY);
            let again = urgent && !self.0.insert(event.token());
            let left = if again { Readiness::PRIORITY } else { Readiness::empty() };
            Event::new(event.token(), event.readiness() - left)
        };
        found.into_iter().map(once).filter(|event| !event.readiness().is_empty()).collect()
    }
}

/// Does not start to watch for PRIORITY when a source is modified.
struct AddsNoPriority;

impl Defect for AddsNoPriority {
    fn modify(&mut self, beneath: &mut Beneath, mut new: Registered) -> Answer {
        let had = beneath.watch(new.token)?.interest.contains(Interest::PRIORITY);
        if !had && new.watch.interest != Interest::PRIORITY {
            new.watch.interest -= Interest::PRIORITY;
        }
        beneath.modify(new)
    }
}

/// Does not stop watching for PRIORITY.
struct KeepsPriority;

impl Defect for KeepsPriority {
    fn modify(&mut self, beneath: &mut Beneath, mut new: Registered) -> Answer {
        new.watch.interest |= beneath.watch(new.token)?.interest & Interest::PRIORITY;
        beneath.modify(new)
    }
}

/// Adds the interest that a source had before it was parked.
#[derive(Default)]
struct RemembersTheParked(BTreeMap<Token, Interest>);

impl Defect for RemembersTheParked {
    fn register(&mut self, beneath: &mut Beneath, mut new: Registered) -> Answer {
        new.watch.interest |= self.0.remove(&new.token).unwrap_or(Interest::empty());
        beneath.register(new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        self.0.insert(old.token, beneath.watch(old.token)?.interest);
        beneath.unregister(old)
    }
}

/// Keeps the mode of a one-shot source that is to be edge-triggered.
struct StaysOneShot;

impl Defect for StaysOneShot {
    fn modify(&mut self, beneath: &mut Beneath, mut new: Registered) -> Answer {
        let once = beneath.watch(new.token)?.mode == Mode::OneShot;
        if once && new.watch.mode == Mode::Edge {
            new.watch.mode = Mode::OneShot;
        }
        beneath.modify(new)
    }
}

/// Requests POLLRDHUP even for a one-shot source that waits for WRITE alone, which that disarms.
#[derive(Default)]
struct EndsDisarm(BTreeSet<Token>);

impl Defect for EndsDisarm {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        self.0.remove(&new.token);
        beneath.modify(new)
    }

    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        found.retain(|event| !self.0.contains(&event.token()));
        let waits = |source: &&Registered| {
            source.watch == Watch::new(Interest::WRITE, Mode::OneShot)
                && found.iter().all(|event| event.token() != source.token)
        };
        let ended = beneath.sources.values().filter(waits).filter(|source| {
            let end = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
            with_raw(source.fd, |fd| {
                let mut fds = [PollFd::new(fd, end)];
                nix::poll::poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
            })
        });
        self.0.extend(ended.map(|source| source.token));
        found
    }
}

/// Drops the last of a batch of exactly so many.
struct LosesTheLast(usize);

impl Defect for LosesTheLast {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        if found.len() == self.0 {
            found.pop();
        }
        found
    }
}

/// Drops some of the wakes.
struct DropsWakes {
    which: fn(usize, &[Event]) -> bool,
    wakes: usize,
}

impl DropsWakes {
    fn when(which: fn(usize, &[Event]) -> bool) -> Self {
        Self { which, wakes: 0 }
    }
}

impl Defect for DropsWakes {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        if found.iter().any(is_wake) {
            self.wakes += 1;
            if (self.which)(self.wakes, &found) {
                found.retain(|event| !is_wake(event));
            }
        }
        found
    }
}

/// Has no waker after the first wait.
#[derive(Default)]
struct WakesOnlyWhoAskedFirst {
    waited: bool,
    late: Cell<bool>,
}

impl Defect for WakesOnlyWhoAskedFirst {
    fn waker(&self, beneath: &Beneath, token: Token) -> std::io::Result<Option<Trigger>> {
        self.late.set(self.waited);
        beneath.backend.waker(token)
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.waited = true;
        let late = self.late.get();
        events.extend(beneath.found(timeout)?.into_iter().filter(|event| !late || !is_wake(event)));
        Ok(())
    }
}

rows! {
    "READY-12" unix_listeners "does not report Unix listeners"
        poll Reports(unix_listeners_are_deaf) =>
            ready_12_every_kind_of_file_behaves_as_with_poll;
    "READY-12" datagrams_written "reports no WRITE of datagram sockets"
        poll Reports(datagrams_cannot_be_sent) =>
            ready_12_every_kind_of_file_behaves_as_with_poll;
    "READY-4" datagram_errors "does not report errors of datagram sockets"
        poll Reports(datagrams_have_no_errors) =>
            ready_1_a_datagram_socket_recovers
            ready_4_an_error_of_a_datagram_socket_wakes;
    "READY-9" urgent_alone "reports PRIORITY alone"
        poll Reports(urgent_beside_nothing) =>
            ready_9_priority_in_every_mode
            ready_9_priority_comes_and_goes
            ready_3_urgent_and_ordinary_data_are_one_event
            ready_4_every_state_of_a_socket
            close_4_a_new_kernel_object_watches_every_source;
    "READY-9" urgent_level "reports PRIORITY of level-triggered sources alone"
        epoll Reports(urgent_when_level) =>
            ready_9_priority_in_every_mode
            ready_4_every_state_of_a_socket
            close_4_a_new_kernel_object_watches_every_source;
    "READY-9" urgent_once "reports PRIORITY once"
        poll UrgentOnce::default() =>
            wait_1_every_timeout_reports_the_same
            ready_9_priority_in_every_mode
            ready_9_priority_comes_and_goes
            ready_4_every_state_of_a_socket;
    "READY-9" no_priority_added "does not begin to watch for PRIORITY"
        poll AddsNoPriority =>
            ready_9_priority_comes_and_goes
            ready_4_every_state_of_a_socket;
    "WAIT-11" priority_kept "does not stop watching for PRIORITY"
        poll KeepsPriority =>
            wait_11_idle_waits_sleep;
    "MOD-1" stays_one_shot "leaves a one-shot source that when it is to be edge-triggered"
        epoll StaysOneShot =>
            mod_1_every_mode_changes_to_every_other;
    "WAIT-11" parked_remembered "adds the interest that a source had before it was parked"
        poll RemembersTheParked::default() =>
            wait_11_idle_waits_sleep;
    "MODE-2" ends_disarm "lets an end-of-file disarm a source that waits for WRITE"
        epoll EndsDisarm::default() =>
            mode_2_masked_readiness_does_not_fire;
    "WAIT-8" zero_is_none "treats descriptor 0 as none"
        poll Reports(zero_is_none) =>
            wait_8_the_lowest_numbers
            reg_9_descriptor_zero_stays_registered;
    "WAIT-8" standard_streams "ignores descriptors 1 and 2 as standard streams"
        poll Reports(standard_streams_are_none) =>
            wait_8_the_lowest_numbers;
    "REG-10" sixteen_bits "keeps sixteen bits of a generation"
        poll KeepsBits(0xffff_ffff_0000_ffff) =>
            reg_10_every_bit_of_a_token_counts;
    "WAIT-7" full_32 "drops the last of a batch of exactly 32"
        poll LosesTheLast(32) =>
            wait_7_every_ready_source_gets_its_turn;
    "WAIT-7" full_2048 "drops the last of a batch of exactly 2,048"
        poll LosesTheLast(2_048) =>
            wait_7_thousands_are_ready_at_once;
    "PROC-2" loses_the_thousandth_wake "loses every thousandth wake"
        poll DropsWakes::when(|wakes, _| wakes % 1_000 == 0) =>
            proc_2_wakes_never_stop;
    "WAIT-7" rest_of_1024 "reports 1,024 at a time"
        poll KeepsTheRest::beyond(1024) =>
            wait_7_every_ready_source_gets_its_turn;
    "PROC-2" every_100th "loses every hundredth wake"
        poll DropsWakes::when(|wakes, _| wakes % 100 == 0) =>
            proc_2_no_wake_is_lost_beside_events;
    "PROC-2" beside_a_batch "loses wakes that come with more than 64 events"
        poll DropsWakes::when(|_, found| found.len() > 65) =>
            proc_2_no_wake_is_lost_beside_events;
    "PROC-2" asked_late "has no waker after the first wait"
        poll WakesOnlyWhoAskedFirst::default() =>
            wait_6_no_event_is_lost
            proc_2_no_wake_is_lost_beside_events
            wait_2_without_a_timeout_a_source_ends_it
            proc_4_after_fork_works
            proc_4_children_of_children_leak_nothing;
}
