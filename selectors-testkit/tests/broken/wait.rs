//! WAIT-8 to WAIT-12: backends that lose events, or poll repeatedly.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use selectors::backend::Registered;
use selectors::{Event, Events, Interest, Mode, Readiness, Watch};
use selectors_testkit::fixtures::{pipe, with_raw};

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::modify::{Defers, watched_as_before};
use super::row::{FILES, RANDOM, Row, epoll, poll, rows};
use super::variants::{Refuses, Times, Watches};

/// Checks all bits of a set except the last one.
struct LosesTheLastBit;

impl Defect for LosesTheLastBit {
    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        // Those of the fixtures for CLOSE are higher.
        let lost = |fd| fd % 64 == 63 && fd > 512 && fd < 4096;
        let alone = beneath.sources.len() == 1;
        let keep = |source: Registered| !alone || !lost(source.fd);
        found.retain(|event| beneath.source(event.token()).is_none_or(keep));
        found
    }
}

/// Refuses some descriptors. (Those of the fixtures for CLOSE are higher.)
fn not_from_1024_to_2047(new: Registered) -> io::Result<()> {
    if (1024..2048).contains(&new.fd) { Err(Errno::EINVAL.into()) } else { Ok(()) }
}

/// Begins each wait with an empty list.
struct ClearsTheList;

impl Defect for ClearsTheList {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        events.clear();
        beneath.wait(events, timeout)
    }
}

/// Empties the list when a wait fails.
struct ClearsTheListWhenItFails;

impl Defect for ClearsTheListWhenItFails {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        beneath.wait(events, timeout).inspect_err(|_| events.clear())
    }
}

/// Identifies sources by their slots, and reports the first token of each slot.
#[derive(Default)]
struct KnowsBySlot(Vec<Event>);

impl Defect for KnowsBySlot {
    fn report(&mut self, _: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let slot = |event: &Event| event.token().to_bits() >> 32;
        let first = |event: &Event| {
            let old = self.0.iter().find(|old| slot(old) == slot(event));
            Event::new(old.unwrap_or(event).token(), event.readiness())
        };
        let reported = found.iter().map(first).collect();
        self.0.extend(found);
        reported
    }
}

/// Polls without blocking, and ignores interruptions, which depend on the moment when a signal
/// arrives.
fn look(beneath: &mut Beneath, events: &mut Events) -> Answer {
    match beneath.wait(events, NOW) {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        answer => answer,
    }
}

/// Polls repeatedly instead of waiting.
struct TurnsInside;

impl Defect for TurnsInside {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let Some(timeout) = timeout else { return beneath.wait(events, None) };
        let start = Instant::now();
        loop {
            let before = events.len();
            look(beneath, events)?;
            if events.len() > before || start.elapsed() >= timeout {
                return Ok(());
            }
        }
    }
}

/// Watches for READ, too, whatever the interest is.
fn reads_too(mut new: Registered) -> Watch {
    if new.watch.interest == Interest::WRITE {
        new.watch.interest |= Interest::READ;
    }
    new.watch
}

/// Opens a descriptor for each wait.
struct NeedsADescriptor;

impl Defect for NeedsADescriptor {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let _helper = pipe()?;
        beneath.wait(events, timeout)
    }
}

/// Requests POLLRDHUP, even if the interest is WRITE alone.
struct EndsForWriters;

impl EndsForWriters {
    fn has_ended(source: Registered) -> bool {
        // The name is not everywhere, and so nix does not know it.
        let end = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
        source.watch == Watch::new(Interest::WRITE, Mode::Level)
            && with_raw(source.fd, |fd| {
                let mut fds = [PollFd::new(fd, end)];
                nix::poll::poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
            })
    }
}

impl Defect for EndsForWriters {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let sources = beneath.sources.values().copied();
        let ended = sources.filter(|&source| Self::has_ended(source));
        let mut ended: Vec<_> = ended.map(|source| source.token).collect();
        let found = beneath.found(if ended.is_empty() { timeout } else { NOW })?;
        ended.retain(|&token| found.iter().all(|event| event.token() != token));
        events.extend(found);
        events.extend(ended.into_iter().map(|token| Event::new(token, Readiness::READ_CLOSED)));
        Ok(())
    }
}

/// Treats a timeout beyond 32 bits of microseconds as zero.
fn micros(timeout: Timeout) -> Timeout {
    let micros = |timeout: Duration| i32::try_from(timeout.as_micros());
    timeout.map(|timeout| micros(timeout).map_or(Duration::ZERO, |_| timeout))
}

/// Polls repeatedly instead of waiting if there is no timeout.
struct TurnsForEver;

impl Defect for TurnsForEver {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let before = events.len();
        while timeout.is_none() && events.len() == before {
            look(beneath, events)?;
        }
        if timeout.is_none() { Ok(()) } else { beneath.wait(events, timeout) }
    }
}

/// Polls for a millisecond before it blocks.
struct TurnsFirst;

impl Defect for TurnsFirst {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let (start, before) = (Instant::now(), events.len());
        let all = timeout.unwrap_or(Duration::MAX);
        while start.elapsed() < all.min(Duration::from_millis(1)) {
            look(beneath, events)?;
            if events.len() > before {
                return Ok(());
            }
        }
        beneath.wait(events, timeout.map(|all| all.saturating_sub(start.elapsed())))
    }
}

rows! {
    "WAIT-11" turns_first "polls for a millisecond before it blocks"
        poll TurnsFirst =>
            wait_11_short_waits_sleep;
    "WAIT-8" bits "refuses descriptors from 1024"
        poll Refuses(not_from_1024_to_2047) =>
            wait_8_the_last_bit_of_a_word
            wait_7_every_ready_source_gets_its_turn
            wait_8_descriptors_above_1024
            wait_8_high_descriptors_in_every_mode;
    "WAIT-8" last_bit "ignores the last bit of its last word"
        poll LosesTheLastBit =>
            wait_8_the_last_bit_of_a_word;
    "WAIT-9" cleared "clears the list before it waits"
        poll ClearsTheList =>
            wait_9_the_backend_appends;
    "WAIT-9" cleared_on_failure "clears the list when a wait fails"
        poll ClearsTheListWhenItFails =>
            wait_9_the_backend_appends;
    "WAIT-10" by_slot "knows sources by their slots"
        poll KnowsBySlot::default() =>
            reg_8_closed_descriptors_are_not_its_own
            close_3_a_reused_number_has_not_fired
            wait_1_every_timeout_reports_the_same
            reg_9_sources_come_and_go_between_two_waits
            reg_10_tokens_are_unique
            close_3_a_number_is_reused_between_two_waits
            mode_2_a_fired_one_shot_can_be_unregistered
            proc_2_a_wake_hides_no_event
            wait_10_an_unregistered_source_has_no_key
            reg_10_every_bit_of_a_token_counts
            proc_2_no_wake_is_lost_beside_events
            reg_9_registering_never_stops_working
            ready_4_every_state_of_a_socket
            reg_9_many_are_unregistered_between_two_waits
            [FILES RANDOM];
    "WAIT-10" deferred_reuse "cancels changes by which a number is another source's"
        epoll Defers::unless(watched_as_before) =>
            reg_8_closed_descriptors_are_not_its_own
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            close_5_a_reused_number_does_not_report_the_old_file
            close_5_random_programs_that_close
            wait_10_an_unregistered_source_has_no_key
            reg_10_every_bit_of_a_token_counts
            reg_9_registering_never_stops_working;
    "WAIT-11" turns_inside "polls repeatedly instead of waiting"
        poll TurnsInside =>
            wait_11_short_waits_sleep
            wait_6_no_event_is_lost
            wait_6_a_signal_undoes_no_change
            close_4_a_new_kernel_object_watches_every_source
            wait_11_idle_waits_sleep
            wait_11_the_backend_itself_sleeps
            wait_11_waits_with_closed_sources_sleep
            wait_11_a_long_wait_is_not_split
            wait_2_without_sources_a_signal_ends_it
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends;
    "WAIT-11" reads_too "watches for READ whatever the interest is"
        poll Watches(reads_too) =>
            wait_6_a_signal_undoes_no_change
            mod_1_the_backend_does_not_add_to_the_old_interest
            wait_11_idle_waits_sleep
            mode_2_masked_readiness_does_not_fire;
    "WAIT-11" ends_for_writers "watches for an end-of-file whatever the interest is"
        poll EndsForWriters =>
            wait_11_idle_waits_sleep;
    "WAIT-11" long_is_zero "treats a timeout of more than 35 minutes as zero"
        poll Times(micros) =>
            wait_11_a_long_wait_is_not_split
            wait_3_no_timeout_is_truncated;
    "WAIT-11" turns_for_ever "polls repeatedly when there is no timeout"
        poll TurnsForEver =>
            wait_6_on_request_a_signal_ends_it
            wait_2_without_a_timeout_a_signal_ends_it
            wait_11_a_long_wait_is_not_split
            reg_12_no_wait_leaks;
    "WAIT-12" helper "opens a descriptor for each wait"
        poll NeedsADescriptor =>
            wait_12_sources_are_served_without_free_descriptors
            wait_12_random_programs_without_descriptors;
}
