//! Detects a forked child: fork(2), pthread_atfork(3).

use std::sync::atomic::{AtomicBool, Ordering};

use selectors_sys::fork as sys;

use super::generation::forked;
pub(crate) use super::generation::{generation, is_ours};

/// Installs the handler if that has not succeeded yet, and returns the [`generation`].
pub(crate) fn watch() -> u32 {
    // No lock, which another thread could hold during a fork.
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if !INSTALLED.load(Ordering::Relaxed) {
        // SAFETY: `count` may run in the child of a threaded process: it adds to an atomic.
        let error = unsafe { sys::pthread_atfork(None, None, Some(count)) };
        // The only error is ENOMEM: forks are not detected until a later selector succeeds. Two threads
        // may both install it: counting a fork twice has the same effect.
        if error == 0 {
            INSTALLED.store(true, Ordering::Relaxed);
        }
    }
    generation()
}

extern "C" fn count() {
    forked();
}
