//! poll(2), from `<poll.h>`, as POSIX and no more: macOS and its kin, illumos, Solaris.

use core::ffi::c_short;

mod common;
pub use common::*;

/// Not a flag of all these systems; no bit, so that code may ask for it and never sees it.
pub const POLLRDHUP: c_short = 0;
