//! The flags of a descriptor and the state of its file: fcntl(2), fstat(2). The feature `fs` of nix has
//! both, but would take a sixth of the time to build a program that uses this crate.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use selectors_sys::descriptor as sys;
use selectors_sys::poll::{POLLIN, POLLNVAL, poll, pollfd};

use super::RawSource;

/// The flags of open(2).
pub(super) fn open_flags(fd: BorrowedFd<'_>) -> nix::Result<c_int> {
    // SAFETY: F_GETFL has no argument.
    Errno::result(unsafe { sys::fcntl(fd.as_raw_fd(), sys::F_GETFL) })
}

/// Returns true if a number is an open descriptor.
pub(crate) fn is_open(fd: RawSource) -> bool {
    // SAFETY: F_GETFD has no argument, accepts any number and changes nothing.
    match Errno::result(unsafe { sys::fcntl(fd, sys::F_GETFD) }) {
        Ok(_) => true,
        Err(Errno::EBADF) => false,
        // A sandbox refuses the call.
        Err(_) => is_pollable(fd),
    }
}

/// Returns true unless poll(2) reports that a descriptor is closed (POLLNVAL).
#[cold]
#[inline(never)]
pub(super) fn is_pollable(fd: RawSource) -> bool {
    // Not without events: macOS ignores such an entry.
    let mut alone = pollfd { fd, events: POLLIN, revents: 0 };
    // SAFETY: one element, which is ours.
    let ready = unsafe { poll(&raw mut alone, 1, 0) };
    ready <= 0 || alone.revents & POLLNVAL == 0
}

/// Has execve(2) close a descriptor.
#[cfg(kqueue)]
pub(super) fn close_on_exec(fd: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: the argument of F_SETFD is an int.
    Errno::result(unsafe { sys::fcntl(fd.as_raw_fd(), sys::F_SETFD, sys::FD_CLOEXEC) }).map(drop)
}

/// The state of a file.
pub(super) fn fstat(fd: BorrowedFd<'_>) -> nix::Result<sys::stat> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: `stat` is writable for the length of the call.
    Errno::result(unsafe { sys::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: the call has succeeded, and written it.
    Ok(unsafe { stat.assume_init() })
}
