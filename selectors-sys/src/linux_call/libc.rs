//! System calls on most processors, by the C library.

use core::ffi::c_long;

/// select(2). It may write the time that is left to the timeout.
pub use libc::select;

/// epoll_pwait(2), which every architecture has, and the seccomp filters of Android allow.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_pwait;

/// Enters the kernel for the call `number`. Answers what the kernel does: a number that is not
/// negative, or a negative errno.
///
/// # Safety
///
/// The promises of that call's man page, about arguments that are pointers.
#[inline]
pub(crate) unsafe fn enter(number: c_long, arguments: [isize; 6]) -> isize {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the caller's promise.
    let answer = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if answer >= 0 {
        return isize::try_from(answer).unwrap_or(isize::MAX);
    }
    let error = std::io::Error::last_os_error();
    -(error.raw_os_error().unwrap_or(libc::EINVAL) as isize)
}
