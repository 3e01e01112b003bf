//! The desk: it holds the backend while no thread waits, and lends it to threads that make changes.

use std::io;

use crate::sync::{Condvar, Mutex, MutexGuard, lock};

/// Lends the backend `B` to the waiter. A thread that needs it meanwhile wakes the waiter, which returns
/// it when its system call ends.
#[derive(Debug)]
pub(super) struct Desk<B> {
    state: Mutex<State<B>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<B> {
    /// `None` while the waiter has it.
    backend: Option<B>,
    /// Whether a thread waits for the waiter to return it.
    wanted: bool,
    closed: bool,
}

impl<B> Desk<B> {
    pub(super) fn new(backend: B) -> Self {
        let state = State { backend: Some(backend), wanted: false, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Lends the backend for one wait. Threads that make changes have precedence.
    pub(super) fn borrow(&self) -> Option<Loan<'_, B>> {
        let mut state = lock(&self.state);
        while state.wanted {
            state = self.wait(state);
        }
        let backend = state.backend.take()?;
        Some(Loan { desk: self, backend: Some(backend) })
    }

    /// Runs `act` on the backend, after `wake` has made the waiter return it. `None` if the desk is
    /// closed.
    pub(super) fn with<R>(
        &self,
        wake: impl FnOnce() -> io::Result<()>,
        act: impl FnOnce(&mut B) -> R,
    ) -> io::Result<Option<R>> {
        let mut state = lock(&self.state);
        if state.backend.is_none() && !state.closed {
            state.wanted = true;
            drop(state);
            let woken = wake();
            state = lock(&self.state);
            while woken.is_ok() && state.backend.is_none() && !state.closed {
                state = self.wait(state);
            }
            // Before `act`, which may panic.
            state.wanted = false;
            self.changed.notify_all();
            woken?;
        }
        Ok(state.backend.as_mut().map(act))
    }

    /// Closes the desk and returns the backend.
    pub(super) fn close(&self) -> Option<B> {
        let mut state = lock(&self.state);
        state.closed = true;
        self.changed.notify_all();
        state.backend.take()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<B>>) -> MutexGuard<'a, State<B>> {
        self.changed.wait(state).unwrap_or_else(crate::sync::PoisonError::into_inner)
    }
}

/// The borrowed backend, which is returned when this is dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Loan<'a, B> {
    desk: &'a Desk<B>,
    backend: Option<B>,
}

impl<B> Loan<'_, B> {
    pub(super) fn backend(&mut self) -> Option<&mut B> {
        self.backend.as_mut()
    }
}

impl<B> Drop for Loan<'_, B> {
    fn drop(&mut self) {
        let mut state = lock(&self.desk.state);
        state.backend = self.backend.take();
        if state.wanted {
            self.desk.changed.notify_all();
        }
    }
}
