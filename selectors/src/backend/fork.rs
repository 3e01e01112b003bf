//! Whether this process is a child that inherited a selector: fork(2).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use selectors_sys::fork as sys;

/// Incremented in every child, by a handler of pthread_atfork(3).
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The generation of this process. What was made under another one was inherited from a parent.
///
/// A raw clone(2), or glibc's `_Fork`, runs no handlers and is not noticed.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

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
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
