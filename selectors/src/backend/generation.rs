//! One number that every call compares, and that changes when something has happened of which a
//! selector has to take note.

use std::sync::atomic::{AtomicU32, Ordering};

/// In the upper bits how often the process has forked into a child, in the lower ones how often
/// a waker of whatever selector has failed, which are never all zero.
static GENERATION: AtomicU32 = AtomicU32::new(1);

/// One fork further.
const FORK: u32 = 1 << 8;

/// The generation of this process.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Whether what was made under `generation` belongs to this process, and not to a parent from which
/// it was inherited.
///
/// A raw clone(2), or glibc's `_Fork`, runs no handlers and is not noticed.
#[inline]
pub(crate) fn is_ours(generation: u32) -> bool {
    (generation ^ self::generation()) < FORK
}

/// A number of the same process that is never its generation.
pub(crate) fn other(generation: u32) -> u32 {
    generation & !(FORK - 1)
}

/// In a child of fork(2): what exists by now is not this process's.
#[cfg_attr(windows, expect(dead_code, reason = "there is no fork(2)"))]
pub(crate) fn forked() {
    GENERATION.fetch_add(FORK, Ordering::Relaxed);
}

/// Has every selector look after its wakers in its next wait. A signal handler may call it.
#[cold]
#[inline(never)]
pub(crate) fn waker_failed() {
    let next = |now: u32| Some(other(now) | (now % FORK % (FORK - 1) + 1));
    // It never fails.
    let _ = GENERATION.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakers_that_fail_are_no_fork() {
        let start = generation();
        for _ in 0..1000 {
            let before = generation();
            waker_failed();
            assert_ne!(generation(), before);
            assert!(is_ours(start) && is_ours(other(start)));
            assert_ne!(other(start), generation(), "it would go unnoticed");
        }
        assert!(!is_ours(generation().wrapping_add(FORK)));
    }
}
