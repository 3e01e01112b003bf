//! Backends with one defect each: exactly the cases that speak of the defect must reject them.
//!
//! Each is a right backend with something wrong before it. The table of all, which
//! `cargo test --test broken the_table -- --nocapture` prints, is made from what the tests check.
//!
//! What cases see of a defect depends on what the backend beneath can see, so the table is that
//! of one system.
#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Once};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use selectors::backend::{Backend, Deferred, Epoll, Poll, Select};
use selectors::{Mode, Readiness};
use selectors_testkit::conformance::{CASES, Report, run_patiently, run_side_by_side};
use selectors_testkit::contract::{RULES, rule_of};

#[path = "broken/defect.rs"]
mod defect;
#[path = "broken/modes.rs"]
mod modes;
#[path = "broken/modify.rs"]
mod modify;
#[path = "broken/readiness.rs"]
mod readiness;
#[path = "broken/registry.rs"]
mod registry;
#[path = "broken/rules.rs"]
mod rules;
#[path = "broken/seldom.rs"]
mod seldom;
#[path = "broken/waiting.rs"]
mod waiting;

use defect::{Broken, Declares, Defect, Refuses, Tells, Times, Watches};
use waiting::{HasAWaker, Wakes};

/// A backend with a defect, and what is to catch it.
struct Row {
    /// The test that runs it.
    test: &'static str,
    /// What is wrong.
    defect: &'static str,
    /// The rule that it breaks.
    rule: &'static str,
    /// The right backend beneath.
    beneath: fn() -> io::Result<Box<dyn Backend + Send>>,
    make: fn() -> Box<dyn Defect>,
    caught_by: &'static [&'static str],
}

fn epoll() -> io::Result<Box<dyn Backend + Send>> {
    Ok(Box::new(Epoll::new()?))
}

fn poll() -> io::Result<Box<dyn Backend + Send>> {
    Ok(Box::new(Poll::new()?))
}

fn deferred() -> io::Result<Box<dyn Backend + Send>> {
    Ok(Box::new(Deferred::new(Poll::new()?)))
}

fn select() -> io::Result<Box<dyn Backend + Send>> {
    Ok(Box::new(Select::new()?))
}

/// How long the cases wait for what a defect keeps from coming; and how long where that was too
/// short for what must come all the same, on a busy machine.
const PATIENCE: [Duration; 3] =
    [Duration::from_millis(40), Duration::from_millis(500), Duration::from_secs(6)];

fn run(row: &Row, patience: Duration) -> Report {
    // Sooner than the suite's own watchdog.
    let until = (3 * patience).min(Duration::from_secs(8));
    let broken = || Ok(Broken::new((row.beneath)()?, (row.make)(), until));
    let report = run_side_by_side(broken, patience, None);
    registry::free_leaked();
    report
}

/// Set in the process of a single row: some defects show in the whole process, and children of
/// one row would keep open what another closes.
const ISOLATED: &str = "SELECTORS_BROKEN_ROW";

/// What came of the rows that have been run.
static DONE: Mutex<BTreeMap<&str, Output>> = Mutex::new(BTreeMap::new());
static ONE_MORE: Condvar = Condvar::new();

fn run_in_a_process_of_its_own(row: &Row) -> Output {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    let command = command.args(["--exact", row.test, "--nocapture"]).env(ISOLATED, "1");
    command.output().expect("another process of this program")
}

/// Runs all rows, more at a time than the harness does, as they wait most of the time.
fn start_all() {
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..5 {
        let next = Arc::clone(&next);
        thread::spawn(move || {
            while let Some(row) = ROWS.get(next.fetch_add(1, Ordering::Relaxed)) {
                let output = run_in_a_process_of_its_own(row);
                DONE.lock().unwrap().insert(row.defect, output);
                ONE_MORE.notify_all();
            }
        });
    }
}

fn check_in_a_process_of_its_own(row: &Row) {
    if std::env::var_os(ISOLATED).is_some() {
        return check(row);
    }
    let all = std::env::args().skip(1).all(|argument| argument.starts_with('-'));
    let output = if all {
        static STARTED: Once = Once::new();
        STARTED.call_once(start_all);
        let done = DONE.lock().unwrap();
        let waits = |done: &mut BTreeMap<&str, Output>| !done.contains_key(row.defect);
        let mut done = ONE_MORE.wait_while(done, waits).unwrap();
        done.remove(row.defect).expect("it was waited for")
    } else {
        run_in_a_process_of_its_own(row)
    };
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {}", row.defect, output.status);
}

fn check(row: &Row) {
    let mut seen = Vec::new();
    let mut expected = Vec::new();
    for patience in PATIENCE {
        let report = run(row, patience);
        let ran = |case: &&&str| report.not_run.iter().all(|(other, _)| other != *case);
        // What random programs and racing threads come upon depends on more than the defect: they
        // count where the row names them.
        let by_chance = |case: &str| case.contains("_random_") || case.contains("another_thread");
        let counts = |case: &&str| !by_chance(case) || row.caught_by.contains(case);
        seen = report.failed.iter().map(|(case, _)| *case).filter(counts).collect::<Vec<_>>();
        expected = row.caught_by.iter().filter(ran).copied().collect();
        if seen == expected {
            for (case, message) in &report.failed {
                println!("{message}\n");
                assert!(message.starts_with(case), "a message does not name its case");
            }
            return;
        }
        println!("with a patience of {patience:?}: {report}\n");
    }
    panic!(
        "a backend that {}\n  is caught by:\n        {}\n  and not by:\n        {}",
        row.defect,
        seen.join("\n        "),
        expected.join("\n        ")
    );
}

macro_rules! defects {
    ($($rule:literal $test:ident $defect:literal $beneath:ident $make:expr => $($case:ident)+;)+) => {
        const ROWS: &[Row] = &[$(Row {
            test: stringify!($test),
            defect: $defect,
            rule: $rule,
            beneath: $beneath,
            make: || Box::new($make),
            caught_by: &[$(stringify!($case)),+],
        }),+];

        $(
            #[test]
            fn $test() {
                let row = ROWS.iter().find(|row| row.defect == $defect);
                check_in_a_process_of_its_own(row.expect("a row for each test"));
            }
        )+
    };
}

defects! {
    "REG-5" duplicate_refused "takes a duplicate for the file it knows"
        poll registry::KnowsFilesByInode =>
            reg_5_a_duplicate_is_a_source_of_its_own
            reg_5_a_duplicate_changes_without_its_twin
            wait_7_one_select_reports_all
            close_5_another_thread_closes_during_waits
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            wait_7_every_ready_source_gets_its_turn;
    "REG-6" closed_taken "takes a closed descriptor in"
        poll registry::TakesClosed::default() =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_file_object_and_data_come_back
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_what_only_names_a_file_is_refused;
    "REG-6" deferral_declared "declares deferred changes, and makes them at once"
        poll Declares(|c| c.deferred = true) =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_file_object_and_data_come_back
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_what_only_names_a_file_is_refused;
    "REG-6" deferral_undeclared "defers its changes, and does not say so"
        deferred Declares(|c| c.deferred = false) =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_file_object_and_data_come_back
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_what_only_names_a_file_is_refused;
    "REG-6" deferred_refusal_lost "defers its changes, and loses refusals"
        deferred Tells(|r, _| r - Readiness::ERROR) =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_file_object_and_data_come_back
            reg_7_a_refusal_leaves_nothing_behind
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer
            ready_7_pipe_reader_gone_wakes_full_writer
            wait_11_nor_who_has_closed_sources
            reg_6_what_only_names_a_file_is_refused
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "REG-7" half_left "leaves half of what it refused"
        poll registry::LeavesHalf::default() =>
            reg_7_a_refusal_leaves_nothing_behind;
    "REG-8" nesting_undeclared "has a descriptor, and does not declare nesting"
        epoll Declares(|c| c.nesting = false) =>
            reg_8_a_selector_does_not_watch_itself
            ready_13_a_selector_can_be_watched;
    "REG-8" no_descriptor "declares nesting, and has no descriptor"
        epoll registry::HasNoDescriptor =>
            reg_8_a_selector_does_not_watch_itself
            ready_13_a_selector_can_be_watched;
    "REG-9" place_lost "forgets the wrong source after a removal"
        poll registry::LosesItsPlace::default() =>
            reg_9_the_backend_forgets_what_was_unregistered
            reg_9_what_came_and_went_between_two_waits
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "REG-9" unregistered_hidden "hides what was unregistered, and lets it end waits"
        poll registry::HidesTheUnregistered::default() =>
            reg_9_what_was_unregistered_does_not_make_it_spin
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            wait_11_who_has_nothing_to_report_sleeps
            reg_2_the_kernel_does_not_watch_what_is_parked;
    "REG-10" old_token "tells the token that a descriptor had first"
        poll registry::TellsOldTokens::default() =>
            reg_9_what_came_and_went_between_two_waits
            reg_10_no_token_comes_twice
            close_3_a_reused_number_inherits_no_interest
            close_3_a_number_changes_hands_between_two_waits
            close_4_a_duplicate_keeps_no_ghost
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_a_fired_one_shot_can_be_unregistered
            proc_2_a_wake_hides_no_event
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            wait_10_an_unregistered_source_has_no_key;
    "REG-12" leak "leaks a descriptor of its own"
        poll registry::Leaks::new() =>
            reg_12_no_descriptor_is_leaked
            reg_12_no_call_leaks;
    "REG-12" leaked_duplicates "leaks a duplicate of each source"
        poll registry::LeaksDuplicates =>
            reg_12_dropping_closes_everything
            reg_12_no_descriptor_is_leaked
            reg_9_its_peer_sees_the_end_at_once
            reg_12_no_call_leaks;
    "REG-12" shut_down "shuts its sources down when it is dropped"
        poll registry::ShutsDown =>
            reg_12_closing_hands_everything_back
            ready_4_only_what_was_asked_for
            ready_6_a_half_closed_peer
            wait_2_without_a_timeout_a_signal_ends_it
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            proc_4_a_forked_copy_changes_nothing;
    "REG-13" inheritable "opens a descriptor that is not close-on-exec"
        poll registry::Inheritable::new() =>
            reg_13_descriptors_are_close_on_exec;
    "REG-13" inheritable_itself "its own descriptor is not close-on-exec"
        epoll registry::InheritableItself =>
            reg_13_descriptors_are_close_on_exec
            close_4_a_new_kernel_object_watches_all_as_before;
    "MOD-1" masks_added "ORs the old mask on modify"
        poll modify::AddsInterests =>
            mod_1_the_backend_does_not_add_to_the_old_interest
            ready_1_random_programs
            mode_5_random_programs_of_all_modes;
    "MOD-1" modified_late "modifies after the next wait"
        poll modify::ModifiesLate::default() =>
            mod_1_the_next_select_uses_the_new_interest
            mod_1_the_backend_does_not_add_to_the_old_interest
            mod_1_the_last_change_before_a_wait_counts
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            reg_5_a_duplicate_changes_without_its_twin
            ready_5_a_listener_stays_ready_until_all_are_accepted
            wait_12_without_descriptors_what_is_there_is_served
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            proc_4_a_forked_copy_changes_nothing;
    "MOD-3" not_armed "skips a modify to the same, also of a fired one-shot"
        poll modify::SkipsTheSame =>
            mod_3_a_fired_one_shot_is_armed_again
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_one_shot_reports_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_arming_with_a_new_interest
            ready_5_a_listener_stays_ready_until_all_are_accepted
            proc_6_a_selector_changes_threads
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            wait_12_without_descriptors_what_is_there_is_served
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "MOD-3" deferred_arming "cancels changes that arm a source"
        epoll modify::PutsOff::unless(modify::same_as_before) =>
            mod_3_a_fired_one_shot_is_armed_again
            mod_3_there_and_back_arms_a_one_shot
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_one_shot_reports_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_3_edge_reports_again_after_there_and_back
            mode_2_arming_with_a_new_interest
            ready_5_a_listener_stays_ready_until_all_are_accepted
            proc_6_a_selector_changes_threads
            mod_3_rearming_reports_an_edge_again
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            wait_12_without_descriptors_what_is_there_is_served
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "MOD-4" no_roll_back "forgets to roll back"
        poll modify::DeletesAndAdds =>
            mod_4_map_and_kernel_agree_after_a_descriptor_went
            close_5_random_programs_that_close;
    "MOD-4" refused_and_done "refuses a modify after it was made"
        poll modify::RefusesAndChanges =>
            mod_4_the_backend_goes_on_as_before
            ready_9_out_of_band_data_is_priority;
    "CLOSE-1" closed_not_forgotten "answers EBADF when a closed source is unregistered"
        poll modify::RefusesToForgetClosed =>
            mod_4_map_and_kernel_agree_after_a_descriptor_went
            close_1_unregister_after_close
            close_3_a_reused_number_inherits_no_interest
            close_3_a_number_changes_hands_between_two_waits
            close_4_a_duplicate_keeps_no_ghost
            close_4_the_others_keep_their_state
            close_4_a_ghost_does_not_make_it_spin
            close_4_a_forked_holder_keeps_no_ghost
            close_5_a_closed_descriptor_does_not_make_it_spin
            reg_12_no_call_leaks
            close_4_a_new_kernel_object_watches_all_as_before
            wait_12_without_descriptors_what_is_there_is_served
            close_5_random_programs_that_close;
    "CLOSE-2" replaced_left "leaves an entry whose number became another file's"
        poll modify::LeavesTheReplaced::default() =>
            close_2_unregister_after_the_number_was_reused;
    "CLOSE-3" interest_inherited "adds to what a closed number was watched for"
        poll modify::InheritsInterests::default() =>
            close_3_a_reused_number_inherits_no_interest;
    "CLOSE-4" ghosts "does not rid the kernel of ghosts"
        epoll modify::KeepsGhosts =>
            close_4_a_ghost_does_not_make_it_spin;
    "CLOSE-4" known_by_number "lets the kernel carry the number"
        epoll modify::KnowsByNumber::default() =>
            close_4_a_forked_holder_keeps_no_ghost
            ready_1_what_was_drained_of_many
            wait_7_one_select_reports_all
            close_5_random_programs_that_close;
    "CLOSE-5" closed_swallowed "swallows POLLNVAL"
        poll Tells(modify::swallows_closed) =>
            close_5_a_closed_descriptor_does_not_make_it_spin
            wait_11_nor_who_has_closed_sources;
    "CLOSE-5" closed_readable "tells POLLNVAL as READ"
        poll Tells(modify::closed_is_readable) =>
            close_5_a_closed_descriptor_harms_no_other
            close_5_a_closed_descriptor_does_not_make_it_spin
            close_5_another_thread_closes_during_waits;
    "CLOSE-5" fails_for_one "one closed descriptor fails the whole wait"
        poll modify::FailsForOne =>
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            close_5_a_closed_descriptor_harms_no_other
            close_5_a_closed_descriptor_does_not_make_it_spin
            close_5_a_closed_one_shot_is_reported_once
            wait_11_nor_who_has_closed_sources
            close_5_another_thread_closes_during_waits
            close_5_random_programs_that_close;
    "CLOSE-5" closed_alone "reports nothing beside a closed descriptor"
        poll modify::LooksAtClosedAlone =>
            close_5_a_closed_descriptor_harms_no_other
            close_5_another_thread_closes_during_waits
            close_5_random_programs_that_close;
    "CLOSE-5" closed_repeated "reports a closed one-shot source each time"
        poll modify::RepeatsClosed =>
            close_5_a_closed_one_shot_is_reported_once
            wait_11_nor_who_has_closed_sources;
    "READY-1" idle_pipes "reports idle pipes"
        poll readiness::Assumes(readiness::every_pipe_is_readable) =>
            ready_1_idle_sources_are_silent
            ready_2_unread_data_is_read
            ready_12_a_fifo_behaves_as_a_pipe
            ready_1_what_came_and_went_between_two_waits
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-2" write_assumed "takes WRITE from the absence of an error"
        poll readiness::Assumes(readiness::whoever_may_write_can) =>
            ready_2_space_is_write_and_none_is_not
            ready_12_a_fifo_behaves_as_a_pipe
            ready_1_what_came_and_went_between_two_waits
            wait_11_who_has_nothing_to_report_sleeps
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-3" two_events "two events for two directions"
        poll readiness::SeparatesDirections =>
            reg_9_what_came_and_went_between_two_waits
            mod_1_the_next_select_uses_the_new_interest
            mod_1_the_last_change_before_a_wait_counts
            ready_3_both_directions_are_one_event
            ready_4_an_error_wakes_whatever_was_asked_for
            ready_5_a_refused_connect_wakes
            ready_6_no_hint_where_nothing_happened
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_one_shot_reports_once
            mode_2_a_fired_one_shot_can_be_unregistered
            mode_2_arming_with_a_new_interest
            reg_9_flags_are_as_they_were
            wait_8_the_last_bit_of_a_word
            proc_6_a_selector_changes_threads
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            wait_8_descriptors_above_1024
            proc_4_a_forked_copy_changes_nothing;
    "READY-4" error_is_read "tells an error as READ alone"
        poll Tells(readiness::error_is_read) =>
            close_5_a_closed_descriptor_harms_no_other
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_4_an_error_wakes_whatever_was_asked_for
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer
            ready_7_pipe_reader_gone_wakes_writer
            ready_7_pipe_reader_gone_wakes_full_writer
            mode_2_one_shot_is_silent_about_hang_ups_too
            close_5_another_thread_closes_during_waits
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-4" direction_needed "drops what has no direction"
        poll Tells(|r, _| if r.intersects(readiness::ASKABLE) { r } else { Readiness::empty() }) =>
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_4_an_error_wakes_whatever_was_asked_for
            ready_7_pipe_writer_gone_wakes_reader
            ready_7_pipe_reader_gone_wakes_full_writer
            ready_7_a_hang_up_wakes_who_waits_for_write
            ready_8_data_before_end_of_file
            wait_11_nor_who_has_closed_sources
            reg_2_a_hang_up_does_not_reach_what_is_parked
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-5" deaf_listener "says nothing of pending connections"
        poll Tells(readiness::listeners_are_deaf) =>
            ready_5_a_pending_connection_is_read
            ready_5_a_listener_stays_ready_until_all_are_accepted;
    "READY-5" refusal_is_end "tells a refused connect as an end-of-file"
        poll Tells(readiness::refusal_is_the_end) =>
            ready_4_an_error_wakes_whatever_was_asked_for
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer;
    "READY-5" connected_readable "tells a finished connect as READ"
        poll Tells(readiness::connected_is_readable) =>
            ready_5_a_finished_connect_is_write;
    "READY-6" no_hang_up "drops HANGUP"
        poll Tells(|r, _| r - Readiness::HANGUP) =>
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer
            ready_7_pipe_writer_gone_wakes_reader
            ready_7_a_hang_up_wakes_who_waits_for_write
            ready_8_data_before_end_of_file
            reg_2_a_hang_up_does_not_reach_what_is_parked
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-6" no_read_closed "drops READ_CLOSED"
        poll Tells(|r, _| r - Readiness::READ_CLOSED) =>
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer;
    "READY-6" no_error "drops ERROR"
        poll Tells(|r, _| r - Readiness::ERROR) =>
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer
            ready_7_pipe_reader_gone_wakes_full_writer
            wait_11_nor_who_has_closed_sources
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-6" half_close_hang_up "tells a half-closed peer as HANGUP"
        poll Tells(readiness::half_close_is_hang_up) =>
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer;
    "READY-6" end_is_error "tells an end as ERROR"
        poll Tells(readiness::end_is_error) =>
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down;
    "READY-6" data_is_end "tells data as READ_CLOSED"
        poll Tells(readiness::data_is_the_end) =>
            mod_1_the_next_select_uses_the_new_interest
            mod_1_the_last_change_before_a_wait_counts
            ready_3_both_directions_are_one_event
            ready_6_no_hint_where_nothing_happened
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_one_shot_reports_once
            mode_2_arming_with_a_new_interest
            wait_8_the_last_bit_of_a_word
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            wait_8_descriptors_above_1024;
    "READY-6" silent_ends "says nothing of an end-of-file"
        poll Tells(readiness::ends_are_silent) =>
            reg_2_an_empty_interest_parks
            reg_12_dropping_closes_everything
            ready_4_an_error_wakes_whatever_was_asked_for
            ready_4_the_backend_tells_errors_as_they_are
            ready_5_a_refused_connect_wakes
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer
            ready_8_data_before_end_of_file
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_one_shot_is_silent_about_errors_too
            reg_2_a_hang_up_does_not_reach_what_is_parked
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-6" undeclared_hints "tells hints that it does not declare"
        poll Declares(|c| (c.hangup, c.read_closed, c.error) = (false, false, false)) =>
            ready_4_the_backend_tells_errors_as_they_are
            ready_5_a_refused_connect_wakes
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer
            ready_7_pipe_writer_gone_wakes_reader;
    "READY-6" missing_hints "declares hints that it does not tell"
        select Declares(|c| (c.hangup, c.read_closed, c.error) = (true, true, true)) =>
            ready_4_an_error_wakes_whatever_was_asked_for
            ready_5_a_refused_connect_wakes
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer
            ready_7_pipe_writer_gone_wakes_reader;
    "READY-7" deaf_writers "tells hang-ups to readers alone"
        poll Tells(readiness::writers_hear_no_hang_up) =>
            ready_7_pipe_reader_gone_wakes_full_writer
            ready_7_a_hang_up_wakes_who_waits_for_write
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-7" space_alone "says nothing of a pipe without readers"
        poll Tells(readiness::pipes_have_space_or_not) =>
            ready_7_pipe_reader_gone_wakes_writer
            ready_7_pipe_reader_gone_wakes_full_writer
            mode_2_one_shot_is_silent_about_hang_ups_too
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-7" write_hangup_declared "declares write_hangup, and cannot see it"
        select Declares(|c| c.write_hangup = true) =>
            ready_7_a_hang_up_wakes_who_waits_for_write
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-7" silent_pipes "says nothing of a pipe without writers"
        poll Tells(readiness::ends_of_pipes_are_silent) =>
            ready_7_pipe_writer_gone_wakes_reader
            ready_7_a_hang_up_wakes_who_waits_for_write
            ready_8_data_before_end_of_file
            reg_2_a_hang_up_does_not_reach_what_is_parked
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-8" end_once "tells an end only with the data before it"
        poll readiness::EndsOnce::default() =>
            ready_8_data_before_end_of_file
            ready_1_random_programs
            mode_5_random_programs_of_all_modes;
    "READY-9" urgent_is_read "tells PRIORITY as READ"
        poll Tells(readiness::urgent_is_read) =>
            ready_9_out_of_band_data_is_priority;
    "READY-9" read_is_urgent "tells READ as PRIORITY"
        poll Tells(readiness::read_is_urgent) =>
            ready_9_out_of_band_data_is_priority;
    "READY-10" empty_datagram "derives READ from the number of bytes"
        poll Tells(readiness::empty_datagrams_are_nothing) =>
            ready_10_an_empty_datagram_is_read;
    "READY-11" no_files "refuses regular files with EPERM"
        poll Refuses(readiness::no_regular_files) =>
            reg_12_no_descriptor_is_leaked
            reg_13_descriptors_are_close_on_exec
            mod_4_a_file_keeps_its_state
            close_5_a_closed_descriptor_harms_no_other
            ready_11_a_regular_file_is_always_ready
            ready_11_files_go_with_other_sources
            reg_12_no_call_leaks
            reg_12_nothing_is_closed_twice
            wait_11_who_has_nothing_to_report_sleeps
            reg_2_the_kernel_does_not_watch_what_is_parked
            close_4_a_new_kernel_object_watches_all_as_before
            close_5_a_reused_number_is_not_ready_for_what_was
            wait_12_without_descriptors_what_is_there_is_served
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "READY-11" no_directories "refuses directories with EPERM"
        poll Refuses(readiness::no_directories) =>
            ready_11_a_directory_is_always_ready
            reg_6_what_only_names_a_file_is_refused;
    "READY-11" no_null_device "refuses the null device with EPERM"
        poll Refuses(readiness::no_null_device) =>
            ready_11_the_null_device_is_always_ready;
    "READY-11" files_end "says nothing of a file at its end"
        poll Tells(readiness::files_end) =>
            ready_11_a_regular_file_is_always_ready;
    "READY-12" no_terminals "refuses terminals"
        poll Refuses(readiness::no_terminals) =>
            ready_12_a_terminal_behaves_as_with_poll;
    "READY-12" fifos_are_files "takes a fifo for a file that is always ready"
        poll readiness::Assumes(readiness::fifos_are_files) =>
            ready_1_idle_sources_are_silent
            ready_12_a_fifo_behaves_as_a_pipe;
    "READY-13" another_descriptor "its descriptor never becomes readable"
        epoll readiness::HasAnotherDescriptor::new() =>
            reg_8_a_selector_does_not_watch_itself
            ready_13_a_selector_can_be_watched
            reg_2_parking_is_no_way_around;
    "READY-13" files_beside "keeps files where its descriptor cannot show them"
        epoll readiness::KeepsFilesBeside::default() =>
            ready_13_a_selector_can_be_watched
            reg_6_what_only_names_a_file_is_refused
            close_5_a_reused_number_is_not_ready_for_what_was;
    "MODE-1" level_is_edge "takes level for edge"
        epoll Watches(modes::level_is_edge) =>
            reg_5_a_duplicate_is_a_source_of_its_own
            mod_1_the_last_change_before_a_wait_counts
            mod_4_a_refused_modify_changes_nothing
            close_5_a_closed_descriptor_harms_no_other
            ready_3_both_directions_are_one_event
            ready_8_data_before_end_of_file
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            ready_11_files_go_with_other_sources
            mode_1_level_repeats_until_drained
            mode_2_one_shot_reports_once
            mode_3_edge_reports_again_after_modify
            mode_5_modes_mix
            reg_5_a_duplicate_changes_without_its_twin
            ready_5_a_listener_stays_ready_until_all_are_accepted
            mod_3_rearming_reports_an_edge_again
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_watches_all_as_before
            close_5_another_thread_closes_during_waits
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            wait_12_without_descriptors_what_is_there_is_served
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            wait_9_select_into_replaces
            wait_10_an_unregistered_source_has_no_key
            proc_5_a_panic_leaves_the_selector_usable;
    "MODE-2" one_shot_twice "reports a one-shot twice"
        poll modes::OneShot::new(2, Readiness::empty()) =>
            mod_3_a_fired_one_shot_is_armed_again
            mod_3_there_and_back_arms_a_one_shot
            close_5_a_closed_one_shot_is_reported_once
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_one_shot_reports_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_one_shot_is_silent_about_errors_too
            mode_2_a_fired_one_shot_can_be_unregistered
            mode_2_a_fired_one_shot_does_not_make_it_spin
            mode_5_modes_mix
            ready_1_what_was_drained_of_many
            mode_2_arming_with_a_new_interest
            reg_5_a_duplicate_changes_without_its_twin
            wait_11_who_has_nothing_to_report_sleeps
            wait_11_nor_who_has_closed_sources
            ready_5_a_listener_stays_ready_until_all_are_accepted
            proc_2_a_wake_hides_no_event
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            wait_7_one_select_reports_all
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            wait_12_without_descriptors_what_is_there_is_served
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            proc_4_a_forked_copy_changes_nothing;
    "MODE-2" fired_hidden "hides a one-shot that has fired, and lets it end waits"
        poll modes::OneShot::new(1, Readiness::empty()) =>
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_a_fired_one_shot_does_not_make_it_spin
            wait_11_who_has_nothing_to_report_sleeps
            wait_11_nor_who_has_closed_sources;
    "MODE-2" hang_ups_after "tells hang-ups of a fired one-shot"
        poll modes::OneShot::new(1, Readiness::HANGUP) =>
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_one_shot_is_silent_about_errors_too
            mode_2_a_fired_one_shot_does_not_make_it_spin
            wait_11_who_has_nothing_to_report_sleeps
            wait_11_nor_who_has_closed_sources
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "MODE-2" errors_after "tells errors of a fired one-shot"
        poll modes::OneShot::new(1, Readiness::ERROR) =>
            close_5_a_closed_one_shot_is_reported_once
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_one_shot_is_silent_about_errors_too
            mode_2_a_fired_one_shot_does_not_make_it_spin
            wait_11_who_has_nothing_to_report_sleeps
            wait_11_nor_who_has_closed_sources
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "MODE-2" fired_forgotten "does not unregister a fired one-shot"
        poll modes::ForgetsTheFired::default() =>
            reg_2_an_empty_interest_parks
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_a_fired_one_shot_can_be_unregistered
            reg_5_a_duplicate_changes_without_its_twin
            reg_9_its_peer_sees_the_end_at_once
            reg_12_no_call_leaks
            proc_2_a_wake_hides_no_event
            reg_2_the_kernel_does_not_watch_what_is_parked
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            proc_4_a_forked_copy_changes_nothing;
    "MODE-3" edge_is_level "takes edge for level"
        epoll Watches(modes::edge_is_level) =>
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            ready_13_a_selector_can_be_watched
            mode_3_edge_reports_what_is_new
            mode_3_edge_reports_again_after_modify
            mode_3_edge_reports_again_after_there_and_back
            mode_5_modes_mix
            wait_11_who_has_nothing_to_report_sleeps
            mod_3_rearming_reports_an_edge_again
            wait_7_one_select_reports_all;
    "MODE-3" edge_is_one_shot "takes edge for one-shot"
        epoll Watches(modes::edge_is_one_shot) =>
            mode_3_edge_reports_what_is_new
            wait_2_without_a_timeout_a_source_ends_it
            proc_1_a_wait_of_no_time_sees_a_wake
            proc_2_a_wake_hides_no_event
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            wait_12_without_descriptors_what_is_there_is_served
            proc_7_a_signal_handler_may_wake
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            proc_1_a_wake_ends_a_wait
            proc_2_many_wakes_are_one
            proc_2_no_wake_is_lost;
    "MODE-3" next_edge "waits for the next edge after a modify"
        epoll modes::WaitsForTheNextEdge::default() =>
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_3_edge_reports_again_after_modify
            mode_3_edge_reports_again_after_there_and_back
            ready_1_what_was_drained_of_many
            mod_3_rearming_reports_an_edge_again
            wait_7_one_select_reports_all
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "MODE-3" edge_declared "declares edge, and does not have it"
        poll Declares(|c| c.edge = true) =>
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_3_edge_reports_what_is_new
            mode_3_edge_reports_again_after_modify
            mode_3_edge_reports_again_after_there_and_back
            mode_5_modes_mix
            wait_11_who_has_nothing_to_report_sleeps
            mod_3_rearming_reports_an_edge_again
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_watches_all_as_before;
    "MODE-4" exclusive_modified "has the kernel modify an exclusive source"
        epoll modes::ModifiesExclusive =>
            mode_4_exclusive_can_be_modified
            reg_9_its_peer_sees_the_end_at_once
            reg_9_flags_are_as_they_were;
    "MODE-4" exclusive_refused "declares exclusive wake-up, and refuses it"
        epoll Refuses(modes::no_exclusive) =>
            mod_4_the_backend_goes_on_as_before
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_4_exclusive_wakes_at_least_one
            mode_4_exclusive_can_be_modified
            mode_5_modes_mix
            ready_1_what_came_and_went_between_two_waits
            reg_9_its_peer_sees_the_end_at_once
            reg_9_flags_are_as_they_were
            reg_2_the_kernel_does_not_watch_what_is_parked
            reg_2_a_hang_up_does_not_reach_what_is_parked
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_watches_all_as_before;
    "MODE-4" none_wakes "wakes nobody for an exclusive listener"
        epoll Tells(|r, source| if source.watch.mode == Mode::Exclusive { Readiness::empty() } else { r }) =>
            mod_4_the_backend_goes_on_as_before
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_4_exclusive_wakes_at_least_one
            mode_4_exclusive_can_be_modified
            mode_5_modes_mix
            ready_1_what_came_and_went_between_two_waits
            ready_1_what_was_drained_of_many
            reg_9_its_peer_sees_the_end_at_once
            reg_9_flags_are_as_they_were
            reg_2_the_kernel_does_not_watch_what_is_parked
            reg_2_a_hang_up_does_not_reach_what_is_parked
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_watches_all_as_before;
    "MODE-5" one_mode "uses the last mode for all"
        epoll modes::HasOneMode =>
            close_4_the_others_keep_their_state
            mode_5_modes_mix
            wait_11_who_has_nothing_to_report_sleeps
            close_4_a_new_kernel_object_watches_all_as_before
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "WAIT-1" no_look "does not look when it is not to wait"
        poll waiting::SkipsTheLook =>
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            wait_11_nor_who_has_closed_sources
            proc_1_a_wait_of_no_time_sees_a_wake
            wait_7_one_select_reports_all
            close_4_a_new_kernel_object_watches_all_as_before
            proc_7_a_signal_handler_may_wake
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            wait_1_zero_reports_what_is_ready;
    "WAIT-2" empty_at_once "returns at once without sources"
        poll waiting::WithoutSources(|| Ok(())) =>
            close_4_a_ghost_does_not_make_it_spin
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            wait_2_without_a_timeout_a_signal_ends_it
            wait_3_the_backend_waits_for_long
            reg_2_the_kernel_does_not_watch_what_is_parked
            wait_2_without_sources_the_timeout_holds
            wait_2_without_sources_a_signal_ends_it;
    "WAIT-2" empty_refused "answers EINVAL without sources"
        poll waiting::WithoutSources(|| Err(Errno::EINVAL.into())) =>
            reg_2_an_empty_interest_parks
            reg_7_a_refusal_leaves_nothing_behind
            reg_9_unregister_gives_everything_back_once
            reg_9_what_came_and_went_between_two_waits
            close_1_unregister_after_close
            close_2_unregister_after_the_number_was_reused
            close_4_a_ghost_does_not_make_it_spin
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_a_fired_one_shot_can_be_unregistered
            reg_12_no_call_leaks
            wait_2_without_a_timeout_a_signal_ends_it
            wait_3_the_backend_waits_for_long
            wait_8_the_last_bit_of_a_word
            reg_2_the_kernel_does_not_watch_what_is_parked
            reg_2_a_hang_up_does_not_reach_what_is_parked
            mod_3_rearming_reports_an_edge_again
            close_5_a_reused_number_is_not_ready_for_what_was
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            wait_2_without_sources_the_timeout_holds
            wait_2_without_sources_a_signal_ends_it
            wait_8_descriptors_above_1024
            proc_1_a_waker_outlives_its_selector
            proc_4_a_forked_copy_changes_nothing;
    "WAIT-3" rounds_down "rounds timeouts down"
        poll Times(waiting::millis_rounded_down) =>
            wait_3_the_backend_rounds_away_from_zero
            wait_4_a_fine_timeout_does_not_spin;
    "WAIT-3" fast_clock "its clock is too fast"
        poll waiting::HasAFastClock =>
            wait_3_the_backend_waits_for_long
            reg_2_the_kernel_does_not_watch_what_is_parked
            wait_2_without_sources_the_timeout_holds
            wait_3_never_early
            wait_3_the_backend_rounds_away_from_zero
            wait_4_a_fine_timeout_does_not_spin
            wait_6_a_signal_does_not_end_the_wait;
    "WAIT-4" coarse "waits for milliseconds, and declares nanoseconds"
        poll Times(waiting::millis_rounded_up) =>
            wait_4_the_grain_is_as_declared;
    "WAIT-5" einval "answers EINVAL to long timeouts"
        poll waiting::RefusesLongTimeouts =>
            wait_5_no_timeout_is_too_long;
    "WAIT-5" overflow "adds the timeout to the clock"
        poll Times(waiting::until_a_moment) =>
            wait_5_no_timeout_is_too_long;
    "WAIT-6" retries "retries by itself after a signal"
        poll waiting::RetriesByItself =>
            wait_2_without_a_timeout_a_signal_ends_it
            wait_2_without_sources_a_signal_ends_it
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends;
    "WAIT-6" early "returns early on EINTR"
        poll waiting::TakesSignalsForTimeouts =>
            wait_2_without_a_timeout_a_signal_ends_it
            wait_2_without_sources_a_signal_ends_it
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends;
    "WAIT-6" fails "fails when a signal came"
        poll waiting::TakesSignalsForErrors =>
            wait_2_without_a_timeout_a_signal_ends_it
            proc_7_a_signal_handler_may_wake
            wait_2_without_sources_a_signal_ends_it
            wait_6_a_signal_does_not_end_the_wait
            wait_6_no_event_is_lost
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends;
    "WAIT-6" loses "loses what was ready when a signal came"
        poll waiting::LosesEventsToSignals::default() =>
            proc_7_a_signal_handler_may_wake
            wait_6_no_event_is_lost;
    "WAIT-7" first_64 "reports the first 64 each time"
        poll waiting::StopsAt(64) =>
            ready_1_what_was_drained_of_many
            wait_7_one_select_reports_all
            wait_7_every_ready_source_gets_its_turn;
    "WAIT-8" bits "refuses descriptors from 1024"
        poll Refuses(waiting::not_from_1024_to_2047) =>
            wait_8_the_last_bit_of_a_word
            wait_7_every_ready_source_gets_its_turn
            wait_8_descriptors_above_1024;
    "WAIT-9" cleared "clears the list before it waits"
        poll waiting::ClearsTheList =>
            wait_9_the_backend_appends;
    "WAIT-9" cleared_on_failure "clears the list when a wait fails"
        poll waiting::ClearsTheListWhenItFails =>
            wait_9_the_backend_appends;
    "WAIT-10" by_slot "knows sources by their slots"
        poll waiting::KnowsBySlot::default() =>
            reg_9_what_came_and_went_between_two_waits
            reg_10_no_token_comes_twice
            close_3_a_number_changes_hands_between_two_waits
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_a_fired_one_shot_can_be_unregistered
            proc_2_a_wake_hides_no_event
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            wait_10_an_unregistered_source_has_no_key;
    "WAIT-10" deferred_reuse "cancels changes by which a number is another source's"
        epoll modify::PutsOff::unless(modify::watched_as_before) =>
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            close_5_a_reused_number_is_not_ready_for_what_was
            close_5_random_programs_that_close
            wait_10_an_unregistered_source_has_no_key;
    "PROC-1" waker_gone "waking a selector that is gone is an error"
        poll HasAWaker::new(Wakes::WhileItLives) =>
            proc_1_a_waker_outlives_its_selector;
    "PROC-2" lost_wakes "loses every second wake"
        poll HasAWaker::new(Wakes::EverySecondTime) =>
            wait_2_without_a_timeout_a_source_ends_it
            proc_1_a_wait_of_no_time_sees_a_wake
            proc_2_a_wake_hides_no_event
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            wait_12_without_descriptors_what_is_there_is_served
            proc_7_a_signal_handler_may_wake
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            proc_1_a_wake_ends_a_wait
            proc_2_many_wakes_are_one
            proc_2_no_wake_is_lost;
    "PROC-3" own_thread "wakes from its own thread alone"
        poll HasAWaker::new(Wakes::OnItsOwnThread) =>
            wait_2_without_a_timeout_a_source_ends_it
            proc_6_a_selector_changes_threads
            wait_2_without_sources_a_waker_ends_it
            proc_1_a_wake_ends_a_wait
            proc_2_no_wake_is_lost
            proc_3_wakers_tokens_and_events_cross_threads;
    "WAIT-2" none_is_zero "takes no timeout for zero"
        poll seldom::NoneIs(Duration::ZERO) =>
            wait_2_without_a_timeout_a_signal_ends_it;
    "WAIT-2" none_is_a_moment "takes no timeout for a short one"
        poll seldom::NoneIs(Duration::from_millis(2)) =>
            wait_2_without_a_timeout_a_signal_ends_it;
    "READY-1" collects_early "collects what is ready before it is to wait"
        poll seldom::CollectsEarly::default() =>
            close_5_a_closed_descriptor_harms_no_other
            ready_1_what_came_and_went_between_two_waits
            reg_5_a_duplicate_changes_without_its_twin
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close
            wait_8_descriptors_above_1024;
    "READY-1" keeps_the_rest "reports 40 at a time, and the rest without asking again"
        poll seldom::KeepsTheRest::new(40) =>
            ready_1_what_was_drained_of_many
            wait_7_one_select_reports_all
            close_5_another_thread_closes_during_waits;
    "REG-9" held "holds the open file until the next wait"
        poll seldom::HoldsTheUnregistered::default() =>
            reg_9_its_peer_sees_the_end_at_once;
    "REG-9" nonblocking "makes its sources non-blocking"
        poll seldom::SetsNonblocking =>
            reg_9_flags_are_as_they_were;
    "REG-12" leaks_refused "leaks a descriptor when it refuses"
        poll seldom::LeaksWhen::Refused =>
            reg_12_no_call_leaks;
    "REG-12" leaks_modified "leaks a descriptor when it modifies"
        poll seldom::LeaksWhen::Modified =>
            reg_12_no_call_leaks
            wait_12_without_descriptors_what_is_there_is_served;
    "REG-12" leaks_timed "leaks a descriptor when it waits for a time"
        poll seldom::LeaksWhen::Timed =>
            reg_12_no_call_leaks
            wait_12_without_descriptors_what_is_there_is_served;
    "REG-12" closes_twice "closes a descriptor twice"
        poll seldom::ClosesTwice::default() =>
            reg_12_nothing_is_closed_twice;
    "PROC-6" one_thread "serves the thread that filled it alone"
        poll seldom::KnowsItsThread::default() =>
            proc_6_a_selector_changes_threads;
    "WAIT-11" turns_inside "looks again and again instead of waiting"
        poll seldom::TurnsInside =>
            wait_11_who_has_nothing_to_report_sleeps
            wait_11_the_backend_itself_sleeps
            wait_11_nor_who_has_closed_sources;
    "WAIT-11" reads_too "watches for READ whatever is asked for"
        poll Watches(seldom::reads_too) =>
            mod_1_the_backend_does_not_add_to_the_old_interest
            wait_11_who_has_nothing_to_report_sleeps;
    "REG-10" eight_bits "keeps eight bits of a generation"
        poll seldom::CutsGenerations =>
            reg_10_no_token_comes_twice;
    "PROC-2" beside_a_wake "drops what is ready beside a wake"
        poll seldom::DropsBesideAWake =>
            proc_2_a_wake_hides_no_event
            wait_12_without_descriptors_what_is_there_is_served
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "PROC-1" no_look_at_wakes "does not look at wakes when it is not to block"
        poll seldom::WakesWhoBlocks =>
            proc_1_a_wait_of_no_time_sees_a_wake
            proc_7_a_signal_handler_may_wake
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "MODE-2" arms_the_old "arms a one-shot for its first interest"
        poll seldom::ArmsTheOld::default() =>
            mode_2_arming_with_a_new_interest
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "REG-5" twins "changes duplicates together"
        poll seldom::ChangesTwins =>
            reg_5_a_duplicate_changes_without_its_twin
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "WAIT-3" a_moment_at_a_time "waits for 16 ms at most"
        poll Times(seldom::no_longer_than_a_moment) =>
            wait_3_the_backend_waits_for_long;
    "READY-5" listeners_once "reports a listener once for each connection"
        epoll seldom::WatchesSome(seldom::level_listener_is_edge) =>
            ready_5_a_listener_stays_ready_until_all_are_accepted;
    "WAIT-8" last_bit "does not look at the last bit of its last word"
        poll seldom::LosesTheLastBit =>
            wait_8_the_last_bit_of_a_word;
    "REG-6" names_taken "takes a descriptor in that only names a file"
        poll rules::TakesNames::default() =>
            reg_6_what_only_names_a_file_is_refused;
    "MOD-3" edges_not_rearmed "skips a modify to the same, also of an edge-triggered source"
        epoll modify::SkipsTheSame =>
            mod_3_a_fired_one_shot_is_armed_again
            ready_11_a_regular_file_is_always_ready
            ready_11_a_directory_is_always_ready
            ready_11_the_null_device_is_always_ready
            mode_2_one_shot_reports_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_arming_with_a_new_interest
            ready_5_a_listener_stays_ready_until_all_are_accepted
            proc_6_a_selector_changes_threads
            mod_3_rearming_reports_an_edge_again
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            wait_12_without_descriptors_what_is_there_is_served
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "MODE-6" half_silenced "silences the direction of a one-shot that it reported"
        poll rules::SilencesHalf =>
            mode_2_one_shot_reports_once
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            close_5_random_programs_that_close;
    "WAIT-7" batches_repeated "reports what goes beyond 64 twice"
        epoll rules::RepeatsBatches =>
            ready_1_what_was_drained_of_many
            wait_7_one_select_reports_all;
    "WAIT-7" rest_kept "reports 64 at a time, and the rest without asking again"
        poll seldom::KeepsTheRest::new(64) =>
            ready_1_what_was_drained_of_many
            wait_7_one_select_reports_all;
    "CLOSE-4" edges_forgotten "makes a new kernel object without edge-triggered sources"
        epoll rules::RebuildsWithout(|source| source.watch.mode == Mode::Edge) =>
            close_4_a_duplicate_keeps_no_ghost
            close_4_a_new_kernel_object_watches_all_as_before
            close_5_random_programs_that_close;
    "CLOSE-4" level_forgotten "makes a new kernel object without level-triggered sources"
        epoll rules::RebuildsWithout(|source| source.watch.mode == Mode::Level) =>
            close_4_a_duplicate_keeps_no_ghost
            close_5_random_programs_that_close;
    "CLOSE-4" rebuilt_inheritable "makes a new kernel object that other programs inherit"
        epoll rules::RebuildsInheritable =>
            close_4_a_new_kernel_object_watches_all_as_before;
    "CLOSE-5" files_by_number "keeps files by their numbers, whatever those are by now"
        poll rules::KnowsFilesByNumber::default() =>
            close_5_a_reused_number_is_not_ready_for_what_was;
    "WAIT-12" helper "opens a descriptor for each wait"
        poll rules::NeedsADescriptor =>
            wait_12_without_descriptors_what_is_there_is_served;
    "PROC-4" object_kept "goes on with the parent's kernel object after fork(2)"
        epoll rules::KeepsTheObject =>
            proc_4_a_child_goes_on_by_itself;
    "PROC-7" not_in_handlers "does not wake in the handler of a signal"
        poll HasAWaker::new(Wakes::NotWhereItWaits) =>
            proc_7_a_signal_handler_may_wake;
    "PROC-4" unregisters "unregisters one by one when it is dropped"
        epoll waiting::UnregistersWhenDropped =>
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_forked_copy_changes_nothing;
}

/// The rules that a selector keeps by itself, whatever its backend: their cases are proven with
/// broken selectors, in `broken_selectors.rs`.
const OF_THE_SELECTOR: &[&str] =
    &["REG-1", "REG-2", "REG-3", "REG-4", "REG-11", "MOD-2", "MOD-5", "PROC-5"];

#[test]
fn every_rule_is_broken_by_somebody() {
    let broken: BTreeSet<_> = ROWS.iter().map(|row| row.rule).collect();
    let selectors: BTreeSet<_> = OF_THE_SELECTOR.iter().copied().collect();
    assert!(broken.is_disjoint(&selectors));
    // Those of shared selectors are broken in `broken_shared.rs`.
    let rules = RULES.iter().map(|rule| rule.id).filter(|rule| !rule.starts_with("SHARED-"));
    assert_eq!(&broken | &selectors, rules.collect());
}

#[test]
fn every_row_is_caught_by_a_case_of_its_rule() {
    let mut defects = BTreeSet::new();
    for row in ROWS {
        assert!(defects.insert(row.defect), "{:?} comes twice", row.defect);
        let own = row.caught_by.iter().any(|case| rule_of(case).id == row.rule);
        assert!(own, "no case of {} catches what {}", row.rule, row.defect);
    }
}

#[test]
fn the_table_of_defects_and_cases() {
    println!("| rule | the backend | is caught by |\n|---|---|---|");
    for row in ROWS {
        println!("| {} | {} | {} |", row.rule, row.defect, row.caught_by.join(", "));
    }
    let used: BTreeSet<_> = ROWS.iter().flat_map(|row| row.caught_by).collect();
    let unused: Vec<_> = CASES.iter().filter(|case| !used.contains(case)).collect();
    println!("cases that catch none of these: {unused:?}");
    for case in used {
        assert!(CASES.contains(case), "no case is called {case}");
    }
}

#[test]
fn without_a_defect_no_case_complains() {
    struct None;
    impl Defect for None {}
    for beneath in [epoll, poll, select] {
        let patience = Duration::from_secs(30);
        let report =
            run_patiently(|| Ok(Broken::new(beneath()?, Box::new(None), patience)), patience);
        assert!(report.failed.is_empty(), "{report}");
    }
}
