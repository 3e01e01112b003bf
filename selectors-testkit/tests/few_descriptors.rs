//! The suite in a process that may have no more than 256 descriptors.
//!
//! One test and no more: the limit is that of the process.
#![cfg(unix)]

use std::io;
use std::thread;
use std::time::Duration;

use selectors::Backend;
use selectors::backend::{Deferred, Poll, Select};
use selectors_testkit::conformance::run_patiently;

/// What needs numbers that such a process cannot have.
const NOT_RUN: [&str; 3] = [
    "wait_8_descriptors_above_1024",
    "wait_8_high_descriptors_in_every_mode",
    "wait_8_descriptors_above_65536",
];

fn check<B: Backend + Send>(new: impl Fn() -> io::Result<B> + Sync) {
    let report = run_patiently(new, Duration::from_secs(30));
    assert!(report.failed.is_empty(), "{report}");
    let not_run: Vec<_> = report.not_run.iter().map(|(name, _)| *name).collect();
    assert_eq!(not_run, NOT_RUN, "{report}");
}

#[test]
fn few_descriptors_are_enough() {
    rlimit::Resource::NOFILE.set(256, 256).unwrap();
    // Side by side, as tests run.
    thread::scope(|scope| {
        scope.spawn(|| check(Poll::new));
        scope.spawn(|| check(Select::new));
        scope.spawn(|| check(|| Poll::new().map(Deferred::new)));
        #[cfg(any(target_os = "linux", target_os = "android"))]
        scope.spawn(|| check(selectors::backend::Epoll::new));
    });
}
