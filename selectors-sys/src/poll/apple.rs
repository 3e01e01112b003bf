//! poll(2), from `<poll.h>`: macOS and its kin. What it lacks is read in the source of XNU,
//! `poll_nocancel()` and `poll_callback()` in `bsd/kern/sys_generic.c`.

use core::ffi::{c_int, c_short};

mod common;
pub use common::*;

/// Not a flag of these systems; no bit, so that code may ask for it and never sees it.
pub const POLLRDHUP: c_short = 0;

/// What urgent data is asked for by: it is not seen, but with the end of everything.
pub const PRIORITY: c_short = 0;
/// The flags among `POLLERR` and `POLLHUP` that mean what they say: none. A reset is not `POLLERR`,
/// and a half-closed peer is `POLLHUP`.
pub const HINTS: c_short = 0;
/// Whether a half-closed peer is `POLLHUP`, which takes the place of `POLLOUT`.
pub const HALF_CLOSED_HANGS_UP: bool = true;
/// Whether the end of a pipe that has a name is seen: `filt_vnode_common()`.
pub const NAMED_PIPES_END: bool = false;

/// A flag of open(2) that these systems do not have.
pub const PATH_ONLY: c_int = 0;
