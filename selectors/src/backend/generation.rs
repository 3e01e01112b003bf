//! A number that every call compares. It changes when selectors have to react: the process has
//! forked, or a waker has failed.

use std::sync::atomic::{AtomicU32, Ordering};

/// The upper half counts the forks from which this process descends, the lower one the failures of
/// wakers of any selector. The lower one is never zero.
static GENERATION: AtomicU32 = AtomicU32::new(1);

/// One fork. Neither half wraps around unnoticed: that many wakers would have to fail between two waits,
/// or that many children be each other's ancestors.
const FORK: u32 = 1 << (u32::BITS / 2);

/// The generation of this process.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Returns true if an object with this generation was created by this process, and not inherited
/// from its parent.
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

/// Called in a child of fork(2): existing objects are then inherited ones.
#[cfg_attr(windows, expect(dead_code, reason = "there is no fork(2)"))]
pub(crate) fn forked() {
    GENERATION.fetch_add(FORK, Ordering::Relaxed);
}

/// Makes every selector check its wakers in its next wait. May be called by a signal handler.
#[cold]
#[inline(never)]
pub(crate) fn waker_failed() {
    let next = |now| Some(after_failure(now));
    // It never fails.
    let _ = GENERATION.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
}

/// The generation of the same process after a waker has failed.
fn after_failure(generation: u32) -> u32 {
    other(generation) | (generation % FORK % (FORK - 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_waker_does_not_count_as_a_fork() {
        let start = generation();
        for _ in 0..1000 {
            let before = generation();
            waker_failed();
            assert_ne!(generation(), before);
            assert_ne!(generation(), start, "it would go unnoticed");
            assert!(is_ours(start) && is_ours(other(start)));
            assert_ne!(other(start), generation(), "the change would not be noticed");
        }
        assert!(!is_ours(generation().wrapping_add(FORK)));
    }

    #[test]
    fn each_failure_is_noticed_however_often_the_process_has_forked() {
        for forks in [0, 1, FORK - 3, FORK - 2, FORK - 1] {
            let mut generation = forks * FORK + 1;
            for failures in 1..=FORK {
                generation = after_failure(generation);
                assert_eq!(generation / FORK, forks);
                assert_eq!(generation % FORK, failures % (FORK - 1) + 1);
            }
        }
    }
}
