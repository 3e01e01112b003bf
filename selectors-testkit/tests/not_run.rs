//! A backend that this system does not have: that is no reason for a case to pass, nor to fail.
#![cfg(unix)]

use std::io;
use std::time::Duration;

use selectors::backend::Poll;
use selectors_testkit::conformance::{CASES, Report, SHARED_CASES, check, run, run_shared};
use selectors_testkit::fixtures::lacking;

use another_process::another_process;

#[path = "support/another_process.rs"]
mod another_process;

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

/// Set in the process that runs the case.
const THERE: &str = "SELECTORS_NOT_RUN";

#[test]
fn a_single_case_that_cannot_run_is_named() {
    let case = CASES[0];
    if std::env::var_os(THERE).is_some() {
        return check(case, none);
    }
    let test = "a_single_case_that_cannot_run_is_named";
    let output = another_process(test).env(THERE, "1").output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    let expected = format!("not run: {case}: this system has no telepathy\n");
    assert!(output.status.success() && printed.contains(&expected), "{printed}");
}
