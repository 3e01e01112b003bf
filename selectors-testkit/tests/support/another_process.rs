//! This program once more.

use std::path::Path;
use std::process::Command;

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
