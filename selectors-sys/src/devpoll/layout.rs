//! /dev/poll, poll(4D), from `<sys/devpoll.h>`: `struct dvpoll` as illumos has it.

use core::ffi::c_int;
use core::mem::{offset_of, size_of};

use super::{nfds_t, pollfd, sigset_t};

/// `struct dvpoll`, the argument of `DP_POLL`, which reads all but the last field.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct dvpoll {
    /// Room for what is ready.
    pub dp_fds: *mut pollfd,
    /// For how many there is room. With none the call only sleeps.
    pub dp_nfds: nfds_t,
    /// Milliseconds; -1 for ever.
    pub dp_timeout: c_int,
    /// The signals to block meanwhile, which is for `DP_PPOLL`.
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
