//! SHARED: changes by other threads while one waits.
//!
//! These cases are a separate list, because they need backends that can be moved to another thread.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use selectors::{Backend, Events, SharedSelector};

use super::counting::{Counting, Counts};
use super::{Case, Stop};
use crate::fixtures::{OwnedSource, PairStream, pair};

mod arming;
mod bulk;
mod cases;
mod changes;
mod differential;
mod ghosts;
mod parity;
mod signals;
mod unregistered;

pub(super) use cases::all;
pub use cases::{SHARED_CASES, check_shared, check_shared_patiently, run_shared};

/// A short while.
const SHORT: Duration = Duration::from_millis(20);

/// A source that is ready for READ, and its peer.
fn ready() -> io::Result<(OwnedSource, PairStream)> {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    Ok((ours.into(), theirs))
}

fn idle() -> io::Result<(OwnedSource, PairStream)> {
    let (ours, theirs) = pair()?;
    Ok((ours.into(), theirs))
}

/// Creates a shared selector; `None` if the backend cannot be woken.
fn selector<B: Backend + Send + 'static, T>(
    case: &Case<'_, B>,
) -> Result<Option<SharedSelector<T>>, Stop> {
    let backend = case.backend()?;
    let declared = backend.capabilities().waker;
    case.declared_or_refused(declared, SharedSelector::with_backend(backend))
}

/// As [`selector`], with the counts of the calls of its backend.
fn counted<B: Backend + Send + 'static, T>(
    case: &Case<'_, B>,
) -> Result<Option<(SharedSelector<T>, Counts)>, Stop> {
    let backend = Counting::new(case.backend()?);
    let counts = backend.counts();
    let declared = backend.capabilities().waker;
    let selector = case.declared_or_refused(declared, SharedSelector::with_backend(backend))?;
    Ok(selector.map(|selector| (selector, counts)))
}

/// Makes a change in another thread while this one waits; returns the results of both.
fn during_a_wait<B: Backend, T: Send, R: Send>(
    case: &Case<'_, B>,
    selector: &mut SharedSelector<T>,
    change: impl FnOnce() -> Result<R, Stop> + Send,
) -> Result<(R, Events), Stop> {
    let (changed, events) = thread::scope(|scope| {
        let thread = scope.spawn(change);
        let events = selector.select(case.long());
        (thread.join(), events)
    });
    let changed = changed.map_err(|_| Stop::broken("  the thread panicked"))??;
    Ok((changed, events?))
}
