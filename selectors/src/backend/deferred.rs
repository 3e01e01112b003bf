//! Changes that are deferred until the next wait.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use super::{
    AnyChanger, Backend, BorrowedSource, Capabilities, Change, DefaultBackend, RawSource,
    Registered, Trigger,
};
use crate::index::DescriptorIndex;
use crate::{Event, Events, Mode, Readiness, Result, Selector, Token, Watch};

/// A selector that defers its changes until the next `select`: see [`Deferred`].
///
/// # Examples
///
/// ```
/// use selectors::{DeferredSelector, Interest};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DeferredSelector::new()?;
/// let token = selector.register(ours, Interest::READ, ())?;
/// selector.modify(token, Interest::READ | Interest::WRITE)?;
/// // Submitted to the kernel here, in one system call.
/// assert!(selector.select(None)?.iter().all(|event| event.is_writable()));
/// # Ok(())
/// # }
/// ```
pub type DeferredSelector<F, T = (), B = DefaultBackend> = Selector<F, T, Deferred<B>>;

/// A token that no source has: reporting it makes the selector recreate the kernel object.
const UNNAMED: Token = Token::reserved(3);

impl<F, T> DeferredSelector<F, T> {
    /// Creates a selector over the best backend of this system that defers its changes. For another
    /// backend use `Selector::with_backend(Deferred::new(backend))`.
    ///
    /// # Errors
    ///
    /// Those of [`DefaultSelector`](crate::DefaultSelector)'s `new`.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DeferredSelector, Selector};
    /// use selectors::backend::{Deferred, Poll};
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let best: DeferredSelector<TcpStream> = DeferredSelector::new()?;
    /// let poll: DeferredSelector<TcpStream, (), Poll> =
    ///     Selector::with_backend(Deferred::new(Poll::new()?));
    /// assert!(best.capabilities().deferred && poll.capabilities().deferred);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Self::open(|| Ok(Deferred::new(DefaultBackend::new()?)))
    }
}

impl<F, T, B: Backend> DeferredSelector<F, T, B> {
    /// Applies the deferred changes now, without waiting.
    ///
    /// `select` applies them by itself. Call this before another selector, or poll(2), watches this one
    /// by its descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`](crate::Error::Forked). A source that the kernel refuses is not an error here:
    /// see [`Deferred`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # fn main() -> std::io::Result<()> {
    /// use selectors::{DefaultSelector, DeferredSelector, Interest};
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut inner = DeferredSelector::new()?;
    /// inner.register(ours, Interest::WRITE, ())?;
    /// inner.flush()?;
    /// let mut outer = DefaultSelector::new()?;
    /// outer.register(inner.as_fd(), Interest::READ, ())?;
    /// assert_eq!(outer.select(None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(target_os = "linux"))]
    /// # fn main() {}
    /// ```
    pub fn flush(&mut self) -> Result<()> {
        self.check_fork()?;
        self.backend_mut().flush();
        Ok(())
    }
}

/// Defers the changes of a backend until the next wait, and coalesces them.
///
/// A source that is registered and unregistered between two waits never reaches the kernel. One that
/// is modified and modified back costs no system call, and one that is modified ten times costs one.
/// With kqueue the changes are the changelist of the waiting kevent(2) call; with /dev/poll they are
/// one write before the wait. Unregistering a source that the kernel watches is not deferred.
/// Otherwise nothing differs: the map of sources changes at once, tokens, events and their order are
/// the same, and invalid interests, missing capabilities and duplicate registrations are refused at
/// once.
///
/// # Behaviour
///
/// - **Kernel errors are reported later.** A source that the kernel refuses to watch, such as a
///   descriptor that is not open, is already registered by then. Every `select` reports it as an
///   [`ERROR`](Readiness::ERROR) under its own token (once, if it is one-shot or edge-triggered) until
///   it is unregistered, or modified to another interest, which tries again.
///   [`refusal`](Self::refusal) returns the error. If the kernel rejects a modify, the source is no
///   longer watched at all: the old interest is not restored.
/// - **Kernel state changes later.** A selector or poll(2) that watches this one by its descriptor sees
///   no change before the next `select` or [`flush`](Selector::flush). If several threads or processes
///   wait for the same open file with [`Mode::Exclusive`], this selector takes its share of the events
///   until then.
///
/// # Examples
///
/// ```
/// use selectors::{DeferredSelector, Interest, Readiness};
/// use std::io;
/// use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
/// # use std::os::fd::FromRawFd;
///
/// # fn main() -> io::Result<()> {
/// // A descriptor that somebody has closed.
/// # let (end, _other) = std::os::unix::net::UnixStream::pair()?;
/// # let number = 1_000_000;
/// # let closed = unsafe { BorrowedFd::borrow_raw(number) };
/// let mut selector = DeferredSelector::new()?;
/// let token = selector.register(closed, Interest::READ, ())?;
/// let events = selector.select(None)?;
/// assert!(events.iter().all(|event| event.readiness().contains(Readiness::ERROR)));
/// let refusal = selector.backend().refusal(token).unwrap();
/// assert_eq!(refusal.to_string(), "Bad file descriptor (os error 9)");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Deferred<B> {
    backend: B,
    /// The deferred changes, at most one for each descriptor.
    changes: Vec<Change>,
    /// The index of a descriptor's change, possibly outdated: see [`place`](Self::place).
    index: DescriptorIndex,
    /// The number of changes that the last wait with any has applied.
    last: usize,
    refused: BTreeMap<Token, Refused>,
}

/// Capacity for this many changes is never freed.
const LEAST_CAPACITY: usize = 64;

/// A source for which the kernel refused a change, and which it therefore does not watch.
#[derive(Debug)]
struct Refused {
    mode: Mode,
    error: io::Error,
    /// Whether the next wait reports it.
    armed: bool,
}

impl<B> Deferred<B> {
    /// Defers the changes of `backend`.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Selector};
    /// use selectors::backend::{Deferred, Select};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector = Selector::with_backend(Deferred::new(Select::new()?));
    /// selector.register(UnixStream::pair()?.0, Interest::READ, ())?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(backend: B) -> Self {
        Self {
            backend,
            changes: Vec::new(),
            index: DescriptorIndex::default(),
            last: 0,
            refused: BTreeMap::new(),
        }
    }

    /// The backend whose changes are deferred.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DeferredSelector;
    /// use selectors::backend::Backend;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: DeferredSelector<TcpStream> = DeferredSelector::new()?;
    /// let inner = selector.backend().inner();
    /// assert!(selector.capabilities().deferred && !inner.capabilities().deferred);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn inner(&self) -> &B {
        &self.backend
    }

    /// The error with which the kernel refused the last change of a source.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DeferredSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DeferredSelector::new()?;
    /// let token = selector.register(ours, Interest::WRITE, ())?;
    /// selector.select(None)?;
    /// assert!(selector.backend().refusal(token).is_none(), "the kernel watches it");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn refusal(&self, token: Token) -> Option<&io::Error> {
        self.refused.get(&token).map(|refused| &refused.error)
    }

    /// Defers a change from `old`, which the kernel watches unless a change is already deferred, to
    /// `new`.
    #[inline]
    fn defer(&mut self, fd: RawSource, token: Token, old: Option<Watch>, new: Watch) {
        if let Some(place) = self.place(fd) {
            self.changes[place].new = new;
            if self.changes[place].is_redundant() {
                self.forget(place);
            }
            return;
        }
        let old = old.filter(|_| self.refused.is_empty() || self.refused.remove(&token).is_none());
        let change = Change { fd, token, old, new, refusal: None };
        if !change.is_redundant() {
            self.index.insert(fd, self.changes.len());
            self.changes.push(change);
        }
    }

    /// The index of a descriptor's change. Entries of descriptors without a change are outdated:
    /// checking is cheaper than removing them.
    #[inline]
    fn place(&self, fd: RawSource) -> Option<usize> {
        self.index.get(fd).filter(|&place| self.changes.get(place).is_some_and(|it| it.fd == fd))
    }

    fn forget(&mut self, place: usize) {
        self.changes.swap_remove(place);
        if let Some(moved) = self.changes.get(place) {
            self.index.insert(moved.fd, place);
        }
    }

    /// Replaces events of refused sources by those of ghosts: the kernel still watches such a source if
    /// its descriptor has a duplicate.
    fn hide_refused(&self, events: &mut [Event]) {
        for event in events {
            if self.refused.contains_key(&event.token()) {
                *event = Event::new(UNNAMED, event.readiness());
            }
        }
    }

    /// Appends an ERROR for every armed refused source, and hides its other events from `first` on.
    #[cold]
    fn report(&mut self, events: &mut Events, first: usize) {
        self.hide_refused(&mut events.list[first..]);
        for (&token, refused) in self.refused.iter_mut().filter(|(_, refused)| refused.armed) {
            events.push(Event::new(token, Readiness::ERROR));
            refused.armed = !matches!(refused.mode, Mode::OneShot | Mode::Edge);
        }
    }
}

impl<B: Backend> Deferred<B> {
    /// Removes the applied changes, and records refusals. Returns whether there was one, and whether the
    /// kernel may still watch a source whose `modify` failed.
    fn finish(&mut self) -> (bool, bool) {
        let count = self.changes.len();
        let (mut any, mut ghost) = (false, false);
        for change in self.changes.drain(..) {
            let Some(error) = change.refusal else { continue };
            any = true;
            if let Some(old) = change.old {
                // Otherwise the old interest would end every wait without being reported.
                let _ = self.backend.unregister(change.fd, change.token, old);
                ghost = true;
            }
            let mode = change.new.mode;
            self.refused.insert(change.token, Refused { mode, error, armed: true });
        }
        self.shrink(count);
        (any, ghost)
    }

    /// Frees the capacity if it is more than twice what this wait and the one before needed: many sources
    /// are often registered at once, and never again.
    fn shrink(&mut self, count: usize) {
        let needed = count.min(mem::replace(&mut self.last, count)).max(LEAST_CAPACITY);
        if self.changes.capacity() > 2 * needed {
            self.changes = Vec::new();
            self.index = DescriptorIndex::default();
        }
    }

    /// Applies the deferred changes.
    fn flush(&mut self) {
        Change::make_all(&mut self.changes, &mut self.backend);
        self.finish();
    }

    /// Waits when there are refused sources, or changes that may be refused.
    #[inline(never)]
    fn wait_and_report(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let first = events.len();
        let refused = self.refused.values().any(|refused| refused.armed);
        let timeout = if refused { Some(Duration::ZERO) } else { timeout };
        let waited = self.backend.change_and_wait(&mut self.changes, events, timeout);
        let (refused, ghost) = self.finish();
        let waited = if refused { self.backend.wait(events, Some(Duration::ZERO)) } else { waited };
        if !self.refused.is_empty() {
            self.report(events, first);
        }
        if ghost {
            events.push(Event::new(UNNAMED, Readiness::READ));
        }
        // Reported events must not be lost.
        if events.len() > first { Ok(()) } else { waited }
    }
}

impl<B: Backend> Backend for Deferred<B> {
    fn capabilities(&self) -> Capabilities {
        Capabilities { deferred: true, ..self.backend.capabilities() }
    }

    #[inline]
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        // Not deferred: it would be reported under a token of no source.
        if token == Token::WAKER {
            return self.backend.register(source, token, watch);
        }
        self.defer(super::raw(source), token, None, watch);
        Ok(())
    }

    #[inline]
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.defer(fd, token, Some(old), new);
        Ok(())
    }

    #[inline]
    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        let place = self.place(fd);
        let old = match place {
            Some(place) => self.changes[place].old,
            None if self.refused.contains_key(&token) => None,
            None => Some(watch),
        };
        // Not deferred: the file object may be closed next, which the kernel would not notice if
        // it has a duplicate.
        if let Some(old) = old {
            self.backend.unregister(fd, token, old)?;
        }
        // Not before: if the backend fails or panics, the source stays registered.
        if let Some(place) = place {
            self.forget(place);
        }
        if !self.refused.is_empty() {
            self.refused.remove(&token);
        }
        Ok(())
    }

    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        if self.changes.is_empty() && self.refused.is_empty() {
            return self.backend.wait(events, timeout);
        }
        self.wait_and_report(events, timeout)
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
        let Self { backend, refused, .. } = self;
        let first = events.len();
        let mut watched = sources.filter(|source| !refused.contains_key(&source.token));
        let rebuilt = backend.rebuild(&mut watched, events);
        self.hide_refused(&mut events.list[first..]);
        rebuilt?;
        // One-shot sources that were reported are registered anew when they are armed.
        self.refused.retain(|_, refused| refused.armed || refused.mode != Mode::OneShot);
        Ok(())
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.backend.after_fork()?;
        self.changes.clear();
        self.index = DescriptorIndex::default();
        self.refused.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::Interest;

    #[derive(Default)]
    struct Deaf {
        panics: bool,
    }

    impl Backend for Deaf {
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        fn register(&mut self, _: BorrowedSource<'_>, _: Token, _: Watch) -> io::Result<()> {
            Ok(())
        }

        fn modify(&mut self, _: RawSource, _: Token, _: Watch, _: Watch) -> io::Result<()> {
            Ok(())
        }

        fn unregister(&mut self, _: RawSource, _: Token, _: Watch) -> io::Result<()> {
            assert!(!self.panics, "as it was made to");
            Ok(())
        }

        fn wait(&mut self, _: &mut Events, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }

        fn rebuild(
            &mut self,
            _: &mut dyn Iterator<Item = Registered>,
            events: &mut Events,
        ) -> io::Result<()> {
            events.extend([7, 8].map(|bits| Event::new(Token::from_bits(bits), Readiness::READ)));
            Err(io::ErrorKind::OutOfMemory.into())
        }
    }

    #[test]
    fn close_5_a_failed_rebuild_reports_no_refused_source() {
        let mut deferred = Deferred::new(Deaf::default());
        let error = io::ErrorKind::NotFound.into();
        let refused = Refused { mode: Mode::Level, error, armed: true };
        deferred.refused.insert(Token::from_bits(7), refused);
        let mut events = Events::new();
        deferred.rebuild(&mut std::iter::empty(), &mut events).unwrap_err();
        let tokens: Vec<_> = events.iter().map(Event::token).collect();
        assert_eq!(tokens, [UNNAMED, Token::from_bits(8)]);
    }

    #[test]
    fn a_change_is_kept_if_unregistering_panics() {
        let [read, write] =
            [Interest::READ, Interest::WRITE].map(|interest| Watch::new(interest, Mode::Level));
        let mut deferred = Deferred::new(Deaf { panics: true });
        let token = Token::from_bits(7);
        deferred.modify(7, token, read, write).unwrap();
        let unregister = AssertUnwindSafe(|| deferred.unregister(7, token, write));
        assert!(catch_unwind(unregister).is_err());
        assert_eq!(deferred.changes.len(), 1);
        deferred.backend.panics = false;
        deferred.unregister(7, token, write).unwrap();
        assert!(deferred.changes.is_empty());
    }

    #[test]
    fn capacity_is_kept_while_it_is_needed() {
        let watch = Watch::new(Interest::READ, Mode::Level);
        let mut deferred = Deferred::new(Deaf::default());
        let mut capacity_after = |count| {
            for fd in 0..count {
                deferred.defer(fd, Token::from_bits(7), None, watch);
            }
            deferred.wait(&mut Events::new(), Some(Duration::ZERO)).unwrap();
            (deferred.changes.capacity(), deferred.index.get(count - 1).is_some())
        };
        assert_eq!(capacity_after(1000), (0, false), "many, once");
        assert!(capacity_after(1000).0 >= 1000, "many each time");
        assert!(capacity_after(1000).0 >= 1000);
        assert_eq!(capacity_after(10), (0, false), "few from now on");
        assert!(capacity_after(10).0 >= 10);
        assert!(capacity_after(10).0 >= 10);
    }
}
