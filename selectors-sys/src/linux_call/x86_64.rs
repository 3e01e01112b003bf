//! System calls on x86-64, by the instruction that enters the kernel: what the C library does
//! on top shows in calls as short as these, most of all that it returns once more, which is
//! mispredicted after a system call where the kernel protects itself from speculation.

use core::arch::asm;
use core::ffi::{c_int, c_long};
use core::ptr;

use libc::{fd_set, timeval};

/// epoll_wait(2), which is quicker than epoll_pwait(2) where there is no mask.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_wait;

/// Enters the kernel for the call `number`. Answers what the kernel does: a number that is not
/// negative, or a negative errno.
///
/// # Safety
///
/// The promises of that call's man page, about arguments that are pointers.
#[inline]
pub(crate) unsafe fn enter(number: c_long, arguments: [isize; 6]) -> isize {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    #[expect(clippy::cast_possible_truncation, reason = "both have 64 bits here")]
    let number = number as isize;
    let answer;
    // SAFETY: the kernel's calling convention, which clobbers rcx and r11 and no more, and leaves
    // the stack alone. What it reads and writes is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            in("r9") sixth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// select(2). It writes the time that is left to the timeout.
///
/// Not by the C library's function, which enters pselect6(2): the oldest call is the one that
/// every seccomp filter allows.
///
/// # Safety
///
/// Each set is null or points to as many masks as `nfds` descriptors need, and `timeout` is null or
/// points to a `timeval`, all writable for the length of the call.
pub unsafe fn select(
    nfds: c_int,
    readfds: *mut fd_set,
    writefds: *mut fd_set,
    exceptfds: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    let sets = [readfds, writefds, exceptfds].map(|set| set as isize);
    let arguments = [nfds as isize, sets[0], sets[1], sets[2], timeout as isize, 0];
    // SAFETY: the caller keeps what the pointers point to.
    let answer = unsafe { enter(libc::SYS_select, arguments) };
    #[expect(clippy::cast_possible_truncation, reason = "a count of descriptors, or an errno")]
    let answer = answer as c_int;
    if answer < 0 {
        // SAFETY: the C library's location is this thread's.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: it is valid for writes.
        unsafe { ptr::write(errno, -answer) };
        return -1;
    }
    answer
}
