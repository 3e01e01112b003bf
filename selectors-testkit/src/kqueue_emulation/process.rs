//! The queues of a process, which its children do not inherit.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};

use nix::libc;

use super::epoll::{beacon, watches};
use super::queue::Queue;

/// The queues of one process, by descriptor. A closed one remains until another gets its number.
pub(super) struct Queues {
    process: u32,
    pub(super) by_descriptor: Mutex<BTreeMap<RawFd, Arc<Queue>>>,
}

/// The queues of this process. A forked child starts with a new list, because the lock of the old one may
/// be held by a thread that does not exist in the child.
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
        // SAFETY: another thread was first, and has leaked its value, too.
        Err(first) => unsafe { &*first },
    }
}

/// A descriptor that was once a queue's. Never freed.
struct Number {
    fd: RawFd,
    previous: *const Number,
}

/// The last element of a list without a lock, for [`close_all`].
static NUMBERS: AtomicPtr<Number> = AtomicPtr::new(ptr::null_mut());

/// All descriptors that were once queues'.
fn numbers() -> impl Iterator<Item = RawFd> {
    let mut at: *const Number = NUMBERS.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: null, or an element of the list, which is never freed.
        let number = unsafe { at.as_ref() }?;
        at = number.previous;
        Some(number.fd)
    })
}

/// Makes every forked child close this queue.
pub(super) fn close_in_children(fd: RawFd) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler makes system calls and reads memory that is never freed.
        unsafe { libc::pthread_atfork(None, None, Some(close_all)) };
    });
    if numbers().any(|number| number == fd) {
        return;
    }
    let number = Box::leak(Box::new(Number { fd, previous: ptr::null() }));
    let mut previous = NUMBERS.load(Ordering::Acquire);
    loop {
        number.previous = previous;
        match NUMBERS.compare_exchange(previous, number, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(other) => previous = other,
        }
    }
}

/// Runs in every forked child, and must be async-signal-safe. A queue is not inherited by fork(2): its
/// number is free in the child. FreeBSD 12.3: recorded; `fdcopy()` in `kern_descrip.c`. NetBSD:
/// `fd_copy()`. OpenBSD: `fdcopy()`. macOS: `fdt_fork()`.
extern "C" fn close_all() {
    for fd in numbers() {
        if watches(fd, beacon()) {
            // SAFETY: a queue of the parent, which this process does not use.
            unsafe { libc::close(fd) };
        }
    }
}
