//! Detects a forked child: fork(2), pthread_atfork(3).

use std::sync::OnceLock;

use selectors_sys::fork as sys;

use super::generation::forked;
pub(crate) use super::generation::{generation, is_ours};

/// Installs the handler on the first call, and returns the [`generation`].
pub(crate) fn watch() -> u32 {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // The only error is ENOMEM: then forks are not detected.
        // SAFETY: `count` may run in the child of a threaded process: it adds to an atomic.
        unsafe { sys::pthread_atfork(None, None, Some(count)) };
    });
    generation()
}

extern "C" fn count() {
    forked();
}
