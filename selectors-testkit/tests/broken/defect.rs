//! A broken backend: a correct one, wrapped by a defect.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use selectors::backend::{Backend, BorrowedSource, Capabilities, RawSource, Registered, Trigger};
use selectors::{Event, Events, Token, Watch};
use selectors_testkit::fixtures::{processor_time, with_raw};

use super::variants::is_closed;

pub(crate) type Answer = io::Result<()>;
pub(crate) type Timeout = Option<Duration>;

pub(crate) const NOW: Timeout = Some(Duration::ZERO);

/// A defect. Each method passes the call to the correct backend, unless it is overridden.
pub(crate) trait Defect: Send {
    /// What the backend declares.
    fn declares(&self, beneath: &Beneath) -> Capabilities {
        beneath.backend.capabilities()
    }

    /// What the correct backend is asked to watch.
    fn asks(&mut self, new: Registered) -> Watch {
        new.watch
    }

    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let watch = self.asks(new);
        beneath.register(Registered::new(new.fd, new.token, watch))
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let watch = self.asks(new);
        beneath.modify(Registered::new(new.fd, new.token, watch))
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        beneath.unregister(old)
    }

    /// Which of the events that a wait has found are reported.
    fn report(&mut self, beneath: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let _ = beneath;
        found
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let before = events.len();
        beneath.wait(events, timeout)?;
        let found = events[before..].to_vec();
        let reported = self.report(beneath, found.clone());
        if reported != found {
            let old = events[..before].to_vec();
            events.clear();
            events.extend(old.into_iter().chain(reported));
        }
        Ok(())
    }

    fn descriptor<'a>(&'a self, beneath: &'a Beneath) -> Option<BorrowedSource<'a>> {
        beneath.backend.descriptor()
    }

    fn owns(&self, beneath: &Beneath, fd: RawSource) -> bool {
        beneath.backend.owns(fd)
    }

    fn waker(&self, beneath: &Beneath, token: Token) -> io::Result<Option<Trigger>> {
        beneath.backend.waker(token)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        beneath.backend.rebuild(sources, events)
    }

    fn after_fork(&mut self, beneath: &mut Beneath) -> Answer {
        beneath.after_fork()
    }

    /// Called when the backend is dropped.
    fn close(&mut self, beneath: &mut Beneath) {
        let _ = beneath;
    }
}

/// The sources that a recreated kernel object watches.
pub(crate) type Sources<'a> = &'a mut dyn Iterator<Item = Registered>;

/// The correct backend, and what it watches.
pub(crate) struct Beneath {
    pub(crate) backend: Box<dyn Backend + Send>,
    pub(crate) sources: BTreeMap<Token, Registered>,
    budget: Budget,
}

/// How long a case may use a backend, so that no defect makes the test hang. Only the time that the
/// thread ran or slept counts, not the time that it had to wait for a processor.
struct Budget {
    rest: Duration,
    /// The thread that uses it, and its processor time so far.
    thread: ThreadId,
    worked: Duration,
    calls: u32,
}

impl Budget {
    /// After how many calls the clock is read, which would be slow for thousands of calls.
    const CALLS: u32 = 32;

    fn new(rest: Duration) -> Self {
        let worked = processor_time().unwrap_or_default();
        Self { rest, thread: thread::current().id(), worked, calls: 0 }
    }

    /// What is left of it.
    fn left(&mut self) -> Duration {
        self.calls += 1;
        if self.calls % Self::CALLS == 0 {
            let (thread, worked) = (thread::current().id(), processor_time().unwrap_or_default());
            if thread == self.thread {
                self.spend(worked.saturating_sub(self.worked));
            }
            (self.thread, self.worked) = (thread, worked);
        }
        self.rest
    }

    fn spend(&mut self, time: Duration) {
        self.rest = self.rest.saturating_sub(time);
    }
}

impl Beneath {
    pub(crate) fn register(&mut self, new: Registered) -> Answer {
        with_raw(new.fd, |source| self.backend.register(source, new.token, new.watch))?;
        self.sources.insert(new.token, new);
        Ok(())
    }

    pub(crate) fn modify(&mut self, new: Registered) -> Answer {
        let old = self.watch(new.token)?;
        self.backend.modify(new.fd, new.token, old, new.watch)?;
        self.sources.insert(new.token, new);
        Ok(())
    }

    pub(crate) fn unregister(&mut self, old: Registered) -> Answer {
        let watch = self.watch(old.token)?;
        self.backend.unregister(old.fd, old.token, watch)?;
        self.sources.remove(&old.token);
        Ok(())
    }

    pub(crate) fn after_fork(&mut self) -> Answer {
        self.backend.after_fork()?;
        self.sources.clear();
        Ok(())
    }

    pub(crate) fn wait(&mut self, events: &mut Events, timeout: Timeout) -> Answer {
        let left = self.budget.left();
        assert!(!left.is_zero(), "it goes on for ever");
        let (before, start) = (events.len(), Instant::now());
        let within = timeout.filter(|timeout| *timeout <= left);
        let answer = self.backend.wait(events, within.or(Some(left)));
        if answer.is_err() {
            self.budget.spend(start.elapsed());
        } else if events.len() == before {
            assert!(within.is_some(), "it waits for ever");
            self.budget.spend(within.unwrap_or_default());
        }
        answer
    }

    /// The events of one wait, as a new list.
    pub(crate) fn found(&mut self, timeout: Timeout) -> io::Result<Vec<Event>> {
        let mut events = Events::new();
        self.wait(&mut events, timeout)?;
        Ok(events.into_iter().collect())
    }

    pub(crate) fn watch(&self, token: Token) -> io::Result<Watch> {
        Ok(self.source(token).ok_or(io::ErrorKind::NotFound)?.watch)
    }

    pub(crate) fn source(&self, token: Token) -> Option<Registered> {
        self.sources.get(&token).copied()
    }

    /// Whether this is a source whose descriptor was closed.
    pub(crate) fn is_closed(&self, token: Token) -> bool {
        self.sources.get(&token).is_some_and(is_closed)
    }
}

/// A backend with a defect.
pub(crate) struct Broken {
    beneath: Beneath,
    defect: Box<dyn Defect>,
}

impl Broken {
    /// `patience` is for how long a case may use it.
    pub(crate) fn new(
        backend: Box<dyn Backend + Send>,
        defect: Box<dyn Defect>,
        patience: Duration,
    ) -> Self {
        let budget = Budget::new(patience);
        Self { beneath: Beneath { backend, sources: BTreeMap::new(), budget }, defect }
    }
}

impl Backend for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.declares(&self.beneath)
    }

    fn register(&mut self, source: BorrowedSource<'_>, token: Token, watch: Watch) -> Answer {
        let new = Registered::new(source.as_raw_fd(), token, watch);
        self.defect.register(&mut self.beneath, new)
    }

    fn modify(&mut self, fd: RawSource, token: Token, _old: Watch, new: Watch) -> Answer {
        self.defect.modify(&mut self.beneath, Registered::new(fd, token, new))
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> Answer {
        self.defect.unregister(&mut self.beneath, Registered::new(fd, token, watch))
    }

    fn wait(&mut self, events: &mut Events, timeout: Timeout) -> Answer {
        self.defect.wait(&mut self.beneath, events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.defect.descriptor(&self.beneath)
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        self.defect.waker(&self.beneath, token)
    }

    fn now(&self) -> Instant {
        self.defect.now()
    }

    fn owns(&self, fd: RawSource) -> bool {
        self.defect.owns(&self.beneath, fd)
    }

    fn rebuild(&mut self, sources: Sources<'_>, events: &mut Events) -> Answer {
        self.defect.rebuild(&mut self.beneath, sources, events)
    }

    fn after_fork(&mut self) -> Answer {
        self.defect.after_fork(&mut self.beneath)
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.defect.close(&mut self.beneath);
    }
}
