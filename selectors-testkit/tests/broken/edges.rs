//! MODE: backends whose edge-triggered or exclusive sources report too often or too rarely, or that mix
//! modes up.

use std::collections::BTreeSet;
use std::io;

use nix::errno::Errno;
use selectors::backend::Registered;
use selectors::{Event, Mode, Readiness, Token};

use super::defect::{Answer, Beneath, Defect};
use super::mode::takes;
use super::row::{FILES, RANDOM, Row, epoll, poll, rows};
use super::variants::{Declares, Refuses, Reports, Watches};

fn refuses_exclusive(new: Registered) -> io::Result<()> {
    if new.watch.mode == Mode::Exclusive { Err(Errno::EINVAL.into()) } else { Ok(()) }
}

fn says_nothing_of_exclusive(readiness: Readiness, source: Registered) -> Readiness {
    if source.watch.mode == Mode::Exclusive { Readiness::empty() } else { readiness }
}

/// Does not check whether a modified edge-triggered source is ready already.
#[derive(Default)]
struct WaitsForTheNextEdge(Vec<Token>);

impl Defect for WaitsForTheNextEdge {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let was_edge = beneath.watch(new.token)?.mode == Mode::Edge;
        if new.watch.mode == Mode::Edge && was_edge {
            self.0.push(new.token);
        }
        beneath.modify(new)
    }

    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        found.retain(|event| {
            let place = self.0.iter().position(|&token| token == event.token());
            place.map(|place| self.0.swap_remove(place)).is_none()
        });
        found
    }
}

/// Modifies an exclusive source by EPOLL_CTL_MOD, which the kernel refuses: epoll_ctl(2).
struct ModifiesExclusive;

impl Defect for ModifiesExclusive {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let old = beneath.watch(new.token)?;
        if old.mode == Mode::Exclusive || new.watch.mode == Mode::Exclusive {
            return Err(Errno::EINVAL.into());
        }
        beneath.modify(new)
    }
}

/// Uses the mode of the last registration for all.
struct HasOneMode;

impl Defect for HasOneMode {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        let differs = |other: &&Registered| other.watch.mode != new.watch.mode;
        let others: Vec<_> = beneath.sources.values().filter(differs).copied().collect();
        for mut other in others {
            other.watch.mode = new.watch.mode;
            // Closed ones are skipped.
            let _ = beneath.modify(other);
        }
        Ok(())
    }
}

/// Registers an edge-triggered source level-triggered if its token was registered before: a selector
/// registers what is no longer parked under the same token.
#[derive(Default)]
struct ReturnsLevelTriggered(BTreeSet<Token>);

impl Defect for ReturnsLevelTriggered {
    fn register(&mut self, beneath: &mut Beneath, mut new: Registered) -> Answer {
        if !self.0.insert(new.token) && new.watch.mode == Mode::Edge {
            new.watch.mode = Mode::Level;
        }
        beneath.register(new)
    }
}

/// The cases that watch a source with exclusive wake-up.
const EXCLUSIVE: &[&str] = &[
    "close_3_a_reused_number_has_not_fired",
    "wait_1_every_timeout_reports_the_same",
    "ready_4_an_error_wakes_every_interest",
    "ready_12_every_kind_of_file_behaves_as_with_poll",
    "mod_4_the_backend_keeps_the_old_state",
    "mode_4_exclusive_wakes_at_least_one",
    "mode_4_exclusive_can_be_modified",
    "mode_5_modes_mix",
    "ready_1_readiness_that_ended_between_two_waits",
    "reg_9_its_peer_sees_the_end_at_once",
    "reg_9_flags_do_not_change",
    "reg_2_the_kernel_does_not_watch_parked_sources",
    "reg_2_a_parked_source_reports_no_hang_up",
    "wait_7_one_select_reports_all",
    "close_4_a_new_kernel_object_keeps_all_state",
    "mod_1_every_mode_changes_to_every_other",
    "mode_2_masked_readiness_does_not_fire",
    "wait_7_every_kind_of_readiness_at_once",
    "wait_7_a_list_with_little_capacity",
    "ready_1_data_that_arrives_during_a_long_pause",
    "wait_8_high_descriptors_in_every_mode",
    "close_4_a_new_kernel_object_watches_every_source",
    "ready_1_no_wait_of_many_reports_idle_sources",
];

rows! {
    "MODE-3" returns_level "watches an edge-triggered source level-triggered after it was parked"
        epoll ReturnsLevelTriggered::default() =>
            mode_3_edge_reports_again_after_modify;
    "MODE-3" edge_is_level "treats edge-triggered as level-triggered"
        epoll Watches(|new| takes(new, Mode::Edge, Mode::Level)) =>
            wait_6_no_event_is_lost
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_13_a_selector_can_be_watched
            mode_3_edge_reports_changes
            mode_3_edge_reports_again_after_modify
            mode_3_edge_reports_again_after_two_modifies
            mode_5_modes_mix
            wait_11_idle_waits_sleep
            mod_3_rearming_reports_an_edge_again
            wait_7_one_select_reports_all
            reg_12_no_wait_leaks
            ready_9_priority_in_every_mode
            mod_1_every_mode_changes_to_every_other
            close_4_a_new_kernel_object_keeps_the_edges
            mode_6_arming_never_stops_working
            [FILES];
    "MODE-3" edge_is_one_shot "treats edge-triggered as one-shot"
        epoll Watches(|new| takes(new, Mode::Edge, Mode::OneShot)) =>
            wait_6_no_event_is_lost
            proc_2_a_wake_is_for_one_selector
            reg_8_what_it_opened_for_itself_stays_its_own
            mode_3_edge_reports_changes
            wait_2_without_a_timeout_a_source_ends_it
            proc_1_a_zero_timeout_sees_a_wake
            proc_2_a_wake_hides_no_event
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_12_sources_are_served_without_free_descriptors
            proc_7_a_signal_handler_may_wake
            proc_1_a_wake_ends_a_wait
            proc_2_many_wakes_are_one
            proc_2_no_wake_is_lost
            reg_12_no_wait_leaks
            mod_1_every_mode_changes_to_every_other
            proc_2_no_wake_is_lost_beside_events
            reg_12_process_settings_do_not_change
            proc_1_every_waker_wakes
            close_4_a_new_kernel_object_keeps_the_edges
            wait_1_a_wait_with_a_ready_source_does_not_sleep
            wait_1_an_event_ends_the_wait_soon
            [RANDOM];
    "MODE-3" next_edge "waits for the next edge after a modify"
        epoll WaitsForTheNextEdge::default() =>
            close_3_a_reused_number_has_not_fired
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            mode_3_edge_reports_again_after_modify
            mode_3_edge_reports_again_after_two_modifies
            mod_3_rearming_reports_an_edge_again
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            ready_9_priority_in_every_mode
            ready_4_every_state_of_a_socket
            mode_6_arming_never_stops_working
            [FILES];
    "MODE-3" edge_declared "declares edge, and does not have it"
        poll Declares(|c| c.edge = true) =>
            wait_6_no_event_is_lost
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            mode_3_edge_reports_changes
            mode_3_edge_reports_again_after_modify
            mode_3_edge_reports_again_after_two_modifies
            mode_5_modes_mix
            wait_11_idle_waits_sleep
            mod_3_rearming_reports_an_edge_again
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_keeps_all_state
            reg_12_no_wait_leaks
            ready_9_priority_in_every_mode
            mod_1_every_mode_changes_to_every_other
            mode_6_arming_never_stops_working
            close_4_a_new_kernel_object_watches_every_source
            [FILES];
    "MODE-4" exclusive_modified "has the kernel modify an exclusive source"
        epoll ModifiesExclusive =>
            reg_9_files_do_not_change
            ready_12_every_kind_of_file_behaves_as_with_poll
            mode_4_exclusive_can_be_modified
            reg_9_its_peer_sees_the_end_at_once
            reg_9_flags_do_not_change
            mod_1_every_mode_changes_to_every_other
            wait_8_high_descriptors_in_every_mode;
    "MODE-4" exclusive_refused "declares exclusive wake-up, and refuses it"
        epoll Refuses(refuses_exclusive) =>
            reg_9_files_do_not_change
            [EXCLUSIVE FILES];
    "MODE-4" none_wakes "wakes no selector for an exclusive listener"
        epoll Reports(says_nothing_of_exclusive) =>
            [EXCLUSIVE FILES];
    "MODE-5" one_mode "uses the last mode for all"
        epoll HasOneMode =>
            wait_1_every_timeout_reports_the_same
            close_4_other_sources_keep_their_state
            mode_5_modes_mix
            close_4_a_new_kernel_object_keeps_all_state
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_9_a_failed_rebuild_loses_nothing
            reg_12_no_wait_leaks
            proc_2_a_wake_hides_no_event
            reg_9_registering_never_stops_working
            reg_8_what_it_opened_for_itself_stays_its_own
            wait_12_sources_are_served_without_free_descriptors
            [RANDOM];
}
