//! System calls on x86-64, by the instruction that enters the kernel. In calls as short as these the
//! C library's overhead shows, above all its additional return, which is mispredicted after a system
//! call if the kernel has mitigations against speculation.

use core::arch::asm;
use core::ffi::{c_int, c_long};
use core::ptr;

use libc::{fd_set, timeval};

/// epoll_wait(2), which is faster than epoll_pwait(2) without a mask.
pub(crate) const EPOLL_WAIT: c_long = libc::SYS_epoll_wait;

/// Enters the kernel for the system call `number`. Returns what the kernel returns: a number that is
/// not negative, or a negative errno.
///
/// # Safety
///
/// Arguments that are pointers are as that call's man page requires.
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

/// select(2). It writes the remaining time to the timeout.
///
/// Not through the C library, which calls pselect6(2): every seccomp filter allows the oldest call.
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
