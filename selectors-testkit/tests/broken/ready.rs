//! READY: backends that do not report what the kernel reports.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use nix::sys::stat::SFlag;
use selectors::backend::Registered;
use selectors::{Event, Events, Interest, Mode, Readiness, Watch};
use selectors_testkit::fixtures::with_raw;
use socket2::SockRef;

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::row::{FILES, RANDOM, Row, poll, rows};
use super::variants::{KeepsTheRest, Reports, kind};

const BOTH: Readiness = Readiness::READ.union(Readiness::WRITE);
const ASKABLE: Readiness = BOTH.union(Readiness::PRIORITY);

/// Reports some sources as ready without a call of the kernel.
pub(crate) struct Assumes(pub(crate) fn(Registered) -> Readiness);

impl Defect for Assumes {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let assumed: Vec<_> = (beneath.sources.values())
            .map(|source| (source.token, (self.0)(*source)))
            .filter(|(_, readiness)| !readiness.is_empty())
            .collect();
        let mut found = beneath.found(if assumed.is_empty() { timeout } else { NOW })?;
        for (token, readiness) in assumed {
            match found.iter_mut().find(|event| event.token() == token) {
                Some(event) => *event = Event::new(token, event.readiness() | readiness),
                None => found.push(Event::new(token, readiness)),
            }
        }
        events.extend(found);
        Ok(())
    }
}

fn every_pipe_is_readable(source: Registered) -> Readiness {
    let asked = source.watch.interest.contains(Interest::READ);
    if asked && kind(source.fd) == SFlag::S_IFIFO { Readiness::READ } else { Readiness::empty() }
}

fn whoever_may_write_can(source: Registered) -> Readiness {
    let level = source.watch.mode == Mode::Level;
    let asked = source.watch.interest.contains(Interest::WRITE);
    if asked && level { Readiness::WRITE } else { Readiness::empty() }
}

/// Collects readiness in every call, and reports it in the next wait.
#[derive(Default)]
struct CollectsEarly(Vec<Event>);

impl Defect for CollectsEarly {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if beneath.sources.values().all(|source| source.watch.mode == Mode::Level) {
            self.0 = beneath.found(NOW)?;
        }
        beneath.register(new)
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let mut queue = std::mem::take(&mut self.0);
        queue.retain(|event| beneath.sources.contains_key(&event.token()));
        let found = beneath.found(if queue.is_empty() { timeout } else { NOW })?;
        let is_new = |event: &Event| !queue.iter().any(|old| old.token() == event.token());
        events.extend(found.into_iter().filter(is_new));
        events.extend(queue);
        Ok(())
    }
}

/// Reports each direction as a separate event, without declaring that.
struct SeparatesDirections;

impl Defect for SeparatesDirections {
    fn report(&mut self, _: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let separate = |event: Event| {
            let parts = match event.readiness() {
                both if both.contains(BOTH) => {
                    vec![both - Readiness::WRITE, both - Readiness::READ]
                }
                one => vec![one],
            };
            parts.into_iter().map(move |part| Event::new(event.token(), part))
        };
        found.into_iter().flat_map(separate).collect()
    }
}

/// Drops readiness without READ or WRITE.
fn a_direction_is_needed(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.intersects(ASKABLE) { readiness } else { Readiness::empty() }
}

/// Reports an error as READ alone.
fn error_is_read(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.contains(Readiness::ERROR) { Readiness::READ } else { readiness }
}

/// Stores the number of unread bytes in 16 bits.
fn amounts_in_16_bits(readiness: Readiness, source: Registered) -> Readiness {
    thread_local! {
        static BUFFER: RefCell<Box<[MaybeUninit<u8>]>> =
            RefCell::new(Box::new_uninit_slice((1 << 16) + 1));
    }
    // Querying SO_ERROR clears it.
    let wraps = readiness == Readiness::READ
        && BUFFER.with_borrow_mut(|buffer| {
            with_raw(source.fd, |fd| SockRef::from(&fd).peek(buffer))
                .is_ok_and(|bytes| bytes == 1 << 16)
        });
    if wraps { readiness - Readiness::READ } else { readiness }
}

/// Loses urgent data that comes with another direction, and that direction.
fn in_one_set(readiness: Readiness, _: Registered) -> Readiness {
    let two = Readiness::WRITE | Readiness::PRIORITY;
    if readiness.contains(two) { readiness - two } else { readiness }
}

fn errors_of_levels(readiness: Readiness, source: Registered) -> Readiness {
    let urgent = source.watch == Watch::new(Interest::PRIORITY, Mode::OneShot);
    if urgent && readiness.contains(Readiness::ERROR) { Readiness::empty() } else { readiness }
}

rows! {
    "READY-1" idle_pipes "reports idle pipes"
        poll Assumes(every_pipe_is_readable) =>
            ready_1_a_pipe_gets_another_writer
            wait_11_idle_waits_sleep
            mode_1_level_repeats_until_drained
            ready_1_idle_sources_are_silent
            ready_2_unread_data_is_read
            ready_12_a_fifo_behaves_as_a_pipe
            ready_1_readiness_that_ended_between_two_waits
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_2_any_amount_of_unread_data
            [RANDOM];
    "READY-1" collects_early "collects readiness before the wait"
        poll CollectsEarly::default() =>
            close_5_other_sources_are_still_reported
            ready_1_readiness_that_ended_between_two_waits
            reg_5_a_duplicate_changes_without_its_twin
            wait_8_descriptors_above_1024
            wait_8_the_lowest_numbers
            mod_1_every_change_counts
            [RANDOM];
    "READY-1" keeps_the_rest "reports 40 at a time, and the rest without checking again"
        poll KeepsTheRest::beyond(40) =>
            wait_1_every_timeout_reports_the_same
            ready_1_drained_sources_among_many
            wait_7_one_select_reports_all
            close_5_another_thread_closes_during_waits
            proc_2_no_wake_is_lost_beside_events
            wait_7_every_ready_source_gets_its_turn
            reg_9_many_are_unregistered_between_two_waits
            mod_1_many_changes_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
    "READY-2" write_assumed "derives WRITE from the absence of an error"
        poll Assumes(whoever_may_write_can) =>
            wait_6_a_signal_undoes_no_change
            ready_2_space_is_write_and_a_full_buffer_is_not
            ready_12_a_fifo_behaves_as_a_pipe
            ready_1_readiness_that_ended_between_two_waits
            wait_11_idle_waits_sleep
            mode_2_masked_readiness_does_not_fire
            close_5_a_source_closed_during_a_wait_is_not_ready
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_4_every_state_of_a_socket
            wait_7_every_kind_of_readiness_at_once
            close_4_a_new_kernel_object_watches_every_source
            ready_1_no_wait_of_many_reports_idle_sources
            [RANDOM];
    "READY-2" amounts "keeps the number of unread bytes in sixteen bits"
        poll Reports(amounts_in_16_bits) =>
            ready_2_any_amount_of_unread_data;
    "READY-3" two_events "two events for two directions"
        poll SeparatesDirections =>
            reg_9_descriptor_zero_stays_registered
            ready_3_urgent_and_ordinary_data_are_one_event
            reg_9_sources_come_and_go_between_two_waits
            mod_1_the_next_select_uses_the_new_interest
            mod_1_the_last_change_before_a_wait_counts
            ready_3_both_directions_are_one_event
            ready_4_an_error_wakes_every_interest
            ready_5_a_refused_connect_wakes
            ready_6_no_hint_without_a_cause
            mode_2_one_shot_reports_once
            mode_2_a_fired_one_shot_can_be_unregistered
            mode_2_arming_with_a_new_interest
            reg_9_flags_do_not_change
            wait_8_the_last_bit_of_a_word
            proc_6_a_selector_changes_threads
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            wait_8_descriptors_above_1024
            proc_4_a_forked_copy_changes_nothing
            ready_6_a_half_closed_peer
            ready_9_priority_in_every_mode
            ready_9_priority_comes_and_goes
            mod_1_every_change_counts
            ready_4_every_state_of_a_socket
            wait_7_every_kind_of_readiness_at_once
            wait_8_high_descriptors_in_every_mode
            close_4_a_new_kernel_object_watches_every_source
            [FILES RANDOM];
    "READY-3" two_sets_as_one "adds its sets up so that a source in two of them is in none"
        poll Reports(in_one_set) =>
            ready_3_urgent_and_ordinary_data_are_one_event
            ready_9_priority_in_every_mode
            ready_9_priority_comes_and_goes
            ready_4_every_state_of_a_socket;
    "READY-4" error_is_read "reports an error as READ alone"
        poll Reports(error_is_read) =>
            close_5_other_sources_are_still_reported
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_4_an_error_wakes_every_interest
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer
            ready_7_pipe_reader_gone_wakes_writer
            ready_7_pipe_reader_gone_wakes_full_writer
            mode_2_one_shot_is_silent_about_hang_ups_too
            close_5_another_thread_closes_during_waits
            close_5_a_source_closed_during_a_wait_is_not_ready
            wait_7_every_kind_of_readiness_at_once
            [RANDOM];
    "READY-4" errors_of_levels "does not report an error to one-shot sources watched for PRIORITY alone"
        poll Reports(errors_of_levels) =>
            ready_4_an_error_wakes_every_interest;
    "READY-4" direction_needed "drops readiness without READ or WRITE"
        poll Reports(a_direction_is_needed) =>
            ready_1_a_datagram_socket_recovers
            ready_1_a_pipe_gets_another_writer
            close_4_a_new_kernel_object_skips_closed_sources
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_4_an_error_wakes_every_interest
            ready_7_pipe_writer_gone_wakes_reader
            ready_7_pipe_reader_gone_wakes_full_writer
            ready_7_a_hang_up_ends_a_wait_for_write
            ready_8_data_before_end_of_file
            wait_11_waits_with_closed_sources_sleep
            reg_2_a_parked_source_reports_no_hang_up
            ready_4_an_error_of_a_datagram_socket_wakes
            [RANDOM];
}
