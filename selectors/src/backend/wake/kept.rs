//! Descriptors that are not closed if foreign code has closed them.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

/// An owner of a descriptor, which is closed when this is dropped unless it was lost.
#[derive(Debug)]
pub(super) struct Kept<S> {
    owner: ManuallyDrop<S>,
    lost: AtomicBool,
}

impl<S> Kept<S> {
    pub(super) fn new(owner: S) -> Self {
        Self { owner: ManuallyDrop::new(owner), lost: AtomicBool::new(false) }
    }

    /// The number is free, or that of a file of somebody else, and must not be closed.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

impl<S> Deref for Kept<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.owner
    }
}

impl<S> Drop for Kept<S> {
    fn drop(&mut self) {
        if !*self.lost.get_mut() {
            // SAFETY: `self` is being dropped, so nobody uses the owner afterwards.
            unsafe { ManuallyDrop::drop(&mut self.owner) };
        }
    }
}
