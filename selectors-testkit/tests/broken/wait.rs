//! WAIT: backends that wait for too long or too short, or lose events.

use std::io::{self, ErrorKind};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use selectors::backend::Registered;
use selectors::{Event, Events, Interest, Mode, Readiness, Token, Watch};
use selectors_testkit::fixtures::{pipe, with_raw};

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::modify::{Defers, watched_as_before};
use super::row::{FILES, RANDOM, Row, epoll, poll, rows};
use super::variants::{KeepsTheRest, Refuses, Times, Watches};

/// Returns at once when it is not to block, without asking the kernel.
struct SkipsTheLook;

impl Defect for SkipsTheLook {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if timeout == NOW { Ok(()) } else { beneath.wait(events, timeout) }
    }
}

/// Returns something at once when there is nothing to watch.
struct WithoutSources(fn() -> Answer);

impl Defect for WithoutSources {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if beneath.sources.is_empty() { (self.0)() } else { beneath.wait(events, timeout) }
    }
}

fn millis(timeout: Timeout, rounded: fn(u128) -> u128) -> Timeout {
    let millis = rounded(timeout?.as_nanos());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// Takes what is asked for in parts, unless that is very long.
fn a_moment(timeout: Timeout) -> Timeout {
    let short = timeout.filter(|timeout| *timeout < Duration::from_secs(1));
    short.map(|timeout| timeout.min(Duration::from_millis(8))).or(timeout)
}

/// Panics where the clock cannot hold the sum.
fn until_a_moment(timeout: Timeout) -> Timeout {
    let now = Instant::now();
    timeout.map(|timeout| (now + timeout).duration_since(now))
}

/// Answers EINVAL to long timeouts, as the kernels of NetBSD and OpenBSD do.
struct RefusesLongTimeouts;

impl Defect for RefusesLongTimeouts {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if timeout.is_some_and(|timeout| timeout.as_secs() > 100_000_000) {
            return Err(Errno::EINVAL.into());
        }
        beneath.wait(events, timeout)
    }
}

/// Goes by a clock that is twice as fast.
struct HasAFastClock;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Defect for HasAFastClock {
    fn now(&self) -> Instant {
        let start = *START;
        Instant::now() + start.elapsed()
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        beneath.wait(events, timeout.map(|timeout| timeout / 2))
    }
}

/// Goes on by itself when a signal came, with the whole timeout.
struct RetriesByItself;

impl Defect for RetriesByItself {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        // Some end, lest a storm of signals keep it here.
        for _ in 0..20 {
            match beneath.wait(events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
        Ok(())
    }
}

/// Takes a signal for something else.
struct TakesSignalsFor(fn() -> Answer);

impl Defect for TakesSignalsFor {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        match beneath.wait(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => (self.0)(),
            answer => answer,
        }
    }
}

/// Takes what is ready from the kernel after a signal, and drops it.
#[derive(Default)]
struct LosesEventsToSignals {
    interrupted: bool,
    lost: Vec<Token>,
}

impl Defect for LosesEventsToSignals {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let found = beneath.found(timeout);
        let found = found.inspect_err(|error| {
            self.interrupted |= error.kind() == ErrorKind::Interrupted;
        })?;
        if self.interrupted && !found.is_empty() {
            self.interrupted = false;
            self.lost.extend(found.iter().map(Event::token));
        }
        events.extend(found.into_iter().filter(|event| !self.lost.contains(&event.token())));
        Ok(())
    }
}

/// Reports the same first sources each time.
struct StopsAt(usize);

impl Defect for StopsAt {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        found.truncate(self.0);
        found
    }
}

/// Reports what goes beyond a batch of 64 a second time.
struct RepeatsBatches;

impl Defect for RepeatsBatches {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        found.extend_from_within(found.len().min(64)..);
        found
    }
}

/// Looks at all bits of a set but the last one.
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

/// Has no room for some descriptors. (Those of the fixtures for CLOSE are higher.)
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

/// Tells sources apart by their slots, and reports the first token that it saw with each.
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

/// Looks without waiting, and does not mind the signals that come meanwhile: whether the kernel
/// says so depends on when they come.
fn look(beneath: &mut Beneath, events: &mut Events) -> Answer {
    match beneath.wait(events, NOW) {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        answer => answer,
    }
}

/// Looks again and again instead of waiting.
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

/// Watches for READ, too, whatever is asked for.
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

/// Takes a batch of exactly 64 for a part of what is ready, and reports it with what comes next.
struct RepeatsFullBatches;

impl Defect for RepeatsFullBatches {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        if found.len() == 64 {
            found.extend_from_within(..);
        }
        found
    }
}

/// Watches for the end of what the peer sends (POLLRDHUP), also for who wants to write alone.
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

/// Takes what 32 bits of microseconds cannot hold for zero.
fn micros(timeout: Timeout) -> Timeout {
    let micros = |timeout: Duration| i32::try_from(timeout.as_micros());
    timeout.map(|timeout| micros(timeout).map_or(Duration::ZERO, |_| timeout))
}

/// Looks again and again instead of waiting, when it need not come back.
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

rows! {
    "WAIT-1" no_look "does not look when it is not to wait"
        poll SkipsTheLook =>
            wait_11_nor_who_has_closed_sources
            proc_1_a_wait_of_no_time_sees_a_wake
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_watches_all_as_before
            proc_7_a_signal_handler_may_wake
            wait_1_zero_reports_what_is_ready
            wait_9_a_failed_rebuild_loses_nothing
            ready_9_priority_in_every_mode
            ready_9_priority_comes_and_goes
            mod_1_every_mode_becomes_every_other
            ready_12_every_kind_of_file_behaves_as_with_poll
            proc_2_no_wake_is_lost_beside_anything
            wait_7_every_ready_source_gets_its_turn
            reg_9_no_registration_is_the_last
            mod_1_every_change_counts
            ready_4_every_state_of_a_socket
            mod_1_many_changes_between_two_waits
            ready_1_what_came_during_a_long_pause
            proc_6_no_wait_holds_up_another
            close_4_a_ghost_that_stays_does_not_make_it_spin
            mode_6_no_arming_is_the_last
            ready_6_its_own_reading_half_shut_down
            [FILES RANDOM];
    "WAIT-2" empty_at_once "returns at once without sources"
        poll WithoutSources(|| Ok(())) =>
            close_4_a_ghost_does_not_make_it_spin
            wait_2_without_a_timeout_a_signal_ends_it
            wait_3_the_backend_waits_for_long
            reg_2_the_kernel_does_not_watch_what_is_parked
            wait_2_without_sources_the_timeout_holds
            wait_2_without_sources_a_signal_ends_it
            reg_9_many_leave_between_two_waits
            [FILES];
    "WAIT-2" empty_refused "answers EINVAL without sources"
        poll WithoutSources(|| Err(Errno::EINVAL.into())) =>
            reg_5_one_file_in_two_selectors
            reg_2_an_empty_interest_parks
            reg_7_a_refusal_leaves_nothing_behind
            reg_9_unregister_gives_everything_back_once
            reg_9_what_came_and_went_between_two_waits
            close_1_unregister_after_close
            close_2_unregister_after_the_number_was_reused
            close_4_a_ghost_does_not_make_it_spin
            close_5_a_closed_descriptor_does_not_make_it_spin
            mode_2_a_fired_one_shot_can_be_unregistered
            reg_12_no_call_leaks
            wait_2_without_a_timeout_a_signal_ends_it
            wait_3_the_backend_waits_for_long
            wait_8_the_last_bit_of_a_word
            reg_2_the_kernel_does_not_watch_what_is_parked
            reg_2_a_hang_up_does_not_reach_what_is_parked
            mod_3_rearming_reports_an_edge_again
            close_5_a_reused_number_is_not_ready_for_what_was
            wait_2_without_sources_the_timeout_holds
            wait_2_without_sources_a_signal_ends_it
            wait_8_descriptors_above_1024
            proc_1_a_waker_outlives_its_selector
            proc_4_a_forked_copy_changes_nothing
            ready_9_priority_comes_and_goes
            reg_9_many_leave_between_two_waits
            [FILES RANDOM];
    "WAIT-2" none_is_zero "takes no timeout for zero"
        poll Times(|timeout| timeout.or(NOW)) =>
            wait_2_without_a_timeout_a_signal_ends_it
            wait_11_a_long_wait_is_one;
    "WAIT-2" none_is_a_moment "takes no timeout for a short one"
        poll Times(|timeout| timeout.or(Some(Duration::from_millis(2)))) =>
            wait_2_without_a_timeout_a_signal_ends_it
            wait_11_a_wait_sleeps_once;
    "WAIT-3" rounds_down "rounds timeouts down"
        poll Times(|timeout| millis(timeout, |nanos| nanos / 1_000_000)) =>
            wait_3_the_backend_rounds_away_from_zero
            wait_4_a_fine_timeout_does_not_spin;
    "WAIT-3" fast_clock "its clock is too fast"
        poll HasAFastClock =>
            wait_3_the_backend_waits_for_long
            reg_2_the_kernel_does_not_watch_what_is_parked
            wait_2_without_sources_the_timeout_holds
            wait_3_never_early
            wait_3_the_backend_rounds_away_from_zero
            wait_4_a_fine_timeout_does_not_spin
            wait_6_a_signal_does_not_end_the_wait
            wait_3_time_passes_between_waits;
    "WAIT-3" a_moment_at_a_time "waits for 8 ms at most"
        poll Times(a_moment) =>
            wait_2_without_sources_the_timeout_holds
            wait_3_the_backend_waits_for_long
            wait_11_a_wait_sleeps_once;
    "WAIT-4" coarse "waits for milliseconds, and declares nanoseconds"
        poll Times(|timeout| millis(timeout, |nanos| nanos.div_ceil(1_000_000))) =>
            wait_4_the_grain_is_as_declared;
    "WAIT-5" einval "answers EINVAL to long timeouts"
        poll RefusesLongTimeouts =>
            wait_5_no_timeout_is_too_long
            wait_3_no_length_is_taken_for_another;
    "WAIT-5" overflow "adds the timeout to the clock"
        poll Times(until_a_moment) =>
            wait_5_no_timeout_is_too_long;
    "WAIT-6" retries "retries by itself after a signal"
        poll RetriesByItself =>
            wait_2_without_a_timeout_a_signal_ends_it
            wait_2_without_sources_a_signal_ends_it
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends
            reg_12_no_wait_leaks;
    "WAIT-6" early "returns early on EINTR"
        poll TakesSignalsFor(|| Ok(())) =>
            wait_2_without_a_timeout_a_signal_ends_it
            wait_2_without_sources_a_signal_ends_it
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends
            reg_12_no_wait_leaks;
    "WAIT-6" fails "fails when a signal came"
        poll TakesSignalsFor(|| Err(io::Error::other("interrupted"))) =>
            wait_2_without_a_timeout_a_signal_ends_it
            proc_7_a_signal_handler_may_wake
            wait_2_without_sources_a_signal_ends_it
            wait_6_a_signal_does_not_end_the_wait
            wait_6_no_event_is_lost
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends
            reg_12_no_wait_leaks
            reg_12_the_process_is_as_it_was;
    "WAIT-6" loses "loses what was ready when a signal came"
        poll LosesEventsToSignals::default() =>
            proc_7_a_signal_handler_may_wake
            wait_6_no_event_is_lost;
    "WAIT-7" first_64 "reports the first 64 each time"
        poll StopsAt(64) =>
            ready_1_what_was_drained_of_many
            wait_7_one_select_reports_all
            wait_7_every_ready_source_gets_its_turn
            proc_2_no_wake_is_lost_beside_anything
            reg_9_many_leave_between_two_waits
            mod_1_many_changes_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
    "WAIT-7" batches_repeated "reports what goes beyond 64 twice"
        epoll RepeatsBatches =>
            ready_1_what_was_drained_of_many
            wait_7_one_select_reports_all
            proc_2_no_wake_is_lost_beside_anything
            wait_7_every_ready_source_gets_its_turn
            reg_9_many_leave_between_two_waits
            mod_1_many_changes_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
    "WAIT-7" full_batch_repeated "takes a batch of exactly 64 for a part"
        epoll RepeatsFullBatches =>
            wait_7_one_select_reports_all
            wait_7_every_ready_source_gets_its_turn;
    "WAIT-7" rest_kept "reports 64 at a time, and the rest without asking again"
        poll KeepsTheRest::beyond(64) =>
            ready_1_what_was_drained_of_many
            wait_7_one_select_reports_all
            proc_2_no_wake_is_lost_beside_anything
            wait_7_every_ready_source_gets_its_turn
            reg_9_many_leave_between_two_waits
            mod_1_many_changes_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
    "WAIT-8" bits "refuses descriptors from 1024"
        poll Refuses(not_from_1024_to_2047) =>
            wait_8_the_last_bit_of_a_word
            wait_7_every_ready_source_gets_its_turn
            wait_8_descriptors_above_1024
            wait_8_high_descriptors_in_every_mode;
    "WAIT-8" last_bit "does not look at the last bit of its last word"
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
            reg_9_what_came_and_went_between_two_waits
            reg_10_no_token_comes_twice
            close_3_a_number_changes_hands_between_two_waits
            mode_2_a_fired_one_shot_can_be_unregistered
            proc_2_a_wake_hides_no_event
            wait_10_an_unregistered_source_has_no_key
            reg_10_every_bit_of_a_token_counts
            ready_12_every_kind_of_file_behaves_as_with_poll
            proc_2_no_wake_is_lost_beside_anything
            reg_9_no_registration_is_the_last
            ready_4_every_state_of_a_socket
            reg_9_many_leave_between_two_waits
            [FILES RANDOM];
    "WAIT-10" deferred_reuse "cancels changes by which a number is another source's"
        epoll Defers::unless(watched_as_before) =>
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            close_5_a_reused_number_is_not_ready_for_what_was
            close_5_random_programs_that_close
            wait_10_an_unregistered_source_has_no_key
            reg_10_every_bit_of_a_token_counts
            reg_9_no_registration_is_the_last;
    "WAIT-11" turns_inside "looks again and again instead of waiting"
        poll TurnsInside =>
            close_4_a_new_kernel_object_watches_every_source
            wait_11_who_has_nothing_to_report_sleeps
            wait_11_the_backend_itself_sleeps
            wait_11_nor_who_has_closed_sources
            wait_11_a_long_wait_is_one
            wait_2_without_sources_a_signal_ends_it
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends;
    "WAIT-11" reads_too "watches for READ whatever is asked for"
        poll Watches(reads_too) =>
            mod_1_the_backend_does_not_add_to_the_old_interest
            wait_11_who_has_nothing_to_report_sleeps
            mode_2_what_is_masked_does_not_fire;
    "WAIT-11" ends_for_writers "watches for the end of READ whatever is asked for"
        poll EndsForWriters =>
            wait_11_who_has_nothing_to_report_sleeps;
    "WAIT-11" long_is_zero "takes a timeout of more than 35 minutes for zero"
        poll Times(micros) =>
            wait_11_a_long_wait_is_one
            wait_3_no_length_is_taken_for_another;
    "WAIT-11" turns_for_ever "looks again and again when there is no timeout"
        poll TurnsForEver =>
            wait_2_without_a_timeout_a_signal_ends_it
            wait_11_a_long_wait_is_one
            reg_12_no_wait_leaks;
    "WAIT-12" helper "opens a descriptor for each wait"
        poll NeedsADescriptor =>
            wait_12_without_descriptors_what_is_there_is_served
            wait_12_random_programs_without_descriptors;
}
