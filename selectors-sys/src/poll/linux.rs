//! poll(2), from `<poll.h>`, as Linux and Android have it.

use core::ffi::c_int;

mod common;
pub use common::*;

/// The peer has shut down its writing half: poll(2), Linux 2.6.17.
pub use libc::POLLRDHUP;

/// The flag of open(2) for a descriptor that names a file and can do nothing else. poll(2) reports
/// POLLNVAL for it.
pub const PATH_ONLY: c_int = libc::O_PATH;
