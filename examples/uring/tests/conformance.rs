//! The suite over the example. Where the kernel refuses io_uring, every case is listed by name as
//! not run.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::io::{self, ErrorKind};

use selectors_testkit::fixtures::lacking;
use selectors_uring::Uring;

fn new() -> io::Result<Uring> {
    Uring::new().map_err(|error| match error.kind() {
        // Unknown to the kernel, disabled (io_uring_disabled), or forbidden by a sandbox.
        ErrorKind::Unsupported | ErrorKind::PermissionDenied => lacking("io_uring"),
        _ => error,
    })
}

selectors_testkit::conformance_tests!(uring, new);
selectors_testkit::shared_conformance_tests!(shared_uring, new);
