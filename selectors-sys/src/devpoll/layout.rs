//! /dev/poll, poll(4D), from `<sys/devpoll.h>`: `struct dvpoll` as illumos has it.

use core::ffi::c_int;
use core::mem::{offset_of, size_of};

use super::{nfds_t, pollfd, sigset_t};

/// `struct dvpoll`, the argument of `DP_POLL`, which reads all but the last field.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct dvpoll {
    /// A buffer for the ready descriptors.
    pub dp_fds: *mut pollfd,
    /// The length of the buffer. With 0 the call only sleeps.
    pub dp_nfds: nfds_t,
    /// Milliseconds; -1 is without limit.
    pub dp_timeout: c_int,
    /// The signals to block during the call, used by `DP_PPOLL`.
    pub dp_setp: *mut sigset_t,
}

const _: () = {
    let word = size_of::<usize>();
    assert!(offset_of!(dvpoll, dp_fds) == 0);
    assert!(offset_of!(dvpoll, dp_nfds) == word);
    assert!(offset_of!(dvpoll, dp_timeout) == 2 * word);
    assert!(offset_of!(dvpoll, dp_setp) == 3 * word);
    assert!(size_of::<dvpoll>() == 4 * word);
    assert!(word == 4 || size_of::<dvpoll>() == 32);
};
