//! The waiting calls of epoll on most processors, by syscall(2).

use core::ffi::{c_int, c_long};
use core::ptr;

use libc::epoll_event;

/// epoll_pwait(2), which every architecture has, and the seccomp filters of Android allow.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_pwait;

/// Enters the kernel for `number`, a waiting call, without a signal mask. Answers what the kernel
/// does: the number of events or a negative errno.
///
/// # Safety
///
/// `events` points to room for `maxevents` elements, writable for the length of the call; a
/// `timeout` that is a pointer, as `number` has it, is null or readable.
#[inline]
pub(crate) unsafe fn wait(
    number: c_long,
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: isize,
) -> isize {
    let mask = ptr::null::<libc::sigset_t>();
    // SAFETY: the caller keeps `events` and `timeout`; an absent mask has no length.
    let answer = unsafe { libc::syscall(number, epfd, events, maxevents, timeout, mask, 0_usize) };
    if answer >= 0 {
        return isize::try_from(answer).unwrap_or(isize::MAX);
    }
    let error = std::io::Error::last_os_error();
    -(error.raw_os_error().unwrap_or(libc::EINVAL) as isize)
}
