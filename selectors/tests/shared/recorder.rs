//! A backend, with a changer, that watches nothing: it records its calls, and reports what it is given.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use selectors::backend::{AnyChanger, Backend, Capabilities, Changer, Registered, Trigger};
use selectors::{Event, Events, SharedSelector, Token, Watch};

/// What the backend records, and what it does.
#[derive(Default)]
pub(crate) struct Record {
    /// The changes, each with the thread that makes it.
    changes: Vec<&'static str>,
    /// The timeouts of the waits.
    pub(crate) timeouts: Vec<Option<Duration>>,
    /// The sources of each attempt to recreate the kernel object.
    pub(crate) rebuilt_with: Vec<Vec<Token>>,
    pub(crate) capabilities: Capabilities,
    pub(crate) declines: bool,
    pub(crate) refuses: &'static [&'static str],
    /// The token of the waker.
    pub(crate) waker: Option<Token>,
    /// What every wait reports.
    pub(crate) events: Vec<Event>,
    /// Whether each list is marked.
    pub(crate) repeats: bool,
    /// How each wait fails, after it has reported that.
    pub(crate) fails: Option<io::ErrorKind>,
    /// What recreating the kernel object reports.
    pub(crate) pending: Vec<Event>,
    /// Called by it.
    pub(crate) during_rebuild: Option<Box<dyn Fn() + Send>>,
}

impl Record {
    fn change(&mut self, change: &'static str) -> io::Result<()> {
        self.changes.push(change);
        let refused = self.refuses.contains(&change);
        if refused { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }

    /// The changes since this was called.
    pub(crate) fn changes(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.changes)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Record>>);

impl Recorder {
    pub(crate) fn selector(&self) -> SharedSelector<u32> {
        SharedSelector::with_backend(self.clone()).unwrap()
    }

    /// The number of references to it: by the test, the backend and the changer.
    pub(crate) fn references(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        // Also while a failed test drops its handles.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Recorder {
    fn capabilities(&self) -> Capabilities {
        self.record().capabilities
    }

    fn register(&mut self, _: BorrowedFd<'_>, _: Token, _: Watch) -> io::Result<()> {
        self.record().change("register")
    }

    fn modify(&mut self, _: RawFd, _: Token, _: Watch, _: Watch) -> io::Result<()> {
        self.record().change("modify")
    }

    fn unregister(&mut self, _: RawFd, _: Token, _: Watch) -> io::Result<()> {
        self.record().change("unregister")
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let mut record = self.record();
        record.timeouts.push(timeout);
        events.extend(record.events.iter().copied());
        if record.repeats {
            events.mark_repeats();
        }
        if let Some(kind) = record.fails {
            return Err(kind.into());
        }
        if record.events.is_empty() {
            drop(record);
            thread::sleep(timeout.expect("nothing else would end it"));
        }
        Ok(())
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        self.record().waker = Some(token);
        Ok(Some(Box::new(|| Ok(()))))
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        if self.record().refuses.contains(&"changer") {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Some(AnyChanger::new(Kernel(self.clone()))))
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        let tokens = sources.map(|source| source.token).collect();
        let mut record = self.record();
        record.rebuilt_with.push(tokens);
        events.extend(record.pending.iter().copied());
        record.during_rebuild.iter().for_each(|act| act());
        record.change("rebuild")
    }
}

struct Kernel(Recorder);

impl Changer for Kernel {
    fn register(&mut self, _: BorrowedFd<'_>, _: Token, _: Watch) -> io::Result<bool> {
        let mut record = self.0.record();
        record.change("kernel: register")?;
        Ok(!record.declines)
    }

    fn modify(&mut self, _: RawFd, _: Token, _: Watch, _: Watch) -> io::Result<()> {
        self.0.record().change("kernel: modify")
    }

    fn unregister(&mut self, _: RawFd, _: Token, _: Watch) -> io::Result<()> {
        self.0.record().change("kernel: unregister")
    }
}
