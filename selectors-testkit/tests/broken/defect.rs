//! What a broken backend is made of: a right one, and a defect that stands before it.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use nix::libc::{dev_t, ino_t};
use nix::sys::stat::{SFlag, fstat};
use selectors::backend::{Backend, BorrowedSource, Capabilities, RawSource, Registered, Trigger};
use selectors::{Event, Events, Readiness, Token, Watch};
use selectors_testkit::fixtures::{is_open, with_raw};

/// What is wrong. Each call goes to the right backend beneath, unless the defect says otherwise.
pub(crate) trait Defect: Send {
    fn capabilities(&self, beneath: &Beneath) -> Capabilities {
        beneath.backend.capabilities()
    }

    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        beneath.modify(fd, token, new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        beneath.unregister(fd, token)
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        beneath.wait(events, timeout)
    }

    fn descriptor<'a>(&'a self, beneath: &'a Beneath) -> Option<BorrowedSource<'a>> {
        beneath.backend.descriptor()
    }

    fn waker(&mut self, beneath: &mut Beneath, token: Token) -> io::Result<Option<Trigger>> {
        beneath.backend.waker(token)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        beneath.backend.rebuild(sources, events)
    }

    fn after_fork(&mut self, beneath: &mut Beneath) -> io::Result<()> {
        beneath.backend.after_fork()?;
        beneath.sources.clear();
        Ok(())
    }

    /// The backend is dropped.
    fn close(&mut self, beneath: &mut Beneath) {
        let _ = beneath;
    }
}

/// The right backend, and what it watches.
pub(crate) struct Beneath {
    pub(crate) backend: Box<dyn Backend + Send>,
    pub(crate) sources: BTreeMap<Token, Registered>,
    /// When a case that is still waiting has got stuck.
    until: Instant,
}

impl Beneath {
    pub(crate) fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        self.backend.register(source, token, watch)?;
        self.sources.insert(token, Registered::new(source.as_raw_fd(), token, watch));
        Ok(())
    }

    pub(crate) fn modify(&mut self, fd: RawSource, token: Token, new: Watch) -> io::Result<()> {
        let old = self.watch(token)?;
        self.backend.modify(fd, token, old, new)?;
        self.sources.insert(token, Registered::new(fd, token, new));
        Ok(())
    }

    pub(crate) fn unregister(&mut self, fd: RawSource, token: Token) -> io::Result<()> {
        let watch = self.watch(token)?;
        self.backend.unregister(fd, token, watch)?;
        self.sources.remove(&token);
        Ok(())
    }

    pub(crate) fn wait(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "it goes on for ever");
        if timeout.is_some_and(|timeout| timeout <= left) {
            return self.backend.wait(events, timeout);
        }
        let before = events.len();
        self.backend.wait(events, Some(left))?;
        assert!(events.len() > before, "it waits for ever");
        Ok(())
    }

    /// What one wait brings, as a list of its own.
    pub(crate) fn news(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Event>> {
        let mut events = Events::new();
        self.wait(&mut events, timeout)?;
        Ok(events.into_iter().collect())
    }

    pub(crate) fn watch(&self, token: Token) -> io::Result<Watch> {
        let source = self.sources.get(&token).ok_or(io::ErrorKind::NotFound)?;
        Ok(source.watch)
    }
}

/// A backend with a defect.
pub(crate) struct Broken {
    beneath: Beneath,
    defect: Box<dyn Defect>,
}

impl Broken {
    /// `patience` is for how long a case may use it: no defect is to make the test hang.
    pub(crate) fn new(
        backend: Box<dyn Backend + Send>,
        defect: Box<dyn Defect>,
        patience: Duration,
    ) -> Self {
        let until = Instant::now() + patience;
        Self { beneath: Beneath { backend, sources: BTreeMap::new(), until }, defect }
    }
}

impl Backend for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(&self.beneath)
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.defect.register(&mut self.beneath, source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        self.defect.modify(&mut self.beneath, fd, token, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, _watch: Watch) -> io::Result<()> {
        self.defect.unregister(&mut self.beneath, fd, token)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.defect.wait(&mut self.beneath, events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.defect.descriptor(&self.beneath)
    }

    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        self.defect.waker(&mut self.beneath, token)
    }

    fn now(&self) -> Instant {
        self.defect.now()
    }

    fn owns(&self, fd: RawSource) -> bool {
        self.beneath.backend.owns(fd)
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        self.defect.rebuild(&mut self.beneath, sources, events)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.defect.after_fork(&mut self.beneath)
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.defect.close(&mut self.beneath);
    }
}

// Defects that come in many variants.

/// Tells something else than the kernel said of a source. Nothing at all is no event.
pub(crate) struct Tells(pub(crate) fn(Readiness, Registered) -> Readiness);

impl Defect for Tells {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            let readiness = match beneath.sources.get(&event.token()) {
                Some(&source) => (self.0)(event.readiness(), source),
                None => event.readiness(),
            };
            if !readiness.is_empty() {
                events.push(Event::new(event.token(), readiness));
            }
        }
        Ok(())
    }
}

/// Refuses to register some sources.
pub(crate) struct Refuses(pub(crate) fn(BorrowedSource<'_>, Watch) -> io::Result<()>);

impl Defect for Refuses {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        (self.0)(source, watch)?;
        beneath.register(source, token, watch)
    }
}

/// Watches for something else than was asked for.
pub(crate) struct Watches(pub(crate) fn(Watch) -> Watch);

impl Defect for Watches {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, (self.0)(watch))
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        beneath.modify(fd, token, (self.0)(new))
    }
}

/// Waits for another time than was asked for.
pub(crate) struct Times(pub(crate) fn(Duration) -> Duration);

impl Defect for Times {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        beneath.wait(events, timeout.map(self.0))
    }
}

/// Declares what it does not have, or has what it does not declare.
pub(crate) struct Declares(pub(crate) fn(&mut Capabilities));

impl Defect for Declares {
    fn capabilities(&self, beneath: &Beneath) -> Capabilities {
        let mut capabilities = beneath.backend.capabilities();
        (self.0)(&mut capabilities);
        capabilities
    }
}

// What several defects ask of a descriptor.

/// What kind of file a descriptor is of: none if it is closed.
pub(crate) fn kind(fd: RawSource) -> SFlag {
    with_raw(fd, kind_of)
}

pub(crate) fn kind_of(source: BorrowedSource<'_>) -> SFlag {
    let mode = fstat(source).map_or(0, |status| status.st_mode);
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}

/// Which file a descriptor is of.
pub(crate) fn file(fd: RawSource) -> Option<(dev_t, ino_t)> {
    with_raw(fd, fstat).ok().map(|status| (status.st_dev, status.st_ino))
}

pub(crate) fn is_closed(source: &Registered) -> bool {
    !is_open(source.fd)
}
