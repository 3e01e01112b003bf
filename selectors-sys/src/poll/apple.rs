//! poll(2), from `<poll.h>`: macOS, iOS and the other Apple systems. Its limits are those of XNU's
//! `poll_nocancel()` and `poll_callback()`, in `bsd/kern/sys_generic.c`.
#![doc = include_str!("example.md")]

use core::ffi::{c_int, c_short};

mod common;
pub use common::*;

/// Not a flag of these systems: zero, so that code may request it and never sees it.
pub const POLLRDHUP: c_short = 0;

/// The flag that requests urgent data, which these systems report only together with a hang-up.
pub const PRIORITY: c_short = 0;
/// The flags among `POLLERR` and `POLLHUP` that have their documented meaning: none. A reset is not `POLLERR`,
/// and a half-closed peer is `POLLHUP`.
pub const HINTS: c_short = 0;
/// Whether a half-closed peer is reported as `POLLHUP`, and then without `POLLOUT`.
pub const HALF_CLOSED_HANGS_UP: bool = true;
/// Whether the end-of-file of a named pipe is reported: `filt_vnode_common()`.
pub const NAMED_PIPES_END: bool = false;

/// A flag of open(2) that these systems do not have.
pub const PATH_ONLY: c_int = 0;
