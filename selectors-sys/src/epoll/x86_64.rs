//! The waiting calls of epoll on x86-64, by the instruction that enters the kernel: what
//! syscall(2) of the C library does on top, shuffling the arguments and storing errno, shows in a
//! wait that finds nothing.

use core::arch::asm;
use core::ffi::{c_int, c_long};

use libc::epoll_event;

/// epoll_wait(2), which is quicker than epoll_pwait(2) where there is no mask.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_wait;

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
    let answer;
    // SAFETY: the kernel's calling convention, which clobbers rcx and r11 and no more, leaves the
    // stack alone, and writes where the caller lets it. An absent mask has no length.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") c_long::from(epfd),
            in("rsi") events,
            in("rdx") c_long::from(maxevents),
            in("r10") timeout,
            in("r8") 0,
            in("r9") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}
