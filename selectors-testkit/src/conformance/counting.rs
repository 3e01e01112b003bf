//! A backend that counts the calls of the one that it wraps, and can simulate a ghost.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use selectors::backend::{
    AnyChanger, Backend, BorrowedSource, Capabilities, RawSource, Registered, Trigger,
};
use selectors::{Event, Events, Readiness, Token, Watch};

use super::NOW;

/// How often each call was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) register: usize,
    pub(crate) modify: usize,
    pub(crate) unregister: usize,
    pub(crate) wait: usize,
    pub(crate) rebuild: usize,
}

/// The token of the simulated ghost: no selector creates it.
const GHOST: Token = Token::from_bits(0x7777_7777_7777_7777);

thread_local! {
    /// Whether a rebuild has failed on this thread.
    pub(super) static REBUILD_FAILED: Cell<bool> = const { Cell::new(false) };
}

/// How often each call was made so far. A clone observes the backend after it was moved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<Calls>>);

impl Counts {
    pub(crate) fn calls(&self) -> Calls {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, which: impl FnOnce(&mut Calls) -> &mut usize) {
        *which(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)) += 1;
    }
}

pub(crate) struct Counting<B> {
    backend: B,
    counts: Counts,
    /// Every wait reports a ghost until a rebuild has failed this often and the next one succeeds.
    ghost: Option<usize>,
}

impl<B> Counting<B> {
    pub(crate) fn new(backend: B) -> Self {
        Self { backend, counts: Counts::default(), ghost: None }
    }

    /// Simulates a ghost, until a rebuild has failed this many times.
    pub(crate) fn with_ghost(backend: B, failures: usize) -> Self {
        REBUILD_FAILED.set(false);
        Self { ghost: Some(failures), ..Self::new(backend) }
    }

    pub(crate) fn calls(&self) -> Calls {
        self.counts.calls()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }
}

impl<B: Backend> Backend for Counting<B> {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.counts.count(|calls| &mut calls.register);
        self.backend.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.counts.count(|calls| &mut calls.modify);
        self.backend.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.counts.count(|calls| &mut calls.unregister);
        self.backend.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.counts.count(|calls| &mut calls.wait);
        if self.ghost.is_none() {
            return self.backend.wait(events, timeout);
        }
        self.backend.wait(events, NOW)?;
        events.push(Event::new(GHOST, Readiness::READ));
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.backend.descriptor()
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        self.backend.waker(token)
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        self.backend.changer()
    }

    fn now(&self) -> Instant {
        self.backend.now()
    }

    fn owns(&self, fd: RawSource) -> bool {
        self.backend.owns(fd)
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        self.counts.count(|calls| &mut calls.rebuild);
        if let Some(failures) = self.ghost.filter(|&failures| failures > 0) {
            self.ghost = Some(failures - 1);
            REBUILD_FAILED.set(true);
            // As if each had been watched before it failed.
            let _ = sources.count();
            // No memory.
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.ghost = None;
        self.backend.rebuild(sources, events)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.backend.after_fork()
    }
}
