//! /dev/poll, from `<sys/devpoll.h>` and `<sys/poll.h>`: what is the same on illumos and Solaris.

use core::ffi::{CStr, c_int, c_short};
use core::mem::size_of;

pub use libc::{O_CLOEXEC, O_RDWR, POLLRDBAND};

pub use crate::poll::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI};

/// The type of `dvpoll.dp_nfds`: `unsigned long`. The manual page's `int` is wrong.
pub use crate::poll::nfds_t;
/// `struct pollfd`, which is written to the device and filled in by `DP_POLL`.
pub use crate::poll::pollfd;

/// The device. Every open(2) of it makes a new set.
pub const DEV_POLL: &CStr = c"/dev/poll";

/// ioctl(2): waits, and returns the ready descriptors. Its argument is a `struct dvpoll`.
pub const DP_POLL: c_int = 0xd001;
/// ioctl(2): whether a descriptor is in the set, and for which events. Its argument is a
/// `struct pollfd`.
pub const DP_ISPOLLED: c_int = 0xd002;

/// As the whole of `pollfd.events`: removes the descriptor from the set.
pub const POLLREMOVE: c_short = 0x0800;

/// The flags that request urgent data: illumos's sockets wake with `POLLRDBAND` alone
/// (`so_notify_oobdata()`), and other files may have `POLLPRI`.
pub const PRIORITY: c_short = POLLPRI | POLLRDBAND;

const _: () = assert!(size_of::<nfds_t>() == size_of::<usize>());
// Removing is an equation, so no other flag may look like it.
const _: () =
    assert!(POLLREMOVE & (POLLERR | POLLHUP | POLLIN | POLLNVAL | POLLOUT | PRIORITY) == 0);
