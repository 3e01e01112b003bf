//! SHARED: changes by other threads while one waits.
//!
//! These cases have a list of their own, since they need backends that can go to another thread.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::{BorrowedSource, Changer, RawSource, Registered, Trigger};
use selectors::{Backend, Capabilities, Events, SharedSelector, Token, Watch};

use super::{Case, Stop};
use crate::fixtures::{OwnedSource, PairStream, pair};

mod arming;
mod as_ever;
mod cases;
mod changes;
mod differential;
mod gone;
mod many;

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

/// A shared selector, and whether it can be had: not where the backend cannot be woken.
fn selector<B: Backend + Send + 'static, T>(
    case: &Case<'_, B>,
) -> Result<Option<SharedSelector<T>>, Stop> {
    let backend = case.backend()?;
    let declared = backend.capabilities().waker;
    case.declared_or_refused(declared, SharedSelector::with_backend(backend))
}

/// A selector, and how often it has had its backend wait.
type CountedSelector<T> = (SharedSelector<T>, Arc<AtomicU32>);

/// As [`selector`], with the number of times that it has had the backend wait.
fn counted<B: Backend + Send + 'static, T>(
    case: &Case<'_, B>,
) -> Result<Option<CountedSelector<T>>, Stop> {
    let backend = Counted { backend: case.backend()?, waits: Arc::default() };
    let waits = Arc::clone(&backend.waits);
    let declared = backend.capabilities().waker;
    let selector = case.declared_or_refused(declared, SharedSelector::with_backend(backend))?;
    Ok(selector.map(|selector| (selector, waits)))
}

/// Makes a change in another thread while this one waits; returns what came of both.
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

/// A backend whose waits are counted, and which changes nothing else.
struct Counted<B> {
    backend: B,
    waits: Arc<AtomicU32>,
}

impl<B: Backend> Backend for Counted<B> {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.backend.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.backend.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.backend.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.backend.wait(events, timeout)
    }

    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        self.backend.waker(token)
    }

    fn changer(&self) -> io::Result<Option<Box<dyn Changer>>> {
        self.backend.changer()
    }

    fn now(&self) -> Instant {
        self.backend.now()
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.backend.descriptor()
    }

    fn owns(&self, fd: RawSource) -> bool {
        self.backend.owns(fd)
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        self.backend.rebuild(sources, events)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.backend.after_fork()
    }
}
