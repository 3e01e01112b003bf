//! The desk: it holds the backend while no thread waits, and passes changes to the waiter while one
//! does.

use std::io;
use std::mem;
use std::thread::panicking;

use crate::sync::{Condvar, Mutex, PoisonError, lock};

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
    /// `None` while the waiter has it, and once it was taken for good.
    backend: Option<B>,
    change: Change<C>,
}

/// The change of the only thread that makes one.
#[derive(Debug)]
enum Change<C> {
    None,
    Asked(C),
    Answered(io::Result<()>),
}

impl<B, C> Desk<B, C> {
    /// A desk with a backend, in which `make` makes changes.
    pub(super) fn new(backend: B, make: fn(&mut B, C) -> io::Result<()>) -> Self {
        let state = State { backend: Some(backend), change: Change::None };
        Self { state: Mutex::new(state), answered: Condvar::new(), make }
    }

    /// Lends the backend for one wait. `None` if it was taken.
    pub(super) fn borrow(&self) -> Option<Loan<'_, B, C>> {
        let backend = self.take()?;
        Some(Loan { desk: self, backend: Some(backend), unwinding: panicking() })
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
        state.change = Change::Asked(change);
        drop(state);
        let failure = wake().err();
        let mut state = lock(&self.state);
        loop {
            let State { backend, change } = &mut *state;
            let asked = match mem::replace(change, Change::None) {
                Change::Asked(asked) => asked,
                Change::Answered(made) => return Ok(made),
                Change::None => {
                    return Ok(Err(io::Error::other("the waiting thread has panicked")));
                }
            };
            if let Some(backend) = backend {
                return Ok((self.make)(backend, asked));
            }
            if let Some(error) = failure {
                return Err((error, asked));
            }
            *change = Change::Asked(asked);
            state = self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
        // Dropped, and notified, after the lock is released.
        let mut notice = Notice { answered: &self.desk.answered, due: false };
        let mut state = lock(&self.desk.state);
        // Returned before the change is made, which may panic.
        state.backend = self.backend.take();
        let State { backend: Some(backend), change, .. } = &mut *state else { return };
        notice.due = matches!(change, Change::Asked(_));
        // Otherwise whoever asked makes it.
        if notice.due && (self.unwinding || !panicking()) {
            if let Change::Asked(asked) = mem::replace(change, Change::None) {
                *change = Change::Answered((self.desk.make)(backend, asked));
            }
        }
    }
}

/// Wakes whoever waits for an answer when it is dropped, also by a panic.
struct Notice<'a> {
    answered: &'a Condvar,
    due: bool,
}

impl Drop for Notice<'_> {
    fn drop(&mut self) {
        if self.due {
            self.answered.notify_all();
        }
    }
}
