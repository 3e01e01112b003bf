//! Suites that tests run in processes of their own.

use std::path::Path;
use std::process::Command;

/// Cases that repeat a call thousands of times. Most runs leave them out.
pub(crate) const REPETITIVE: [&str; 7] = [
    "reg_9_registering_never_stops_working",
    "reg_9_no_number_is_used_up",
    "mod_1_every_change_counts",
    "mode_6_arming_never_stops_working",
    "ready_1_no_wait_of_many_reports_idle_sources",
    "wait_1_zero_does_not_sleep",
    "wait_7_events_never_stop",
];

/// A file system in memory, where there is one.
const MEMORY: &str = "/dev/shm";

/// This program again, to run one of its tests.
pub(crate) fn another_process(test: &str) -> Command {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]);
    // On a disk, creating the files of the cases takes longer than all else.
    if Path::new(MEMORY).is_dir() {
        command.env("TMPDIR", MEMORY);
    }
    command
}
