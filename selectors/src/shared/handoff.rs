//! The backend, which the waiter borrows for each wait, and changes that other threads make to it.

use std::io;
use std::mem;
use std::thread::panicking;

use crate::sync::{Condvar, Mutex, PoisonError, lock};

/// Lends the backend `B` to the waiter. A thread that makes a change `C` meanwhile stores it here
/// and wakes the waiter, which makes the change after its system call.
#[derive(Debug)]
pub(super) struct Handoff<B, C> {
    state: Mutex<State<B, C>>,
    made: Condvar,
    make: fn(&mut B, C) -> io::Result<()>,
}

#[derive(Debug)]
struct State<B, C> {
    /// `None` while the waiter has it, and after the selector was closed.
    backend: Option<B>,
    change: Change<C>,
}

/// The change that a thread has requested. One thread at a time makes changes.
#[derive(Debug)]
enum Change<C> {
    None,
    Requested(C),
    Made(io::Result<()>),
}

impl<B, C> Handoff<B, C> {
    /// Contains a backend, to which `make` makes changes.
    pub(super) fn new(backend: B, make: fn(&mut B, C) -> io::Result<()>) -> Self {
        let state = State { backend: Some(backend), change: Change::None };
        Self { state: Mutex::new(state), made: Condvar::new(), make }
    }

    /// Lends the backend for one wait. `None` if it was taken.
    pub(super) fn borrow(&self) -> Option<Loan<'_, B, C>> {
        let backend = self.take()?;
        Some(Loan { handoff: self, backend: Some(backend), unwinding: panicking() })
    }

    /// For the waiter, between two waits: runs `act` on the backend. `None` if it was taken.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut B) -> R) -> Option<R> {
        lock(&self.state).backend.as_mut().map(act)
    }

    /// For the waiter, between two waits: takes the backend. Changes must not be made after that.
    pub(super) fn take(&self) -> Option<B> {
        lock(&self.state).backend.take()
    }

    /// Makes a change, at once or through the waiter, whose wait `wake` ends. One thread at a time.
    ///
    /// Returns the change if it was not made, because the waiter could not be woken.
    pub(super) fn make(
        &self,
        change: C,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<io::Result<()>, (io::Error, C)> {
        let mut state = lock(&self.state);
        if let Some(backend) = &mut state.backend {
            return Ok((self.make)(backend, change));
        }
        state.change = Change::Requested(change);
        drop(state);
        let failure = wake().err();
        let mut state = lock(&self.state);
        loop {
            let State { backend, change } = &mut *state;
            let requested = match mem::replace(change, Change::None) {
                Change::Requested(requested) => requested,
                Change::Made(made) => return Ok(made),
                Change::None => {
                    return Ok(Err(io::Error::other("the waiting thread has panicked")));
                }
            };
            if let Some(backend) = backend {
                return Ok((self.make)(backend, requested));
            }
            if let Some(error) = failure {
                return Err((error, requested));
            }
            *change = Change::Requested(requested);
            state = self.made.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The borrowed backend, which is returned when this is dropped, even by a panic.
#[derive(Debug)]
pub(super) struct Loan<'a, B, C> {
    handoff: &'a Handoff<B, C>,
    backend: Option<B>,
    /// Whether the thread was panicking already, so that it waits in a destructor.
    unwinding: bool,
}

impl<B, C> Loan<'_, B, C> {
    pub(super) fn backend(&mut self) -> Option<&mut B> {
        self.backend.as_mut()
    }
}

impl<B, C> Drop for Loan<'_, B, C> {
    fn drop(&mut self) {
        // Dropped, and notified, after the lock is released.
        let mut notice = Notice { made: &self.handoff.made, due: false };
        let mut state = lock(&self.handoff.state);
        // Returned before the change is made, which may panic.
        state.backend = self.backend.take();
        let State { backend: Some(backend), change, .. } = &mut *state else { return };
        notice.due = matches!(change, Change::Requested(_));
        // Otherwise the thread that requested it makes it.
        if notice.due && (self.unwinding || !panicking()) {
            if let Change::Requested(requested) = mem::replace(change, Change::None) {
                *change = Change::Made((self.handoff.make)(backend, requested));
            }
        }
    }
}

/// When dropped, even by a panic, wakes the thread that waits for its change.
struct Notice<'a> {
    made: &'a Condvar,
    due: bool,
}

impl Drop for Notice<'_> {
    fn drop(&mut self) {
        if self.due {
            self.made.notify_all();
        }
    }
}
