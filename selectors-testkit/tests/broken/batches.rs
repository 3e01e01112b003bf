//! WAIT-7: backends that report many ready sources in part, or twice.

use selectors::Event;

use super::defect::{Beneath, Defect};
use super::row::{Row, epoll, poll, rows};
use super::variants::KeepsTheRest;

/// Reports the same first sources each time.
struct StopsAt(usize);

impl Defect for StopsAt {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        found.truncate(self.0);
        found
    }
}

/// Reports sources beyond a batch of 64 a second time.
struct RepeatsBatches;

impl Defect for RepeatsBatches {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        found.extend_from_within(found.len().min(64)..);
        found
    }
}

/// Treats a batch of exactly 64 as incomplete, and reports it together with the next one.
struct RepeatsFullBatches;

impl Defect for RepeatsFullBatches {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        if found.len() == 64 {
            found.extend_from_within(..);
        }
        found
    }
}

rows! {
    "WAIT-7" first_64 "reports the first 64 each time"
        poll StopsAt(64) =>
            wait_1_every_timeout_reports_the_same
            ready_1_drained_sources_among_many
            wait_7_one_select_reports_all
            wait_7_every_ready_source_gets_its_turn
            proc_2_no_wake_is_lost_beside_events
            reg_9_many_are_unregistered_between_two_waits
            mod_1_many_changes_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
    "WAIT-7" batches_repeated "reports sources beyond the first 64 twice"
        epoll RepeatsBatches =>
            ready_1_drained_sources_among_many
            wait_7_one_select_reports_all
            proc_2_no_wake_is_lost_beside_events
            wait_7_every_ready_source_gets_its_turn
            reg_9_many_are_unregistered_between_two_waits
            mod_1_many_changes_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
    "WAIT-7" full_batch_repeated "treats a batch of exactly 64 as incomplete"
        epoll RepeatsFullBatches =>
            wait_7_one_select_reports_all
            wait_7_every_ready_source_gets_its_turn;
    "WAIT-7" rest_kept "reports 64 at a time, and the rest without checking again"
        poll KeepsTheRest::beyond(64) =>
            wait_1_every_timeout_reports_the_same
            ready_1_drained_sources_among_many
            wait_7_one_select_reports_all
            proc_2_no_wake_is_lost_beside_events
            wait_7_every_ready_source_gets_its_turn
            reg_9_many_are_unregistered_between_two_waits
            mod_1_many_changes_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
    "WAIT-7" rest_of_2048 "reports 2,048 at a time"
        poll KeepsTheRest::beyond(2_048) =>
            wait_7_thousands_are_ready_at_once;
}
