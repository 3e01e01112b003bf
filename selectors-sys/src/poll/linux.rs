//! poll(2), from `<poll.h>`, as Linux and Android have it.

use core::ffi::{c_int, c_short};

mod common;
pub use common::*;

/// The peer has shut down its writing half: poll(2), Linux 2.6.17.
pub use libc::POLLRDHUP;

/// What urgent data is asked for by.
pub const PRIORITY: c_short = POLLPRI;
/// The flags among `POLLERR` and `POLLHUP` that mean what they say.
pub const HINTS: c_short = POLLERR | POLLHUP;
/// Whether a half-closed peer is `POLLHUP`, which takes the place of `POLLOUT`.
pub const HALF_CLOSED_HANGS_UP: bool = false;
/// Whether the end of a pipe that has a name is seen.
pub const NAMED_PIPES_END: bool = true;

/// The flag of open(2) for a descriptor that names a file and can do nothing else. poll(2) reports
/// POLLNVAL for it.
pub const PATH_ONLY: c_int = libc::O_PATH;
