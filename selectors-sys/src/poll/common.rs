//! poll(2), from `<poll.h>`: what is the same on every Unix.

use core::ffi::c_short;
use core::mem::{offset_of, size_of};

pub use libc::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI};

/// The type of poll(2)'s count of descriptors: 32 or 64 bits wide, depending on the system.
pub use libc::nfds_t;
/// poll(2).
pub use libc::poll;
/// `struct pollfd` of poll(2).
pub use libc::pollfd;

const _: () = assert!(size_of::<pollfd>() == 8);
const _: () = assert!(offset_of!(pollfd, fd) == 0);
const _: () = assert!(offset_of!(pollfd, events) == 4);
const _: () = assert!(offset_of!(pollfd, revents) == 6);
const _: () = assert!(size_of::<c_short>() == 2);
