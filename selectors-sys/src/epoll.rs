//! epoll(7), from `<sys/epoll.h>`: Linux and Android.
//!
//! The calls that are made often do not go through the C library's wrappers: the waiting ones are
//! cancellation points there, which costs a branch and a pair of atomics on every wait. They return
//! what the kernel does: a negative errno where something is wrong.

use core::ffi::c_int;
use core::mem::{align_of, offset_of, size_of};

use crate::linux_call as call;

pub use libc::{
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLET, EPOLLEXCLUSIVE,
    EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLPRI, EPOLLRDHUP,
};

/// epoll_create1(2).
pub use libc::epoll_create1;
/// `struct epoll_event` of epoll_event(3type). Packed on x86-64 and nowhere else, so that the
/// 32-bit and the 64-bit layout agree there.
pub use libc::epoll_event;

const _: () = {
    let offset = if cfg!(target_arch = "x86_64") { 4 } else { align_of::<u64>() };
    assert!(offset_of!(epoll_event, events) == 0);
    assert!(offset_of!(epoll_event, u64) == offset);
    assert!(size_of::<epoll_event>() == offset + 8);
};

unsafe extern "C" {
    /// dup3(2), which puts one instance in the place of another; its O_CLOEXEC is
    /// EPOLL_CLOEXEC. Android has it and `libc` does not declare it there.
    pub fn dup3(oldfd: c_int, newfd: c_int, flags: c_int) -> c_int;
}

const _: () = assert!(EPOLL_CLOEXEC == libc::O_CLOEXEC);

/// The most events that epoll_wait(2) takes room for (`EP_MAX_EVENTS`): more is EINVAL.
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

/// epoll_wait(2): waits for at most `timeout` milliseconds, for ever when it is negative. Answers
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
