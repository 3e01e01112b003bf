//! poll(2) and ppoll(2), from `<poll.h>`, as the BSDs have them.

use core::ffi::c_short;

mod common;
pub use common::*;

/// ppoll(2): poll(2) at nanosecond grain. NetBSD has it from 10.0.
pub use libc::ppoll;

/// Not a flag of these systems; no bit, so that code may ask for it and never sees it.
pub const POLLRDHUP: c_short = 0;
