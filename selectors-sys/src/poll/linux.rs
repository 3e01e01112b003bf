//! poll(2), from `<poll.h>`, on Linux and Android.
#![doc = include_str!("example.md")]

use core::ffi::{c_int, c_short};

mod common;
pub use common::*;

/// The peer has shut down its writing half: poll(2), Linux 2.6.17.
pub use libc::POLLRDHUP;

/// The flags that request urgent data.
pub const PRIORITY: c_short = POLLPRI;
/// The flags among `POLLERR` and `POLLHUP` that have their documented meaning.
pub const HINTS: c_short = POLLERR | POLLHUP;
/// Whether a half-closed peer is reported as `POLLHUP`, and then without `POLLOUT`.
pub const HALF_CLOSED_HANGS_UP: bool = false;
/// Whether the end-of-file of a named pipe is reported.
pub const NAMED_PIPES_END: bool = true;

/// The flag of open(2) for a descriptor that only refers to a path. poll(2) reports POLLNVAL for it.
pub const PATH_ONLY: c_int = libc::O_PATH;
