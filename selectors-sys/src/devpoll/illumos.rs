//! /dev/poll, poll(4D), from `<sys/devpoll.h>`: illumos.
#![doc = include_str!("example.md")]

/// close(2).
pub use libc::close;
/// ioctl(2): `DP_POLL` and `DP_ISPOLLED`.
pub use libc::ioctl;
/// open(2), for the device.
pub use libc::open;
/// A set of signals, which `DP_POLL` ignores.
pub use libc::sigset_t;
/// write(2): changes the set of an open device.
pub use libc::write;

mod common;
pub use common::*;
mod layout;
pub use layout::dvpoll;
