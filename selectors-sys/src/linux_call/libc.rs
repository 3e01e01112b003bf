//! System calls on other processors, through the C library.

use core::ffi::c_long;

/// select(2). It may write the remaining time to the timeout.
pub use libc::select;

/// epoll_pwait(2), which every architecture has, and the seccomp filters of Android allow.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_pwait;

/// Enters the kernel for the system call `number`. Returns what the kernel returns: a number that is
/// not negative, or a negative errno.
///
/// # Safety
///
/// Arguments that are pointers are as that call's man page requires.
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
