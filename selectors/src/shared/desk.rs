//! The desk: it holds the backend while no thread waits, and passes changes to the waiter while one
//! does.

use std::io;
use std::mem;
use std::thread::panicking;

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, lock};

/// Lends the backend `B` to the waiter. A change `C` that a thread makes meanwhile is left here, and
/// the waiter, which that thread wakes, makes it when its system call has ended.
#[derive(Debug)]
pub(super) struct Desk<B, C> {
    state: Mutex<State<B, C>>,
    answered: Condvar,
    make: fn(&mut B, C) -> io::Result<()>,
}

#[derive(Debug)]
struct State<B, C> {
    /// `None` while the waiter has it.
    backend: Option<B>,
    change: Change<C>,
    closed: bool,
}

/// The change of the only thread that makes one.
#[derive(Debug)]
enum Change<C> {
    None,
    Asked(C),
    Answered(io::Result<()>),
}

impl<B, C> State<B, C> {
    /// Whether the change is still to be made, and by the waiter.
    fn is_left_to_waiter(&self) -> bool {
        matches!(self.change, Change::Asked(_)) && self.backend.is_none() && !self.closed
    }
}

impl<B, C> Desk<B, C> {
    /// A desk with a backend, in which `make` makes changes.
    pub(super) fn new(backend: B, make: fn(&mut B, C) -> io::Result<()>) -> Self {
        let state = State { backend: Some(backend), change: Change::None, closed: false };
        Self { state: Mutex::new(state), answered: Condvar::new(), make }
    }

    /// Lends the backend for one wait. `None` if the desk is closed.
    pub(super) fn borrow(&self) -> Option<Loan<'_, B, C>> {
        let backend = lock(&self.state).backend.take()?;
        Some(Loan { desk: self, backend: Some(backend), unwinding: panicking() })
    }

    /// For the waiter, between two waits: runs `act` on the backend. `None` if the desk is closed.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut B) -> R) -> Option<R> {
        lock(&self.state).backend.as_mut().map(act)
    }

    /// Makes a change, at once or through the waiter, whose wait `wake` ends. One thread at a time.
    ///
    /// Returns the change if it was not made: the waiter could not be woken, or the desk is closed,
    /// for which there is no error.
    pub(super) fn make(
        &self,
        change: C,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<io::Result<()>, (Option<io::Error>, C)> {
        let mut state = lock(&self.state);
        let mut change = change;
        if state.backend.is_none() && !state.closed {
            state.change = Change::Asked(change);
            drop(state);
            let woken = wake();
            state = if woken.is_ok() { self.answered() } else { lock(&self.state) };
            change = match mem::replace(&mut state.change, Change::None) {
                Change::Answered(made) => return Ok(made),
                Change::Asked(change) if woken.is_err() && state.backend.is_none() => {
                    return Err((woken.err(), change));
                }
                Change::Asked(change) => change,
                Change::None => {
                    return Ok(Err(io::Error::other("the waiting thread has panicked")));
                }
            };
        }
        match &mut state.backend {
            Some(backend) => Ok((self.make)(backend, change)),
            None => Err((None, change)),
        }
    }

    /// Waits until the waiter has made the change, or returned the backend for good.
    fn answered(&self) -> MutexGuard<'_, State<B, C>> {
        let mut state = lock(&self.state);
        while state.is_left_to_waiter() {
            state = self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Closes the desk and returns the backend.
    pub(super) fn close(&self) -> Option<B> {
        let mut state = lock(&self.state);
        state.closed = true;
        self.answered.notify_all();
        state.backend.take()
    }
}

/// The borrowed backend, which is returned when this is dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Loan<'a, B, C> {
    desk: &'a Desk<B, C>,
    backend: Option<B>,
    /// Whether the thread was panicking before, and waits in a destructor.
    unwinding: bool,
}

impl<B, C> Loan<'_, B, C> {
    pub(super) fn backend(&mut self) -> Option<&mut B> {
        self.backend.as_mut()
    }
}

impl<B, C> Drop for Loan<'_, B, C> {
    fn drop(&mut self) {
        let mut state = lock(&self.desk.state);
        // Returned before the change is made, which may panic.
        state.backend = self.backend.take();
        let State { backend: Some(backend), change, .. } = &mut *state else { return };
        if !matches!(change, Change::Asked(_)) {
            return;
        }
        self.desk.answered.notify_all();
        // Otherwise whoever asked makes it.
        if self.unwinding || !panicking() {
            if let Change::Asked(asked) = mem::replace(change, Change::None) {
                *change = Change::Answered((self.desk.make)(backend, asked));
            }
        }
    }
}
