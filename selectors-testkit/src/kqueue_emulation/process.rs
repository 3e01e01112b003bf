//! The queues of a process, which its children do not have.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};

use nix::libc;

use super::epoll::{beacon, watches};
use super::queue::Queue;

/// The queues of one process, by descriptor. One that was closed stays until its number is
/// another's.
pub(super) struct Queues {
    process: u32,
    pub(super) by_descriptor: Mutex<BTreeMap<RawFd, Arc<Queue>>>,
}

/// The queues of this process. A forked child starts with none, and the lock may be held by a
/// thread that the child does not have.
pub(super) fn queues() -> &'static Queues {
    static CURRENT: AtomicPtr<Queues> = AtomicPtr::new(ptr::null_mut());
    let process = std::process::id();
    let current = CURRENT.load(Ordering::Acquire);
    // SAFETY: null, or leaked below.
    if let Some(current) = unsafe { current.as_ref() } {
        if current.process == process {
            return current;
        }
    }
    let new = Box::leak(Box::new(Queues { process, by_descriptor: Mutex::default() }));
    match CURRENT.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        // SAFETY: another thread was first, and what it put there is leaked, too.
        Err(first) => unsafe { &*first },
    }
}

/// A number that has been a queue's. Never freed, and used again when the number is.
struct Number {
    fd: RawFd,
    before: *const Number,
}

/// The number that was noted last. A list without a lock, for [`close_all`].
static NUMBERS: AtomicPtr<Number> = AtomicPtr::new(ptr::null_mut());

/// The numbers that have been queues'.
fn numbers() -> impl Iterator<Item = RawFd> {
    let mut at: *const Number = NUMBERS.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: null, or one of the list, which is never freed.
        let number = unsafe { at.as_ref() }?;
        at = number.before;
        Some(number.fd)
    })
}

/// Sees to it that no forked child has this queue.
pub(super) fn note(fd: RawFd) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler makes system calls and reads what is never freed.
        unsafe { libc::pthread_atfork(None, None, Some(close_all)) };
    });
    if numbers().any(|number| number == fd) {
        return;
    }
    let number = Box::leak(Box::new(Number { fd, before: ptr::null() }));
    let mut before = NUMBERS.load(Ordering::Acquire);
    loop {
        number.before = before;
        match NUMBERS.compare_exchange(before, number, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(other) => before = other,
        }
    }
}

/// Runs in every forked child, which is async-signal-safe at most. A queue is not inherited by
/// fork(2): its number is free in the child. FreeBSD 12.3: recorded; `fdcopy()` in
/// `kern_descrip.c`. NetBSD: `fd_copy()`. OpenBSD: `fdcopy()`. macOS: `fdt_fork()`.
extern "C" fn close_all() {
    for fd in numbers() {
        if watches(fd, beacon()) {
            // SAFETY: a queue of the parent, which nothing in this process means by it.
            unsafe { libc::close(fd) };
        }
    }
}
