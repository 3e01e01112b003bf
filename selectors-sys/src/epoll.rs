//! epoll(7), from `<sys/epoll.h>`: Linux and Android.
//!
//! The frequent calls bypass the C library: its epoll_wait(3) is a cancellation point, which costs a
//! branch and a pair of atomics on every wait. They return what the kernel returns, on failure a
//! negative errno.
//!
//! # Examples
//!
//! ```
//! use selectors_sys::epoll::{
//!     EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLIN, MAX_EVENTS, dup3, epoll_create1, epoll_ctl,
//!     epoll_event, epoll_wait,
//! };
//! use std::io::Write;
//! use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
//! use std::os::unix::net::UnixStream;
//!
//! # fn main() -> std::io::Result<()> {
//! // SAFETY: epoll_create1(2) has no pointer arguments.
//! let fd = unsafe { epoll_create1(EPOLL_CLOEXEC) };
//! assert!(fd >= 0);
//! // SAFETY: a new descriptor, owned by nothing else.
//! let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
//! let (ours, mut theirs) = UnixStream::pair()?;
//! theirs.write_all(b"!")?;
//! let mut event = epoll_event { events: EPOLLIN as u32, u64: 7 };
//! // SAFETY: `event` is readable.
//! let added = unsafe { epoll_ctl(fd, EPOLL_CTL_ADD, ours.as_raw_fd(), &mut event) };
//! assert_eq!(added, 0, "or a negative errno");
//!
//! let mut events = [epoll_event { events: 0, u64: 0 }; 8];
//! assert!(events.len() <= MAX_EVENTS as usize);
//! // SAFETY: the array has 8 writable elements.
//! let count = unsafe { epoll_wait(fd, events.as_mut_ptr(), 8, 0) };
//! assert_eq!((count, { events[0].u64 }), (1, 7));
//!
//! // SAFETY: dup3(2) has no pointer arguments, and a file that is ours is replaced.
//! let replaced = unsafe { dup3(fd, theirs.as_raw_fd(), EPOLL_CLOEXEC) };
//! assert_eq!(replaced, theirs.as_raw_fd());
//! # drop(epoll);
//! # Ok(())
//! # }
//! ```

use core::ffi::c_int;
use core::mem::{align_of, offset_of, size_of};

use crate::linux_call as call;

pub use libc::{
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLET, EPOLLEXCLUSIVE,
    EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLPRI, EPOLLRDHUP,
};

/// epoll_create1(2).
pub use libc::epoll_create1;
/// `struct epoll_event` of epoll_event(3type). Packed on x86-64 only, where the 32-bit and the 64-bit
/// layout agree.
pub use libc::epoll_event;

const _: () = {
    let offset = if cfg!(target_arch = "x86_64") { 4 } else { align_of::<u64>() };
    assert!(offset_of!(epoll_event, events) == 0);
    assert!(offset_of!(epoll_event, u64) == offset);
    assert!(size_of::<epoll_event>() == offset + 8);
};

unsafe extern "C" {
    /// dup3(2), with which one instance replaces another; its O_CLOEXEC equals EPOLL_CLOEXEC. Android
    /// has it, but `libc` does not declare it there.
    pub fn dup3(oldfd: c_int, newfd: c_int, flags: c_int) -> c_int;
}

const _: () = assert!(EPOLL_CLOEXEC == libc::O_CLOEXEC);

/// The highest `maxevents` that epoll_wait(2) accepts (`EP_MAX_EVENTS`): more is EINVAL.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "12 or 16")]
pub const MAX_EVENTS: c_int = c_int::MAX / size_of::<epoll_event>() as c_int;

/// epoll_ctl(2): 0, or a negative errno.
///
/// # Safety
///
/// `event` is null or points to a readable [`epoll_event`].
#[inline]
pub unsafe fn epoll_ctl(epfd: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> isize {
    let arguments = [epfd as isize, op as isize, fd as isize, event as isize, 0, 0];
    // SAFETY: the caller keeps `event`.
    unsafe { call::enter(libc::SYS_epoll_ctl, arguments) }
}

/// epoll_wait(2): waits for at most `timeout` milliseconds, without limit if it is negative. Returns
/// the number of events, or a negative errno.
///
/// # Safety
///
/// `events` points to room for `maxevents` elements, writable for the length of the call.
#[inline]
pub unsafe fn epoll_wait(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
) -> isize {
    let arguments =
        [epfd as isize, events as isize, maxevents as isize, timeout as isize, NO_MASK, 0];
    // SAFETY: the caller keeps `events`.
    unsafe { call::enter(call::EPOLL_WAIT, arguments) }
}

/// An absent signal mask, which has no length.
const NO_MASK: isize = 0;
