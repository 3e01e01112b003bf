//! The suite over the backend that Windows has, its cases one after the other: Windows gives the
//! number of a closed socket to the next that is opened, in whatever thread.
#![cfg(windows)]

use selectors::backend::{Deferred, Select};
use selectors_testkit::conformance::{CASES, Report, run};

/// The cases that Windows has no means for: all that need pipes, files, terminals, signals, fork,
/// or a list or choice of descriptors' numbers.
const LACKING: &[&str] = &[
    "reg_6_a_negative_descriptor_does_not_reach_the_backend",
    "reg_7_a_refusal_leaves_nothing_behind",
    "reg_8_what_it_opened_for_itself_stays_its_own",
    "mod_4_a_file_keeps_its_state",
    "close_2_unregister_after_the_number_was_reused",
    "close_3_a_reused_number_inherits_no_interest",
    "close_3_a_number_is_reused_between_two_waits",
    "close_4_a_duplicate_leaves_no_ghost",
    "close_4_a_forked_child_leaves_no_ghost",
    "ready_7_pipe_writer_gone_wakes_reader",
    "ready_7_pipe_reader_gone_wakes_writer",
    "ready_7_pipe_reader_gone_wakes_full_writer",
    "ready_7_a_hang_up_ends_a_wait_for_write",
    "ready_11_a_regular_file_is_always_ready",
    "ready_11_a_directory_is_always_ready",
    "ready_11_the_null_device_is_always_ready",
    "ready_11_files_beside_other_sources",
    "ready_12_a_terminal_behaves_as_with_poll",
    "ready_12_a_fifo_behaves_as_a_pipe",
    "reg_12_no_call_leaks_memory",
    "wait_2_without_a_timeout_a_signal_ends_it",
    "wait_11_idle_waits_sleep",
    "wait_11_the_backend_itself_sleeps",
    "wait_11_short_waits_sleep",
    "wait_11_a_long_wait_is_not_split",
    "wait_11_waits_with_closed_sources_sleep",
    "wait_1_zero_does_not_sleep",
    "wait_1_a_wait_with_a_ready_source_does_not_sleep",
    "wait_11_a_wait_sleeps_once",
    "wait_8_the_lowest_numbers",
    "wait_6_a_signal_undoes_no_change",
    "reg_12_process_settings_do_not_change",
    "reg_12_no_thread_is_leaked",
    "reg_12_child_processes_are_not_reaped",
    "wait_6_a_blocked_signal_stays_blocked",
    "ready_4_an_error_of_a_datagram_socket_wakes",
    "wait_8_the_last_bit_of_a_word",
    "reg_9_descriptor_zero_stays_registered",
    "close_3_a_reused_number_has_not_fired",
    "reg_6_an_o_path_descriptor_is_refused",
    "close_5_a_reused_number_does_not_report_the_old_file",
    "proc_4_after_fork_watches_every_kind",
    "ready_1_a_pipe_gets_another_writer",
    "ready_1_a_datagram_socket_recovers",
    "proc_4_calls_fail_in_a_child",
    "proc_4_after_fork_works",
    "proc_4_children_of_children_leak_nothing",
    "wait_12_sources_are_served_without_free_descriptors",
    "proc_1_no_wake_raises_a_signal",
    "proc_7_a_signal_handler_may_wake",
    "ready_1_random_programs",
    "mode_5_random_programs_of_all_modes",
    "close_5_random_programs_that_close",
    "proc_4_random_programs_that_fork",
    "wait_12_random_programs_without_descriptors",
    "wait_2_without_sources_a_signal_ends_it",
    "wait_6_a_signal_does_not_end_the_wait",
    "wait_6_no_event_is_lost",
    "wait_6_on_request_a_signal_ends_it",
    "wait_8_descriptors_above_1024",
    "wait_8_high_descriptors_in_every_mode",
    "wait_8_descriptors_above_65536",
    "proc_4_a_forked_copy_changes_nothing",
];

fn check(report: &Report) {
    println!("{report}");
    assert!(report.failed.is_empty());
    let not_run: Vec<_> = report.not_run.iter().map(|(name, _)| *name).collect();
    assert_eq!(not_run, LACKING);
    assert_eq!(report.passed.len() + LACKING.len(), CASES.len());
}

#[test]
fn the_suite_over_select() {
    check(&run(Select::new));
    check(&run(|| Select::new().map(Deferred::new)));
}
