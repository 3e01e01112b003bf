//! The list of all cases. Everything that runs cases is made from it.

use selectors::Backend;

use super::Run;

/// Hands the list of all cases to a macro, after `$before`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_case {
    ($then:path, $($before:tt)*) => {
        $then! {
            $($before)*
            registry:
                reg_1_the_key_is_as_given
                reg_2_an_empty_interest_parks
                reg_4_a_descriptor_is_registered_once
                reg_5_a_duplicate_is_a_source_of_its_own
                reg_5_one_file_in_two_selectors
                reg_9_unregister_gives_everything_back_once
                reg_9_the_backend_forgets_what_was_unregistered
                reg_9_what_was_unregistered_does_not_make_it_spin
                reg_9_what_came_and_went_between_two_waits
                reg_10_no_token_comes_twice
                reg_11_every_view_agrees;
            refusals:
                reg_3_unknown_bits_are_refused
                reg_6_a_closed_descriptor_is_refused
                reg_6_a_negative_descriptor_stays_away_from_the_backend
                reg_7_file_object_and_data_come_back
                reg_7_a_refusal_leaves_nothing_behind
                reg_8_a_selector_does_not_watch_itself
                reg_8_what_it_opened_for_itself_stays_its_own;
            modify:
                mod_1_the_next_select_uses_the_new_interest
                mod_1_the_backend_does_not_add_to_the_old_interest
                mod_1_the_last_change_before_a_wait_counts
                mod_2_changing_the_data_makes_no_call
                mod_3_no_change_makes_no_call
                mod_3_a_fired_one_shot_is_armed_again
                mod_3_there_and_back_arms_a_one_shot
                mod_4_a_refused_modify_changes_nothing
                mod_4_the_backend_goes_on_as_before
                mod_4_map_and_kernel_agree_after_a_descriptor_went
                mod_4_a_file_keeps_its_state
                mod_5_an_unknown_token_is_not_registered;
            close:
                close_1_unregister_after_close
                close_2_unregister_after_the_number_was_reused
                close_3_a_reused_number_inherits_no_interest
                close_3_a_number_changes_hands_between_two_waits
                close_4_a_duplicate_keeps_no_ghost
                close_4_the_others_keep_their_state
                close_4_a_ghost_does_not_make_it_spin
                close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
                close_4_a_forked_holder_keeps_no_ghost
                close_5_a_closed_descriptor_harms_no_other
                close_5_a_closed_descriptor_does_not_make_it_spin
                close_5_a_closed_one_shot_is_reported_once;
            readiness:
                ready_1_idle_sources_are_silent
                ready_2_unread_data_is_read
                ready_2_space_is_write_and_none_is_not
                ready_3_both_directions_are_one_event
                ready_4_only_what_was_asked_for
                ready_4_an_error_wakes_whatever_was_asked_for
                ready_4_the_backend_tells_errors_as_they_are;
            peers:
                ready_5_a_pending_connection_is_read
                ready_5_a_finished_connect_is_write
                ready_5_a_refused_connect_wakes
                ready_6_a_half_closed_peer
                ready_6_a_closed_peer
                ready_6_both_directions_shut_down
                ready_6_a_reset_peer
                ready_6_no_hint_where_nothing_happened
                ready_7_pipe_writer_gone_wakes_reader
                ready_7_pipe_reader_gone_wakes_writer
                ready_7_pipe_reader_gone_wakes_full_writer
                ready_7_a_hang_up_wakes_who_waits_for_write
                ready_8_data_before_end_of_file;
            kinds:
                ready_9_out_of_band_data_is_priority
                ready_10_an_empty_datagram_is_read
                ready_11_a_regular_file_is_always_ready
                ready_11_a_directory_is_always_ready
                ready_11_the_null_device_is_always_ready
                ready_11_files_go_with_other_sources
                ready_12_a_terminal_behaves_as_with_poll
                ready_12_a_fifo_behaves_as_a_pipe
                ready_13_a_selector_can_be_watched;
            modes:
                mode_1_level_repeats_until_drained
                mode_2_one_shot_reports_once
                mode_2_one_shot_is_silent_about_hang_ups_too
                mode_2_one_shot_is_silent_about_errors_too
                mode_2_a_fired_one_shot_can_be_unregistered
                mode_2_a_fired_one_shot_does_not_make_it_spin
                mode_3_edge_reports_what_is_new
                mode_3_edge_reports_again_after_modify
                mode_3_edge_reports_again_after_there_and_back
                mode_4_exclusive_wakes_at_least_one
                mode_4_exclusive_can_be_modified
                mode_5_modes_mix;
            as_of_now:
                ready_1_what_came_and_went_between_two_waits
                ready_1_what_was_drained_of_many
                mode_2_arming_with_a_new_interest
                reg_5_a_duplicate_changes_without_its_twin;
            release:
                reg_9_its_peer_sees_the_end_at_once
                reg_9_flags_are_as_they_were
                reg_12_closing_hands_everything_back
                reg_12_dropping_closes_everything
                reg_12_no_descriptor_is_leaked
                reg_12_nothing_is_closed_twice
                reg_13_descriptors_are_close_on_exec;
            leaks:
                reg_12_no_call_leaks
                reg_12_no_wait_leaks;
            for_ever:
                wait_2_without_a_timeout_a_source_ends_it
                wait_2_without_a_timeout_a_signal_ends_it
                wait_3_the_backend_waits_for_long;
            processor:
                wait_11_who_has_nothing_to_report_sleeps
                wait_11_the_backend_itself_sleeps
                wait_11_a_long_wait_is_one
                wait_11_nor_who_has_closed_sources;
            timing:
                wait_1_zero_does_not_sleep
                wait_3_no_length_is_taken_for_another
                wait_4_no_longer_than_was_asked
                wait_11_a_wait_sleeps_once;
            numbers:
                reg_10_every_bit_of_a_token_counts
                wait_8_the_lowest_numbers;
            priority:
                ready_9_priority_in_every_mode
                ready_9_priority_comes_and_goes;
            counts:
                reg_9_no_registration_is_the_last
                mod_1_every_change_counts;
            states:
                ready_4_every_state_of_a_socket;
            crowds:
                reg_5_one_file_in_many_selectors
                reg_9_many_leave_between_two_waits
                mod_1_many_changes_between_two_waits
                wait_7_ready_in_every_way_at_once
                wait_7_however_little_room_there_is;
            pauses:
                ready_1_what_came_during_a_long_pause
                wait_3_time_passes_between_waits
                proc_6_no_wait_holds_up_another;
            left_alone:
                reg_9_files_are_as_they_were
                reg_12_the_process_is_as_it_was
                reg_12_no_thread_is_left_behind
                wait_6_a_blocked_signal_stays_blocked;
            transitions:
                mod_1_every_mode_becomes_every_other
                mode_2_what_is_masked_does_not_fire;
            every_kind:
                ready_4_an_error_of_a_datagram_socket_wakes
                ready_12_every_kind_of_file_behaves_as_with_poll;
            second_paths:
                ready_5_a_listener_stays_ready_until_all_are_accepted
                proc_1_a_wait_of_no_time_sees_a_wake
                proc_2_a_wake_hides_no_event
                proc_2_a_list_forgets_its_wake
                proc_2_no_wake_is_lost_beside_anything
                wait_8_the_last_bit_of_a_word
                proc_6_a_selector_changes_threads;
            combinations:
                reg_9_descriptor_zero_stays_when_another_leaves
                ready_3_urgent_data_beside_the_rest
                mode_2_a_fired_one_shot_that_is_closed_stays_silent;
            parking:
                reg_2_the_kernel_does_not_watch_what_is_parked
                reg_2_a_hang_up_does_not_reach_what_is_parked
                reg_2_parking_is_no_way_around
                reg_6_what_only_names_a_file_is_refused
                mod_3_rearming_reports_an_edge_again
                mode_6_both_directions_of_a_one_shot_wait_for_arming
                wait_7_one_select_reports_all;
            closing:
                close_4_a_new_kernel_object_watches_all_as_before
                wait_9_a_failed_rebuild_loses_nothing
                close_5_another_thread_closes_during_waits
                close_5_what_is_closed_during_a_wait_is_not_ready
                close_5_a_reused_number_is_not_ready_for_what_was;
            rebuilding:
                close_4_a_new_kernel_object_keeps_the_edges
                close_4_a_ghost_that_stays_does_not_make_it_spin;
            forks:
                proc_4_a_child_is_told_that_it_is_one
                proc_4_a_child_goes_on_by_itself
                proc_4_children_of_children_leak_nothing;
            limits:
                wait_12_without_descriptors_what_is_there_is_served
                proc_7_a_signal_handler_may_wake;
            random:
                ready_1_random_programs
                mode_5_random_programs_of_all_modes
                close_5_random_programs_that_close
                proc_4_random_programs_that_fork
                wait_12_random_programs_without_descriptors;
            waiting:
                wait_1_zero_reports_what_is_ready
                wait_2_without_sources_the_timeout_holds
                wait_2_without_sources_a_waker_ends_it
                wait_2_without_sources_a_signal_ends_it
                wait_3_never_early
                wait_3_the_backend_rounds_away_from_zero
                wait_4_a_fine_timeout_does_not_spin
                wait_4_the_grain_is_as_declared
                wait_5_no_timeout_is_too_long
                wait_6_a_signal_does_not_end_the_wait
                wait_6_no_event_is_lost
                wait_6_on_request_a_signal_ends_it
                wait_7_every_ready_source_gets_its_turn
                wait_8_descriptors_above_1024
                wait_8_high_descriptors_in_every_mode
                wait_8_descriptors_above_65536
                wait_9_the_backend_appends
                wait_9_select_into_replaces
                wait_10_an_unregistered_source_has_no_key;
            threads:
                proc_1_a_wake_ends_a_wait
                proc_1_a_waker_outlives_its_selector
                proc_1_every_waker_wakes
                proc_2_many_wakes_are_one
                proc_2_no_wake_is_lost
                proc_3_wakers_tokens_and_events_cross_threads
                proc_4_a_forked_copy_changes_nothing
                proc_5_a_panic_leaves_the_selector_usable;
        }
    };
}

macro_rules! list {
    ($($module:ident: $($case:ident)+;)+) => {
        /// The names of all cases, rule by rule.
        ///
        /// # Examples
        ///
        /// ```
        /// use selectors_testkit::conformance::CASES;
        ///
        /// let of_rule = CASES.iter().filter(|case| case.starts_with("wait_3_"));
        /// assert!(of_rule.count() > 0);
        /// ```
        pub const CASES: &[&str] = &[$($(stringify!($case)),+),+];

        /// Every case by its name.
        pub(super) fn all<B: Backend + Send>() -> Vec<(&'static str, Run<B>)> {
            vec![$($((stringify!($case), super::$module::$case::<B>)),+),+]
        }
    };
}

for_each_case!(list,);
