//! Whether this process is a child that inherited a selector: fork(2).

use std::sync::OnceLock;

use selectors_sys::fork as sys;

use super::generation::forked;
pub(crate) use super::generation::{generation, is_ours};

/// As [`generation`], which counts from the first call of this function.
pub(crate) fn watch() -> u32 {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // The one error is ENOMEM: then children are not noticed.
        // SAFETY: `count` may run in the child of a threaded process: it adds to an atomic.
        unsafe { sys::pthread_atfork(None, None, Some(count)) };
    });
    generation()
}

extern "C" fn count() {
    forked();
}
