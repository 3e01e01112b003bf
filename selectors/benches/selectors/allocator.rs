//! An allocator that counts bytes on request. Otherwise it costs a load and a branch, for all
//! contenders alike.
#![expect(unsafe_code, reason = "an allocator is")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
/// Negative if more was freed than allocated while it counted.
static IN_USE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

struct Counting;

impl Counting {
    #[inline]
    fn took(bytes: usize) {
        if COUNTS.load(Relaxed) {
            let bytes = signed(bytes);
            let now = IN_USE.fetch_add(bytes, Relaxed) + bytes;
            PEAK.fetch_max(now, Relaxed);
        }
    }

    #[inline]
    fn gave(bytes: usize) {
        if COUNTS.load(Relaxed) {
            IN_USE.fetch_sub(signed(bytes), Relaxed);
        }
    }
}

/// The size of every layout fits.
#[inline]
fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every method calls the one of the system's allocator.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::took(layout.size());
        // SAFETY: the caller keeps the same promises.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::took(layout.size());
        // SAFETY: the caller keeps the same promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::gave(layout.size());
        // SAFETY: the caller keeps the same promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new allocation may exist at the same time.
        Self::took(size);
        Self::gave(layout.size());
        // SAFETY: the caller keeps the same promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// An amount of memory, in bytes.
pub(crate) struct Usage {
    pub(crate) settled: isize,
    pub(crate) peak: isize,
}

/// Counts what `work` allocates, while no other thread does.
pub(crate) fn watch<R>(work: impl FnOnce() -> R) -> (R, Usage) {
    IN_USE.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let answer = work();
    COUNTS.store(false, Relaxed);
    (answer, Usage { settled: IN_USE.load(Relaxed), peak: PEAK.load(Relaxed) })
}
