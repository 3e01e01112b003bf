//! MODE: backends whose level-triggered or one-shot sources report too often or too rarely.

use std::collections::BTreeMap;

use nix::errno::Errno;
use selectors::backend::Registered;
use selectors::{Event, Interest, Mode, Readiness, Token, Watch};

use super::defect::{Answer, Beneath, Defect};
use super::row::{FILES, RANDOM, Row, epoll, poll, rows};
use super::variants::Watches;

pub(crate) fn takes(new: Registered, mode: Mode, r#for: Mode) -> Watch {
    Watch::new(new.watch.interest, if new.watch.mode == mode { r#for } else { new.watch.mode })
}

/// Implements one-shot mode itself, and does not disarm a fired source for some readiness.
struct OneShot {
    /// How often a source is reported.
    times: usize,
    /// What is reported of a source after it was reported this often.
    but: Readiness,
    fired: BTreeMap<Token, usize>,
}

impl OneShot {
    fn reported(times: usize, but: Readiness) -> Self {
        Self { times, but, fired: BTreeMap::new() }
    }
}

impl Defect for OneShot {
    fn asks(&mut self, new: Registered) -> Watch {
        self.fired.remove(&new.token);
        if new.watch.mode == Mode::OneShot {
            self.fired.insert(new.token, 0);
        }
        takes(new, Mode::OneShot, Mode::Level)
    }

    fn report(&mut self, _: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let left = |event: Event| match self.fired.get_mut(&event.token()) {
            Some(times) if *times >= self.times => {
                Event::new(event.token(), event.readiness() & self.but)
            }
            Some(times) => {
                *times += 1;
                event
            }
            None => event,
        };
        found.into_iter().map(left).filter(|event| !event.readiness().is_empty()).collect()
    }
}

/// Refuses to unregister a fired one-shot source, as if it did not exist.
#[derive(Default)]
struct ForgetsTheFired(Vec<Token>);

impl Defect for ForgetsTheFired {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        self.0.retain(|&other| other != new.token);
        beneath.modify(new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if self.0.contains(&old.token) {
            return Err(Errno::ENOENT.into());
        }
        beneath.unregister(old)
    }

    fn report(&mut self, beneath: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let tokens = found.iter().map(Event::token);
        let one_shot = |token: &Token| beneath.watch(*token).is_ok_and(|w| w.mode == Mode::OneShot);
        self.0.extend(tokens.filter(one_shot));
        found
    }
}

/// Rearms a one-shot source with its first interest.
#[derive(Default)]
struct ArmsTheOld(BTreeMap<Token, Watch>);

impl Defect for ArmsTheOld {
    fn asks(&mut self, new: Registered) -> Watch {
        let first = *self.0.entry(new.token).or_insert(new.watch);
        let one_shots = first.mode == Mode::OneShot && new.watch.mode == Mode::OneShot;
        if one_shots && !new.watch.interest.contains(first.interest) { first } else { new.watch }
    }
}

/// Disarms only the reported direction of a one-shot source.
struct SilencesHalf;

impl Defect for SilencesHalf {
    fn report(&mut self, beneath: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let both = Watch::new(Interest::READ | Interest::WRITE, Mode::OneShot);
        for event in found.iter().filter(|event| !event.readiness().contains(Readiness::READ)) {
            let source = beneath.source(event.token()).filter(|source| source.watch == both);
            if let Some(mut rest) = source {
                rest.watch.interest = Interest::READ;
                let _ = beneath.modify(rest);
            }
        }
        found
    }
}

rows! {
    "MODE-1" level_is_edge "treats level-triggered as edge-triggered"
        epoll Watches(|new| takes(new, Mode::Level, Mode::Edge)) =>
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_8_what_it_opened_for_itself_stays_its_own
            reg_5_one_file_in_two_selectors
            reg_5_a_duplicate_is_a_source_of_its_own
            mod_1_the_last_change_before_a_wait_counts
            mod_4_a_refused_modify_changes_nothing
            close_5_other_sources_are_still_reported
            ready_3_both_directions_are_one_event
            ready_8_data_before_end_of_file
            ready_11_files_beside_other_sources
            mode_1_level_repeats_until_drained
            mode_2_one_shot_reports_once
            mode_3_edge_reports_again_after_modify
            mode_5_modes_mix
            reg_5_a_duplicate_changes_without_its_twin
            ready_5_a_listener_stays_ready_until_all_are_accepted
            mod_3_rearming_reports_an_edge_again
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_keeps_all_state
            close_5_another_thread_closes_during_waits
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_12_sources_are_served_without_free_descriptors
            wait_9_select_into_replaces
            wait_10_an_unregistered_source_has_no_key
            proc_5_a_panic_leaves_the_selector_usable
            wait_9_a_failed_rebuild_loses_nothing
            reg_12_no_wait_leaks
            wait_8_the_lowest_numbers
            ready_9_priority_in_every_mode
            mod_1_every_mode_changes_to_every_other
            proc_2_no_wake_is_lost_beside_events
            wait_7_every_ready_source_gets_its_turn
            reg_9_registering_never_stops_working
            reg_5_one_file_in_many_selectors
            reg_7_a_refusal_undoes_no_other_change
            ready_2_any_amount_of_unread_data
            [FILES RANDOM];
    "MODE-2" one_shot_twice "reports a one-shot twice"
        poll OneShot::reported(2, Readiness::empty()) =>
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_5_one_file_in_two_selectors
            mode_2_a_fired_one_shot_that_is_closed_stays_silent
            mod_3_modify_rearms_a_fired_one_shot
            mod_3_changing_the_mode_and_back_rearms_a_one_shot
            close_5_a_closed_one_shot_is_reported_once
            mode_2_one_shot_reports_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_one_shot_is_silent_about_errors_too
            mode_2_a_fired_one_shot_can_be_unregistered
            mode_2_a_fired_one_shot_does_not_make_it_spin
            mode_5_modes_mix
            ready_1_drained_sources_among_many
            mode_2_arming_with_a_new_interest
            reg_5_a_duplicate_changes_without_its_twin
            wait_11_idle_waits_sleep
            wait_11_waits_with_closed_sources_sleep
            ready_5_a_listener_stays_ready_until_all_are_accepted
            proc_2_a_wake_hides_no_event
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            wait_7_one_select_reports_all
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_12_sources_are_served_without_free_descriptors
            proc_4_a_forked_copy_changes_nothing
            close_4_a_new_kernel_object_keeps_all_state
            wait_9_a_failed_rebuild_loses_nothing
            ready_9_priority_in_every_mode
            mod_1_every_mode_changes_to_every_other
            wait_8_high_descriptors_in_every_mode
            mode_6_arming_never_stops_working
            close_4_a_new_kernel_object_watches_every_source
            [FILES RANDOM];
    "MODE-2" fired_hidden "hides a one-shot that has fired, and lets it end waits"
        poll OneShot::reported(1, Readiness::empty()) =>
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            mode_2_a_fired_one_shot_does_not_make_it_spin
            wait_11_idle_waits_sleep
            wait_11_waits_with_closed_sources_sleep
            close_4_a_new_kernel_object_watches_every_source
            [FILES];
    "MODE-2" hang_ups_after "reports hang-ups of a fired one-shot"
        poll OneShot::reported(1, Readiness::HANGUP) =>
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_one_shot_is_silent_about_errors_too
            mode_2_a_fired_one_shot_does_not_make_it_spin
            wait_11_idle_waits_sleep
            wait_11_waits_with_closed_sources_sleep
            close_4_a_new_kernel_object_watches_every_source
            [FILES RANDOM];
    "MODE-2" errors_after "reports errors of a fired one-shot"
        poll OneShot::reported(1, Readiness::ERROR) =>
            mode_2_a_fired_one_shot_that_is_closed_stays_silent
            close_5_a_closed_one_shot_is_reported_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_one_shot_is_silent_about_errors_too
            mode_2_a_fired_one_shot_does_not_make_it_spin
            wait_11_idle_waits_sleep
            wait_11_waits_with_closed_sources_sleep
            close_4_a_new_kernel_object_watches_every_source
            [FILES RANDOM];
    "MODE-2" fired_forgotten "does not unregister a fired one-shot"
        poll ForgetsTheFired::default() =>
            close_3_a_reused_number_has_not_fired
            reg_2_an_empty_interest_parks
            mode_2_a_fired_one_shot_can_be_unregistered
            reg_5_a_duplicate_changes_without_its_twin
            reg_9_its_peer_sees_the_end_at_once
            reg_12_no_call_leaks
            proc_2_a_wake_hides_no_event
            reg_2_the_kernel_does_not_watch_parked_sources
            proc_4_a_forked_copy_changes_nothing
            close_4_a_new_kernel_object_keeps_all_state
            wait_11_idle_waits_sleep
            wait_8_the_lowest_numbers
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_4_every_state_of_a_socket
            reg_9_files_do_not_change
            reg_12_process_settings_do_not_change
            [FILES RANDOM];
    "MODE-2" arms_the_old "arms a one-shot for its first interest"
        poll ArmsTheOld::default() =>
            ready_12_every_kind_of_file_behaves_as_with_poll
            mode_2_arming_with_a_new_interest
            ready_4_every_state_of_a_socket
            wait_8_high_descriptors_in_every_mode
            [RANDOM];
    "MODE-6" half_silenced "silences the direction of a one-shot that it reported"
        poll SilencesHalf =>
            ready_12_every_kind_of_file_behaves_as_with_poll
            mode_2_one_shot_reports_once
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            [RANDOM];
}
