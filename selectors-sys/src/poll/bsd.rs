//! poll(2), from `<poll.h>`: FreeBSD and OpenBSD.
#![doc = include_str!("example.md")]

use core::ffi::{c_int, c_short};

mod common;
pub use common::*;

/// Not a flag of all these systems: zero, so that code may request it and never sees it.
pub const POLLRDHUP: c_short = 0;

/// The flags that request urgent data.
pub const PRIORITY: c_short = POLLPRI;
/// The flags among `POLLERR` and `POLLHUP` that have their documented meaning. A reset is `POLLHUP` and not
/// `POLLERR`: FreeBSD's `sopoll_generic()`, OpenBSD's `ppollcollect()`.
pub const HINTS: c_short = POLLHUP;
/// Whether a half-closed peer is reported as `POLLHUP`, and then without `POLLOUT`.
pub const HALF_CLOSED_HANGS_UP: bool = false;
/// Whether the end-of-file of a named pipe is reported.
pub const NAMED_PIPES_END: bool = true;

/// A flag of open(2) that these systems do not have.
pub const PATH_ONLY: c_int = 0;
