//! poll(2), from `<poll.h>`, as the BSDs have it.

use core::ffi::{c_int, c_short};

mod common;
pub use common::*;

/// Not a flag of these systems; no bit, so that code may ask for it and never sees it.
pub const POLLRDHUP: c_short = 0;

/// A flag of open(2) that these systems do not have.
pub const PATH_ONLY: c_int = 0;
