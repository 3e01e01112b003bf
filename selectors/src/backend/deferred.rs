//! Changes that are put off until the next wait.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::{
    Backend, BorrowedSource, Capabilities, DefaultBackend, RawSource, Registered, Trigger,
};
use crate::index::DescriptorIndex;
use crate::{Error, Event, Events, Mode, Readiness, Result, Selector, Token, Watch};

/// A selector that puts its changes off until the next `select`: see [`Deferred`].
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
/// // The kernel hears of it here, in one system call.
/// assert!(selector.select(None)?.iter().all(|event| event.is_writable()));
/// # Ok(())
/// # }
/// ```
pub type DeferredSelector<F, T = (), B = DefaultBackend> = Selector<F, T, Deferred<B>>;

/// What is no source's, so that the selector has the backend start over.
const UNNAMED: Token = Token::reserved(3);

impl<F, T> DeferredSelector<F, T> {
    /// A selector over the best backend that this system has, which puts its changes off. For
    /// another backend: `Selector::with_backend(Deferred::new(backend))`.
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
    /// Makes the changes that were put off, at once and without waiting.
    ///
    /// `select` does that by itself. What needs it are others that go by the kernel's state
    /// meanwhile: another selector, or poll(2), that watches this one by its descriptor.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::unregister`], for a source that the kernel would not forget. What
    /// it refuses to watch is no error here: see [`Deferred`].
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
        self.backend_mut().flush().map_err(|error| Error::os("flush", None, error))
    }
}

/// Puts the changes of a backend off until the next wait, and makes only those that are left.
///
/// A source that is registered and unregistered between two waits never reaches the kernel; one
/// that is modified and modified back costs no system call, and one that is modified ten times
/// costs one. With kqueue the changes ride in the very call that waits, and with /dev/poll they go in
/// one write before it. What is otherwise as
/// without it: the map of sources changes at once, tokens, events and their order are the same,
/// and invalid interests, capabilities and double registrations are refused at once.
///
/// # What is different
///
/// - **Errors of the kernel show later.** What it refuses to watch, such as a descriptor that
///   is not open, has been registered by then. It is reported as an
///   [`ERROR`](Readiness::ERROR) under its own token by every `select` (once, if it is one-shot
///   or edge-triggered) until it is modified to something else, which tries again, or
///   unregistered; [`refusal`](Self::refusal) says why. A source whose `modify` is refused is not
///   watched for what it was either.
/// - **Others see the kernel's state later.** A selector or poll(2) that watches this one by
///   its descriptor hears of no change before the next `select` or
///   [`flush`](Selector::flush). While another thread or process waits for the same open file
///   with [`Mode::Exclusive`], this selector takes its share of the events until then.
/// - **A file object may be closed before the kernel hears that it was unregistered.** If no
///   duplicate of the descriptor lives on, here or in another process, closing has unregistered
///   it. If one does, the selector drops its events and, where that takes it, starts over, which
///   takes as long as registering every source anew: do not put off the changes of descriptors
///   that you share with others.
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
    /// What was put off: at most one change for each descriptor, until they are
    /// [staged](Self::stage).
    changes: Vec<Change>,
    /// By descriptor, where its change may be: see [`place`](Self::place).
    index: DescriptorIndex,
    /// Whether a number may have changed hands.
    reused: bool,
    refused: BTreeMap<Token, Refused>,
}

/// A source that the kernel would not watch as it is to be, and so does not watch at all.
#[derive(Debug)]
struct Refused {
    mode: Mode,
    error: io::Error,
    /// Whether it is to be reported.
    armed: bool,
}

/// A change that was put off: see [`Backend::change_and_wait`].
#[derive(Debug)]
pub struct Change {
    fd: RawSource,
    token: Token,
    old: Option<Watch>,
    new: Option<Watch>,
    /// Another source that the kernel has under this number, and is to forget before: it was
    /// unregistered since the last wait.
    before: Option<(Token, Watch)>,
    refusal: Option<io::Error>,
}

impl Change {
    /// The descriptor, which may have been closed meanwhile.
    #[must_use]
    pub fn fd(&self) -> RawSource {
        self.fd
    }

    /// Its token.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// What it has been watched for: `None` if it is to be registered.
    #[must_use]
    pub fn old_watch(&self) -> Option<Watch> {
        self.old
    }

    /// What it is to be watched for: `None` if it is to be unregistered.
    #[must_use]
    pub fn new_watch(&self) -> Option<Watch> {
        self.new
    }

    /// Whether the kernel need not hear of it.
    #[inline]
    fn changes_nothing(&self) -> bool {
        let rearms = |watch: Watch| matches!(watch.mode, Mode::OneShot | Mode::Edge);
        self.old == self.new && self.before.is_none() && !self.new.is_some_and(rearms)
    }

    /// Has the backend make this change by [`register`](Backend::register),
    /// [`modify`](Backend::modify) or [`unregister`](Backend::unregister), and keeps its answer.
    /// Returns whether it was made.
    pub fn make<B: Backend + ?Sized>(&mut self, backend: &mut B) -> bool {
        let Self { fd, token, .. } = *self;
        let answer = match (self.old, self.new) {
            (Some(old), Some(new)) => backend.modify(fd, token, old, new),
            (Some(old), None) => backend.unregister(fd, token, old),
            // SAFETY: the selector owns the file object of what is to be watched, which keeps
            // the descriptor open. If it was closed nevertheless, it is but a number that the
            // kernel refuses, or another file's, which is watched and not touched.
            (None, Some(new)) => backend.register(unsafe { super::borrow(fd) }, token, new),
            (None, None) => Ok(()),
        };
        match answer {
            Ok(()) => true,
            Err(error) => {
                self.refusal = Some(error);
                false
            }
        }
    }
}

impl<B> Deferred<B> {
    /// Puts off the changes of `backend`.
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
            reused: false,
            refused: BTreeMap::new(),
        }
    }

    /// The backend whose changes are put off.
    #[must_use]
    pub fn inner(&self) -> &B {
        &self.backend
    }

    /// Why the kernel would not watch a source as it is to be, since the last `select` that
    /// tried.
    #[must_use]
    pub fn refusal(&self, token: Token) -> Option<&io::Error> {
        self.refused.get(&token).map(|refused| &refused.error)
    }

    /// Notes that the source `token` is to be watched as `new`, which the kernel has as `old` if
    /// nothing was put off for it.
    #[inline]
    fn put_off(&mut self, fd: RawSource, token: Token, old: Option<Watch>, new: Option<Watch>) {
        if let Some(place) = self.place(fd) {
            return self.put_off_more(place, token, new);
        }
        let old = old.filter(|_| self.refused.is_empty() || self.refused.remove(&token).is_none());
        let change = Change { fd, token, old, new, before: None, refusal: None };
        if !change.changes_nothing() {
            self.index.insert(fd, self.changes.len());
            self.changes.push(change);
        }
    }

    /// The same for a descriptor that has a change.
    fn put_off_more(&mut self, place: usize, token: Token, new: Option<Watch>) {
        let change = &mut self.changes[place];
        if change.token != token {
            // The one that it was for is gone, and its number has come back.
            change.before = change.old.take().map(|old| (change.token, old));
            change.token = token;
            self.reused = true;
        }
        change.new = new;
        if change.old.is_none() && new.is_none() {
            // The kernel has never heard of this one. Of the one before it has.
            if let Some((token, old)) = change.before.take() {
                change.token = token;
                change.old = Some(old);
            }
        }
        if change.changes_nothing() {
            self.changes.swap_remove(place);
            if let Some(moved) = self.changes.get(place) {
                self.index.insert(moved.fd, place);
            }
        }
    }

    /// Where the change of a descriptor is. What the index says of one that has none is out of
    /// date: it is cheaper to look than to keep the index clean.
    #[inline]
    fn place(&self, fd: RawSource) -> Option<usize> {
        self.index.get(fd).filter(|&place| self.changes.get(place).is_some_and(|it| it.fd == fd))
    }

    /// Makes a change of its own of every source that is to be forgotten before another.
    fn stage(&mut self) {
        if !std::mem::take(&mut self.reused) {
            return;
        }
        for mut change in std::mem::take(&mut self.changes) {
            let fd = change.fd;
            if let Some((token, old)) = change.before.take() {
                let old = Some(old);
                self.changes.push(Change {
                    fd,
                    token,
                    old,
                    new: None,
                    before: None,
                    refusal: None,
                });
            }
            self.changes.push(change);
        }
    }

    /// Appends an ERROR for every refused source that is to be told of. What the events from
    /// `first` on say of one is not told: the kernel watches it still, because a duplicate of its
    /// descriptor lives on, and is to start over.
    #[cold]
    fn report(&mut self, events: &mut Events, first: usize) {
        for event in &mut events.list[first..] {
            if self.refused.contains_key(&event.token()) {
                *event = Event::new(UNNAMED, event.readiness());
            }
        }
        for (&token, refused) in self.refused.iter_mut().filter(|(_, refused)| refused.armed) {
            events.push(Event::new(token, Readiness::ERROR));
            refused.armed = !matches!(refused.mode, Mode::OneShot | Mode::Edge);
        }
    }
}

impl<B: Backend> Deferred<B> {
    /// Forgets the changes, which were tried, takes note of what was refused, and says whether
    /// anything was.
    fn finish(&mut self) -> io::Result<bool> {
        let mut any = false;
        let mut result = Ok(());
        for change in self.changes.drain(..) {
            let Some(error) = change.refusal else { continue };
            any = true;
            let Some(Watch { mode, .. }) = change.new else {
                // It has gone for the user: its token names nothing any more, so whatever the
                // kernel still says of it is dropped. There is nothing else to be done.
                result = result.and(Err(error));
                continue;
            };
            if let Some(old) = change.old {
                // Or what it was watched for would end every wait, and nobody could be told.
                let _ = self.backend.unregister(change.fd, change.token, old);
            }
            self.refused.insert(change.token, Refused { mode, error, armed: true });
        }
        result.map(|()| any)
    }

    /// Makes the changes that were put off.
    fn flush(&mut self) -> io::Result<()> {
        self.stage();
        for change in &mut self.changes {
            change.make(&mut self.backend);
        }
        self.finish().map(drop)
    }

    /// Waits where sources were refused, or may be.
    fn wait_and_report(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let first = events.len();
        let news = self.refused.values().any(|refused| refused.armed);
        let timeout = if news { Some(Duration::ZERO) } else { timeout };
        self.stage();
        let waited = self.backend.change_and_wait(&mut self.changes, events, timeout);
        if self.finish()? {
            self.backend.wait(events, Some(Duration::ZERO))?;
        } else {
            waited?;
        }
        if !self.refused.is_empty() {
            self.report(events, first);
        }
        Ok(())
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
        // Who asks for a waker wants to know at once whether there is one. Its number may be one
        // that is still to be unregistered, which must not come after this.
        if token == Token::WAKER {
            self.flush()?;
            return self.backend.register(source, token, watch);
        }
        self.put_off(super::raw(source), token, None, Some(watch));
        Ok(())
    }

    #[inline]
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.put_off(fd, token, Some(old), Some(new));
        Ok(())
    }

    #[inline]
    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.put_off(fd, token, Some(watch), None);
        Ok(())
    }

    #[inline]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        if self.changes.is_empty() && self.refused.is_empty() {
            return self.backend.wait(events, timeout);
        }
        self.wait_and_report(events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.backend.descriptor()
    }

    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        self.backend.waker(token)
    }

    fn now(&self) -> Instant {
        self.backend.now()
    }

    fn rebuild(&mut self, sources: &[Registered]) -> io::Result<()> {
        let watched = |source: &&Registered| !self.refused.contains_key(&source.token);
        let sources: Vec<_> = sources.iter().filter(watched).copied().collect();
        self.backend.rebuild(&sources)
    }
}
