//! poll(2), from `<poll.h>`: NetBSD and DragonFly.

use core::ffi::{c_int, c_short};

mod common;
pub use common::*;

/// Not a flag of these systems; no bit, so that code may ask for it and never sees it.
pub const POLLRDHUP: c_short = 0;

/// What urgent data is asked for by.
pub const PRIORITY: c_short = POLLPRI;
/// The flags among `POLLERR` and `POLLHUP` that are known to mean what they say.
pub const HINTS: c_short = 0;
/// Whether a half-closed peer is `POLLHUP`, which takes the place of `POLLOUT`.
pub const HALF_CLOSED_HANGS_UP: bool = false;
/// Whether the end of a pipe that has a name is seen.
pub const NAMED_PIPES_END: bool = true;

/// A flag of open(2) that these systems do not have.
pub const PATH_ONLY: c_int = 0;
