//! WAIT-1 to WAIT-5: backends that wait for too long or not long enough.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use selectors::Events;

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::row::{FILES, RANDOM, Row, poll, rows};
use super::variants::Times;

/// Returns at once with a zero timeout, without a call of the kernel.
struct SkipsTheLook;

impl Defect for SkipsTheLook {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if timeout == NOW { Ok(()) } else { beneath.wait(events, timeout) }
    }
}

/// Returns at once, with a given result, when there are no sources.
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

/// Shortens a timeout to 8 ms, unless it is very long.
fn a_moment(timeout: Timeout) -> Timeout {
    let short = timeout.filter(|timeout| *timeout < Duration::from_millis(900));
    short.map(|timeout| timeout.min(Duration::from_millis(8))).or(timeout)
}

/// Panics if the sum is out of the clock's range.
fn until_a_moment(timeout: Timeout) -> Timeout {
    let now = Instant::now();
    timeout.map(|timeout| (now + timeout).duration_since(now))
}

/// Returns EINVAL for long timeouts, as the kernels of NetBSD and OpenBSD do.
struct RefusesLongTimeouts;

impl Defect for RefusesLongTimeouts {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if timeout.is_some_and(|timeout| timeout.as_secs() > 100_000_000) {
            return Err(Errno::EINVAL.into());
        }
        beneath.wait(events, timeout)
    }
}

/// Goes by a clock that is ten times as fast.
struct HasAFastClock;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Defect for HasAFastClock {
    fn now(&self) -> Instant {
        let start = *START;
        Instant::now() + 9 * start.elapsed()
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        beneath.wait(events, timeout.map(|timeout| timeout / 10))
    }
}

/// Rounds up to microseconds, and drops the carry.
fn without_carry(timeout: Timeout) -> Timeout {
    let carries = |timeout: Duration| timeout.subsec_nanos() > 999_999_000;
    timeout.map(|it| if carries(it) { Duration::from_secs(it.as_secs()) } else { it })
}

rows! {
    "WAIT-3" no_carry "drops the carry when it rounds up to microseconds"
        poll Times(without_carry) =>
            wait_3_no_timeout_is_truncated;
    "WAIT-1" no_look "does not poll with a zero timeout"
        poll SkipsTheLook =>
            wait_6_no_event_is_lost
            close_3_a_reused_number_has_not_fired
            wait_1_every_timeout_reports_the_same
            wait_11_waits_with_closed_sources_sleep
            proc_1_a_zero_timeout_sees_a_wake
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_keeps_all_state
            proc_7_a_signal_handler_may_wake
            wait_1_zero_reports_what_is_ready
            wait_9_a_failed_rebuild_loses_nothing
            ready_9_priority_in_every_mode
            ready_9_priority_comes_and_goes
            mod_1_every_mode_changes_to_every_other
            ready_12_every_kind_of_file_behaves_as_with_poll
            proc_2_no_wake_is_lost_beside_events
            wait_7_every_ready_source_gets_its_turn
            reg_9_registering_never_stops_working
            mod_1_every_change_counts
            ready_4_every_state_of_a_socket
            mod_1_many_changes_between_two_waits
            ready_1_data_that_arrives_during_a_long_pause
            proc_6_waits_do_not_block_each_other
            close_4_a_ghost_that_stays_does_not_make_it_spin
            mode_6_arming_never_stops_working
            ready_6_its_own_reading_half_shut_down
            [FILES RANDOM];
    "WAIT-2" empty_at_once "returns at once without sources"
        poll WithoutSources(|| Ok(())) =>
            close_4_a_ghost_does_not_make_it_spin
            wait_2_without_a_timeout_a_signal_ends_it
            wait_3_the_backend_waits_for_long
            reg_2_the_kernel_does_not_watch_parked_sources
            wait_2_without_sources_the_timeout_holds
            wait_2_without_sources_a_signal_ends_it
            reg_9_many_are_unregistered_between_two_waits
            [FILES];
    "WAIT-2" empty_refused "answers EINVAL without sources"
        poll WithoutSources(|| Err(Errno::EINVAL.into())) =>
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_5_one_file_in_two_selectors
            reg_2_an_empty_interest_parks
            reg_7_a_refusal_leaves_nothing_behind
            reg_9_unregister_returns_everything_once
            reg_9_sources_come_and_go_between_two_waits
            close_1_unregister_after_close
            close_2_unregister_after_the_number_was_reused
            close_4_a_ghost_does_not_make_it_spin
            close_5_a_closed_descriptor_does_not_make_it_spin
            mode_2_a_fired_one_shot_can_be_unregistered
            reg_12_no_call_leaks
            wait_2_without_a_timeout_a_signal_ends_it
            wait_3_the_backend_waits_for_long
            wait_8_the_last_bit_of_a_word
            reg_2_the_kernel_does_not_watch_parked_sources
            reg_2_a_parked_source_reports_no_hang_up
            mod_3_rearming_reports_an_edge_again
            close_5_a_reused_number_does_not_report_the_old_file
            wait_2_without_sources_the_timeout_holds
            wait_2_without_sources_a_signal_ends_it
            wait_8_descriptors_above_1024
            proc_1_a_waker_outlives_its_selector
            proc_4_a_forked_copy_changes_nothing
            ready_9_priority_comes_and_goes
            reg_9_many_are_unregistered_between_two_waits
            [FILES RANDOM];
    "WAIT-2" none_is_zero "treats no timeout as zero"
        poll Times(|timeout| timeout.or(NOW)) =>
            wait_6_on_request_a_signal_ends_it
            wait_2_without_a_timeout_a_signal_ends_it
            wait_11_a_long_wait_is_not_split;
    "WAIT-2" none_is_a_moment "treats no timeout as a short one"
        poll Times(|timeout| timeout.or(Some(Duration::from_millis(2)))) =>
            wait_6_on_request_a_signal_ends_it
            wait_2_without_a_timeout_a_signal_ends_it
            wait_11_a_wait_sleeps_once;
    "WAIT-3" rounds_down "rounds timeouts down"
        poll Times(|timeout| millis(timeout, |nanos| nanos / 1_000_000)) =>
            wait_3_the_backend_rounds_away_from_zero
            wait_4_a_fine_timeout_does_not_spin;
    "WAIT-3" fast_clock "uses a clock that is too fast"
        poll HasAFastClock =>
            wait_3_the_backend_waits_for_long
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
            wait_4_the_resolution_is_as_declared;
    "WAIT-5" einval "returns EINVAL for long timeouts"
        poll RefusesLongTimeouts =>
            wait_1_every_timeout_reports_the_same
            wait_5_no_timeout_is_too_long
            wait_3_no_timeout_is_truncated;
    "WAIT-5" overflow "adds the timeout to the clock"
        poll Times(until_a_moment) =>
            wait_1_every_timeout_reports_the_same
            wait_5_no_timeout_is_too_long;
}
