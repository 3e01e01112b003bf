//! The types with which threads share state: those of the standard library, or those of loom, which
//! tries every interleaving.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};
#[cfg(loom)]
pub(crate) use std::sync::{PoisonError, TryLockError};

/// Locks. Ignores poison, because a panic leaves no locked state inconsistent.
pub(crate) fn lock<S: ?Sized>(mutex: &Mutex<S>) -> MutexGuard<'_, S> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], for the only owner.
pub(crate) fn get_mut<S>(mutex: &mut Mutex<S>) -> &mut S {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], but `None` if it is locked: in a forked child the holder may not exist.
pub(crate) fn try_lock<S: ?Sized>(mutex: &Mutex<S>) -> Option<MutexGuard<'_, S>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
