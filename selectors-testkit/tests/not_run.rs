//! A backend that this system does not have: that is no reason for a case to pass, nor to fail.
#![cfg(unix)]

use std::io;
use std::time::Duration;

use selectors::backend::Poll;
use selectors_testkit::conformance::{CASES, Report, SHARED_CASES, run, run_shared};
use selectors_testkit::fixtures::lacking;

fn none() -> io::Result<Poll> {
    Err(lacking("telepathy"))
}

fn expect_not_run(report: &Report, cases: &[&str]) {
    assert!(report.passed.is_empty() && report.failed.is_empty(), "{report}");
    let not_run: Vec<_> = report.not_run.iter().map(|(name, _)| *name).collect();
    assert_eq!(not_run, cases);
    assert_eq!(report.not_run[0].1, "this system has no telepathy");
}

#[test]
fn no_case_of_a_missing_backend_has_passed() {
    expect_not_run(&run(none), CASES);
    expect_not_run(&run_shared(none, Duration::from_secs(10)), SHARED_CASES);
}
