//! /dev/poll, poll(4D), from `<sys/devpoll.h>`: Solaris.
#![doc = include_str!("example.md")]

use core::ffi::c_int;
use core::mem::{offset_of, size_of};

/// close(2).
pub use libc::close;
/// ioctl(2): `DP_POLL` and `DP_ISPOLLED`.
pub use libc::ioctl;
/// open(2), for the device.
pub use libc::open;
/// write(2): changes the set of an open device.
pub use libc::write;

mod common;
pub use common::*;

/// `struct dvpoll`, the argument of `DP_POLL`. illumos has one more field.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct dvpoll {
    /// A buffer for the ready descriptors.
    pub dp_fds: *mut pollfd,
    /// The length of the buffer. With 0 the call only sleeps.
    pub dp_nfds: nfds_t,
    /// Milliseconds; -1 is without limit.
    pub dp_timeout: c_int,
}

const _: () = {
    let word = size_of::<usize>();
    assert!(offset_of!(dvpoll, dp_fds) == 0);
    assert!(offset_of!(dvpoll, dp_nfds) == word);
    assert!(offset_of!(dvpoll, dp_timeout) == 2 * word);
    assert!(size_of::<dvpoll>() == 3 * word);
    assert!(word == 4 || size_of::<dvpoll>() == 24);
};
