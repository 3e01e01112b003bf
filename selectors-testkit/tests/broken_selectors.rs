//! Selectors with one defect each, for the rules that a selector keeps independently of its
//! backend: exactly the listed cases must reject a defect.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::time::Duration;

use selectors::backend::{Poll, Select};
use selectors_testkit::conformance::{CASES, SelectorDefect, run_side_by_side, run_with};

#[path = "support/alone.rs"]
mod alone;
#[path = "support/another_process.rs"]
mod another_process;
#[path = "support/exactly.rs"]
mod exactly;

use alone::in_a_process_of_its_own;
use exactly::assert_rejected_by;

/// How long cases wait for an event that a defect may prevent. The longer ones are for a busy
/// machine, if a case failed that must pass.
const PATIENCE: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(6), Duration::from_secs(20)];

fn check_defect(defect: SelectorDefect, expected: &BTreeSet<&str>) {
    let what = format!("a selector with the defect {defect:?}");
    assert_rejected_by(expected, CASES.to_vec(), &what, &PATIENCE, |patience, cases| {
        let report = run_side_by_side(Poll::new, patience, Some(defect), cases);
        for (_, message) in report.failed.iter().filter(|(case, _)| expected.contains(case)) {
            for part in ["did:", "expected:", "seen:", "usually:"] {
                assert!(message.contains(part), "{part} is missing: {message}");
            }
        }
        report
    });
}

/// The cases of random programs.
const RANDOM: &[&str] = &[
    "ready_1_random_programs",
    "mode_5_random_programs_of_all_modes",
    "close_5_random_programs_that_close",
    "proc_4_random_programs_that_fork",
    "wait_12_random_programs_without_descriptors",
];

macro_rules! defects {
    ($($test:ident $defect:ident: $($case:ident)+ $([$group:ident])?;)+) => {
        const TESTS: &[&str] = &["a_right_selector_passes", $(stringify!($test)),+];

        $(
            #[test]
            fn $test() {
                check(stringify!($test), || {
                    let expected: &[&[_]] = &[&[$(stringify!($case)),+] $(, $group)?];
                    let expected = expected.concat().into_iter().collect::<BTreeSet<_>>();
                    check_defect(SelectorDefect::$defect, &expected);
                });
            }
        )+
    };
}

fn check(test: &'static str, work: impl FnOnce()) {
    in_a_process_of_its_own(test, || TESTS.to_vec(), work);
}

defects! {
    a_key_that_forgets_the_interest ForgetsInterest:
        reg_1_a_key_has_the_registered_values
        mod_4_map_and_kernel_agree_after_a_close
        mode_3_edge_reports_again_after_modify
        reg_2_the_kernel_does_not_watch_parked_sources;
    an_empty_interest_taken_for_read TakesEmptyInterest:
        reg_2_an_empty_interest_parks
        reg_2_the_kernel_does_not_watch_parked_sources
        reg_2_a_parked_source_reports_no_hang_up
        ready_9_priority_comes_and_goes
        mod_3_rearming_reports_an_edge_again
        close_4_a_new_kernel_object_keeps_all_state
        [RANDOM];
    unknown_bits_that_are_dropped DropsUnknownBits:
        reg_3_unknown_bits_are_refused;
    a_negative_descriptor_that_is_accepted AcceptsNegatives:
        reg_6_a_negative_descriptor_does_not_reach_the_backend;
    a_second_registration_that_is_accepted RegistersTwice:
        reg_4_a_descriptor_is_registered_once
        reg_2_parked_sources_are_checked_too
        [RANDOM];
    a_map_that_contains_what_is_gone ContainsTheGone:
        reg_10_tokens_are_unique
        reg_11_every_view_agrees
        [RANDOM];
    data_that_costs_a_call CallsForData:
        mod_2_changing_the_data_makes_no_call;
    a_call_for_nothing CallsForNothing:
        mod_3_no_change_makes_no_call;
    an_unknown_token_that_is_modified ModifiesTheUnknown:
        reg_10_tokens_are_unique
        mod_5_an_unknown_token_is_not_registered
        [RANDOM];
    a_source_that_a_panic_takes_away LosesTheHandled:
        proc_5_a_panic_leaves_the_selector_usable;
    a_list_that_is_appended_to Appends:
        mode_6_arming_never_stops_working
        wait_9_select_into_replaces
        [RANDOM];
    a_list_that_is_left_alone LeavesTheList:
        proc_2_a_reused_list_does_not_keep_the_wake
        wait_9_select_into_replaces
        [RANDOM];
    a_ghost_that_is_looked_for_again_and_again SpinsWithGhosts:
        close_4_a_ghost_that_stays_does_not_make_it_spin;
    a_second_waker_that_wakes_nothing WakesByTheFirst:
        proc_1_every_waker_wakes
        proc_4_after_fork_works
        proc_4_children_of_children_leak_nothing;
    a_parked_source_that_is_not_handed_back KeepsTheParked:
        reg_12_closing_returns_everything;
    a_wait_in_a_child_that_reports_nothing HidesTheFork:
        proc_4_calls_fail_in_a_child
        proc_4_random_programs_that_fork;
    a_rebuild_that_fails_the_wait FailsWithTheRebuild:
        close_4_a_ghost_that_stays_does_not_make_it_spin
        wait_9_a_failed_rebuild_loses_nothing;
    a_rebuild_that_drops_the_batch DropsWithTheRebuild:
        wait_9_a_failed_rebuild_loses_nothing;
}

#[test]
fn a_right_selector_passes() {
    check("a_right_selector_passes", || {
        let report = run_with(Select::new, Duration::from_secs(30), None);
        assert!(report.failed.is_empty(), "{report}");
    });
}
