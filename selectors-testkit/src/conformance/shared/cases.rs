//! The list of the cases for shared selectors, and the functions that run them.

use std::io;
use std::time::Duration;

use selectors::Backend;

use crate::conformance::{
    Boxed, PATIENCE, Report, Run, boxed, outcome_of, report_not_run, run_all,
};

/// Hands the list of the cases for shared selectors to a macro, after `$before`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_shared_case {
    ($then:path, $($before:tt)*) => {
        $then! {
            $($before)*
            changes:
                shared_1_registering_is_effective_in_the_wait
                shared_1_modifying_is_effective_in_the_wait
                shared_1_a_token_modifies_only_its_own_source
                shared_1_parking_and_unregistering_are_effective_in_the_wait
                shared_1_a_refusal_is_returned_to_the_caller
                shared_5_changes_do_not_wait_for_a_busy_waiter
                shared_5_changes_do_not_end_the_select;
            ghosts:
                shared_2_a_ghost_is_removed
                shared_2_a_ghost_is_removed_beside_closed_sources;
            unregistered:
                shared_2_an_unregistered_source_is_not_reported
                shared_2_an_unregistered_source_does_not_end_waits
                shared_2_the_file_is_closed_at_once
                shared_3_a_token_finds_its_own_data_or_none
                shared_3_data_does_not_accumulate_during_a_wait
                shared_3_data_is_dropped_in_the_next_wait;
            arming:
                shared_4_no_arming_is_lost
                shared_4_a_one_shot_is_reported_once_for_each_arming
                shared_4_a_one_shot_that_fired_does_not_end_waits;
            parity:
                shared_6_files_and_edges_work
                shared_6_a_panic_leaves_the_selector_usable
                shared_6_handles_outlive_the_selector
                shared_6_a_forked_child_changes_nothing
                shared_6_after_fork_works
                shared_6_a_forked_child_forgets_what_it_drops;
            bulk:
                shared_6_one_select_reports_all
                shared_6_every_change_counts
                shared_6_changes_leak_nothing
                shared_6_changes_need_no_descriptor
                shared_6_priority_and_exclusive_wake_up;
            signals:
                shared_6_a_signal_ends_a_wait_on_request;
            differential:
                shared_6_random_programs_as_with_one_thread;
        }
    };
}

macro_rules! list {
    ($($module:ident: $($case:ident)+;)+) => {
        /// The names of the cases for shared selectors, rule by rule.
        ///
        /// # Examples
        ///
        /// ```
        /// use selectors_testkit::conformance::SHARED_CASES;
        ///
        /// assert!(SHARED_CASES.contains(&"shared_1_registering_is_effective_in_the_wait"));
        /// ```
        pub const SHARED_CASES: &[&str] = &[$($(stringify!($case)),+),+];

        pub(in crate::conformance) fn all() -> Vec<(&'static str, Run<Boxed<'static>>)> {
            vec![$($((stringify!($case), super::$module::$case::<Boxed<'static>>)),+),+]
        }
    };
}

for_each_shared_case!(list,);

/// Runs the case for shared selectors with this name, as one test of a harness.
///
/// # Panics
///
/// If the case fails, with its message, and if there is no such case.
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
/// use selectors_testkit::conformance;
///
/// conformance::check_shared("shared_1_registering_is_effective_in_the_wait", Poll::new);
/// ```
pub fn check_shared<B: Backend + Send + 'static>(
    name: &'static str,
    new: impl Fn() -> io::Result<B> + Send + Sync + 'static,
) {
    check_shared_patiently(name, new, PATIENCE);
}

/// As [`check_shared`], waiting for at most `patience` for events that must arrive.
///
/// # Panics
///
/// As [`check_shared`].
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
/// use selectors_testkit::conformance;
/// use std::time::Duration;
///
/// let (case, patience) = ("shared_1_registering_is_effective_in_the_wait", Duration::from_secs(20));
/// conformance::check_shared_patiently(case, Poll::new, patience);
/// ```
pub fn check_shared_patiently<B: Backend + Send + 'static>(
    name: &'static str,
    new: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    patience: Duration,
) {
    report_not_run(name, outcome_of(all(), name, Box::new(boxed(new)), patience));
}

/// Runs all cases for shared selectors with backends created by `new`, waiting for at most `patience` for
/// events that must arrive.
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
/// use std::time::Duration;
///
/// let patience = Duration::from_secs(20);
/// let report = selectors_testkit::conformance::run_shared(Poll::new, patience);
/// assert!(report.failed.is_empty(), "{report}");
/// ```
pub fn run_shared<B: Backend + Send + 'static>(
    new: impl Fn() -> io::Result<B> + Sync,
    patience: Duration,
) -> Report {
    run_all(all(), &boxed(new), patience, None)
}
