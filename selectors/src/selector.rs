//! The selector: register, modify, unregister, select.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

mod wait;

use crate::backend::{
    self, AsSource, Backend, BorrowedSource, Capabilities, Changer, DefaultBackend, RawSource,
    Registered, check_open, fork, generation, is_lost, register_raw,
};
use crate::checks::{EVERYWHERE, admit, check};
use crate::ghosts::Ghosts;
use crate::registry::{Registry, State};
use crate::spin::Spin;
use crate::sync::{Mutex, lock};
use crate::wait::{NOW, Pace, Wait};
use crate::waker::Wake;
use crate::{Error, Event, Events, Interest, Mode, RegisterError, Result, Token, Waker, Watch};

/// Waits for readiness on many sources and owns them while they are registered.
///
/// Construct one with `DefaultSelector::new()`, which uses the best backend of the platform. The
/// other aliases name a backend: `EpollSelector`, `KqueueSelector`, `DevpollSelector`,
/// `PollSelector`, [`SelectSelector`](crate::SelectSelector), and
/// [`AnySelector`](crate::AnySelector), which chooses one at run time.
///
/// A *source* is a *file object* of type `F` (a type with a descriptor) with *data* of type `T`. `B` is
/// the backend; code for all of them is generic over `B: Backend`, the counterpart of Python's
/// `BaseSelector`.
///
/// Since the selector owns each file object from [`register`](Self::register) to
/// [`unregister`](Self::unregister), a watched descriptor cannot be closed by accident. `F` can
/// be any type that implements `AsFd` (on Windows `AsSocket`): a `TcpStream`, an `OwnedFd`, an enum of
/// your own, `Box<dyn AsFd>`, `Arc<TcpStream>`, `&TcpStream`, `BorrowedFd`. A borrowed file object
/// cannot be dropped while it is registered:
///
/// ```compile_fail,E0505
/// use selectors::{DefaultSelector, Interest};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// selector.register(&ours, Interest::READ, ())?;
/// drop(ours);
/// selector.select(None)?;
/// # Ok(())
/// # }
/// ```
///
/// # Portability
///
/// | system | `DefaultSelector` | other backends |
/// |---|---|---|
/// | Linux, Android | epoll(7) | poll(2), select(2) |
/// | FreeBSD, NetBSD, OpenBSD, DragonFly, macOS, iOS | kqueue(2) | poll(2), select(2) |
/// | illumos, Solaris | /dev/poll, poll(4D) | poll(2), select(3C) |
/// | Windows (sockets only) | Winsock's select | |
///
/// On Windows `F` is any `AsSocket` type; the standard library does not implement `AsSocket` for
/// `Box<dyn AsSocket>`. Descriptors are socket handles, and there are no signals.
///
/// # After fork(2)
///
/// A child of fork(2) cannot use an inherited selector: every call returns [`Error::Forked`], and
/// dropping or [closing](Self::close) it does not affect the parent.
/// [`after_fork`](Self::after_fork) creates a kernel object for the child. The library detects forks
/// through pthread_atfork(3), whose handlers a raw clone(2) does not run.
///
/// # Implementation notes
///
/// `select` makes one system call. With a timeout, on backends whose waits do not slow down with idle
/// sources, it first polls without blocking, so that a wait that need not block arms no timer; one
/// that blocks makes two calls. A `modify` that changes nothing makes none. Looking up a token is an
/// index into a slab. [`select_into`](Self::select_into), [`modify`](Self::modify) and
/// [`unregister`](Self::unregister) allocate only what a buffer still has to grow: once each is as large
/// as the sources and their events need, nothing.
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// let token = selector.register(ours, Interest::READ, "greetings")?;
/// theirs.write_all(b"hello")?;
/// for event in selector.select(None)? {
///     let Some(key) = selector.get_mut(event.token()) else { continue };
///     let mut buffer = [0; 16];
///     assert_eq!(key.fileobj.read(&mut buffer)?, 5);
///     assert_eq!(*key.data, "greetings");
/// }
/// let (_ours, label) = selector.unregister(token)?;
/// assert_eq!(label, "greetings");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[doc(alias("BaseSelector", "Poll", "Poller"))]
pub struct Selector<F, T = (), B = DefaultBackend> {
    // Dropped first, so that the kernel releases all sources at once before they are closed.
    backend: B,
    capabilities: Capabilities,
    pub(crate) registry: Registry<F, T>,
    /// The list of the last `select` that found nothing, for the next one.
    room: Vec<Event>,
    wake: Mutex<Option<Wake>>,
    pace: Pace,
    /// The generation of the process that the selector belongs to: see [`fork::generation`].
    generation: AtomicU32,
}

impl<F, T, B: Backend> Selector<F, T, B> {
    /// Creates a selector over an existing backend, for example one of your own.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::Poll;
    /// use selectors::Selector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: Selector<TcpStream, (), Poll> = Selector::with_backend(Poll::new()?);
    /// assert_eq!(selector.len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[must_use]
    pub fn with_backend(backend: B) -> Self {
        let capabilities = backend.capabilities();
        Self {
            capabilities,
            backend,
            registry: Registry::new(),
            room: Vec::new(),
            wake: Mutex::new(None),
            pace: Pace::default(),
            generation: AtomicU32::new(fork::watch()),
        }
    }

    #[inline]
    pub(crate) fn open(new: impl FnOnce() -> io::Result<B>) -> Result<Self> {
        let backend = new().map_err(|error| Error::os("create a selector", None, error))?;
        Ok(Self::with_backend(backend))
    }

    /// Fails in a forked child that has not called `after_fork`.
    #[inline]
    pub(crate) fn check_fork(&self) -> Result<()> {
        check_ours(self.generation.load(Ordering::Relaxed))
    }

    /// Registers `fileobj` with `interest`, level-triggered. The selector owns it and `data` until it
    /// is unregistered. Python's `register(fileobj, events, data)`.
    ///
    /// The returned token identifies the source. With an empty interest the source is *parked*:
    /// registered but not watched, until [`modify`](Self::modify) gives it another interest.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`], which contains the file object and the data, and one of
    /// [`Error::InvalidInterest`], [`Error::AlreadyRegistered`] (also through another file
    /// object with the same descriptor), [`Error::Unsupported`],
    /// [`Error::DescriptorOutOfRange`], [`Error::Forked`], and [`Error::Os`]: EBADF for a
    /// descriptor that is not open or was opened with `O_PATH` (on Windows WSAENOTSOCK for one that is
    /// not a socket), ENOSPC if Linux's `fs.epoll.max_user_watches` is exhausted, or another error of
    /// the kernel. The selector is then unchanged.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// let mut selector = DefaultSelector::new()?;
    /// let token = selector.register(listener, Interest::READ, "front door")?;
    /// assert!(selector.contains(token));
    /// # Ok(())
    /// # }
    /// ```
    pub fn register(
        &mut self,
        fileobj: F,
        interest: Interest,
        data: T,
    ) -> Result<Token, RegisterError<F, T>>
    where
        F: AsSource,
    {
        self.register_with(fileobj, interest, data, Mode::Level)
    }

    /// Registers a source in a given [`Mode`]; otherwise as [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// Those of [`register`](Self::register); [`Error::Unsupported`] if the backend does not support
    /// the mode.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest, Mode};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// let token = selector.register_with(ours, Interest::READ, (), Mode::OneShot)?;
    /// assert_eq!(selector.get(token).unwrap().mode, Mode::OneShot);
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_with(
        &mut self,
        fileobj: F,
        interest: Interest,
        data: T,
        mode: Mode,
    ) -> Result<Token, RegisterError<F, T>>
    where
        F: AsSource,
    {
        let watch = Watch::new(interest, mode);
        let token = self.registry.next_token();
        // Called once: a file object may return another descriptor at the next call.
        let source = backend::source(&fileobj);
        let fd = backend::raw(source);
        match self.watch(source, fd, token, watch) {
            Ok(()) => {
                self.registry.insert(token, fd, watch, fileobj, data);
                Ok(token)
            }
            Err(error) => Err(RegisterError { error, fileobj, data }),
        }
    }

    /// Checks `source`, whose number is `fd`, and registers it with the backend.
    fn watch(
        &mut self,
        source: BorrowedSource<'_>,
        fd: RawSource,
        token: Token,
        watch: Watch,
    ) -> Result<()> {
        if *self.generation.get_mut() != fork::generation() {
            self.check_fork()?;
            self.reserve_wake();
        }
        let taken = |fd| self.registry.taken(fd);
        admit(&self.capabilities, fd, watch, taken, |fd| self.backend.owns(fd))?;
        let failed = |error| Error::os("register", fd, error);
        if watch.interest.is_empty() {
            // The backend does not see a parked source, so check here whether it could be watched.
            return check_open(source).map_err(failed);
        }
        self.backend.register(source, token, watch).map_err(failed)
    }

    /// Changes the interest of a registered source; takes effect at the next `select`. Python's
    /// `modify(fileobj, events)`; the data is changed through [`get_mut`](Self::get_mut).
    ///
    /// A no-op if the interest is unchanged, except that it rearms a fired one-shot source. An
    /// empty interest parks the source: it is not reported, not even for a hang-up or an error, until
    /// the next `modify`. Use this to stop reading for a while.
    ///
    /// # Errors
    ///
    /// [`Error::NotRegistered`], [`Error::InvalidInterest`], [`Error::Unsupported`],
    /// [`Error::Forked`], or [`Error::Os`] with the error of the kernel. The source is then watched as
    /// before.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// let token = selector.register(ours, Interest::READ, ())?;
    /// selector.modify(token, Interest::READ | Interest::WRITE)?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn modify(&mut self, token: Token, interest: Interest) -> Result<()> {
        self.change(token, interest, None)
    }

    /// Changes interest and [`Mode`]; otherwise as [`modify`](Self::modify).
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`Error::Unsupported`] if the backend does not support the
    /// mode.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest, Mode};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// let token = selector.register(ours, Interest::WRITE, ())?;
    /// selector.modify_with(token, Interest::WRITE, Mode::OneShot)?;
    /// assert_eq!(selector.get(token).unwrap().mode, Mode::OneShot);
    /// # Ok(())
    /// # }
    /// ```
    pub fn modify_with(&mut self, token: Token, interest: Interest, mode: Mode) -> Result<()> {
        let changed = self.change(token, interest, Some(mode));
        if let (Err(Error::Os { .. }), Mode::Exclusive) = (&changed, mode) {
            self.silence_fired(token);
        }
        changed
    }

    /// Rearms an edge-triggered source, or a one-shot source that has fired: the next `select` reports
    /// it if it is still ready. The interest does not change. A no-op for other sources.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest, Mode};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// let token = selector.register_with(ours, Interest::WRITE, (), Mode::OneShot)?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// selector.rearm(token)?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("EPOLL_CTL_MOD", "reregister"))]
    pub fn rearm(&mut self, token: Token) -> Result<()> {
        self.check_fork()?;
        let entry = self.registry.get(token).ok_or(Error::NotRegistered { token })?;
        let (fd, watch) = (entry.fd, entry.watch());
        match (entry.state, watch.mode) {
            (State::Armed, Mode::Edge) => {
                let rearmed = self.backend.modify(fd, token, watch, watch);
                rearmed.map_err(|error| Error::os("modify", fd, error))
            }
            (State::Fired, _) => self.modify(token, watch.interest),
            // Not parked: a one-shot source that fired before the kernel object was recreated.
            (State::Unwatched, _) if !watch.interest.is_empty() => {
                self.modify(token, watch.interest)
            }
            _ => Ok(()),
        }
    }

    /// Changes the interest, and the mode if one is given.
    #[expect(clippy::inline_always, reason = "whether there is a mode is known at every call")]
    #[inline(always)]
    fn change(&mut self, token: Token, interest: Interest, mode: Option<Mode>) -> Result<()> {
        check_ours(*self.generation.get_mut())?;
        let entry = self.registry.get(token).ok_or(Error::NotRegistered { token })?;
        let (fd, state, old) = (entry.fd, entry.state, entry.watch());
        let new = Watch::new(interest, mode.unwrap_or(old.mode));
        if new == old && state == State::Armed {
            return Ok(());
        }
        // The mode that the source has is supported.
        if mode.is_some() || !EVERYWHERE.contains(interest) {
            check(&self.capabilities, fd, new)?;
        }
        let (entry, usual) = self.registry.get_both(token);
        let changed = if state == State::Unwatched || new.interest.is_empty() {
            park(&mut self.backend, fd, token, (state, old), new)
        } else {
            self.backend.modify(fd, token, old, new)
        };
        changed.map_err(|error| Error::os("modify", entry.fd, error))?;
        *usual = entry.set_watch(interest, mode);
        Ok(())
    }

    /// A refused change to exclusive mode is undone by adding the source again, which also arms a
    /// one-shot source that has fired. Such a source is removed from the backend.
    #[cold]
    fn silence_fired(&mut self, token: Token) {
        let Some(entry) = self.registry.get_mut(token) else { return };
        let (fd, watch) = (entry.fd, entry.watch());
        if entry.state == State::Fired && self.backend.unregister(fd, token, watch).is_ok() {
            entry.state = State::Unwatched;
        }
    }

    /// Unregisters a source and returns its file object and data. Python's `unregister(fileobj)`.
    ///
    /// If a `select` has already returned an event of the source, its token no longer finds a key.
    ///
    /// # Errors
    ///
    /// [`Error::NotRegistered`], also for a token that was unregistered before; [`Error::Forked`].
    /// [`Error::Os`] if the kernel refuses, which is not known to happen; the source then stays
    /// registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// let token = selector.register(ours, Interest::READ, 17)?;
    /// let (_ours, data) = selector.unregister(token)?;
    /// assert_eq!(data, 17);
    /// # Ok(())
    /// # }
    /// ```
    pub fn unregister(&mut self, token: Token) -> Result<(F, T)> {
        self.check_fork()?;
        let entry = self.registry.get(token).ok_or(Error::NotRegistered { token })?;
        if entry.state != State::Unwatched {
            let (fd, watch) = (entry.fd, entry.watch());
            let unregistered = self.backend.unregister(fd, token, watch);
            unregistered.map_err(|error| Error::os("unregister", fd, error))?;
        }
        Ok(self.registry.remove(token))
    }

    /// Waits until a source is ready or the timeout expires, and returns a new list of events.
    /// Python's `select(timeout)`.
    ///
    /// `None` waits without limit; `Duration::ZERO` does not block. Without any registered source it
    /// waits for the timeout. Blocks the calling thread only. Every ready source is reported, once,
    /// however many there are.
    ///
    /// The list is empty if the timeout has expired on the monotonic clock, which on Linux stops while
    /// the machine is suspended. It is also empty if nothing but a [`Waker`] or, if enabled, a signal has
    /// ended the wait: see [`Events::woken`] and [`Events::interrupted`]. Otherwise a wait resumes after
    /// a signal, with the remaining time (PEP 475).
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with the error of the kernel, in practice only out-of-memory;
    /// [`Error::Forked`].
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::READ, ())?;
    /// assert!(selector.select(Some(Duration::from_millis(1)))?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn select(&mut self, timeout: Option<Duration>) -> Result<Events> {
        let mut events = Events::new();
        events.list = mem::take(&mut self.room);
        let waited = self.select_into(&mut events, timeout);
        if events.list.is_empty() {
            self.room = mem::take(&mut events.list);
        }
        waited.map(|()| events)
    }

    /// Waits until a source is ready or a deadline has passed; otherwise as
    /// [`select`](Self::select). `None` waits without limit; a deadline in the past does not block.
    ///
    /// After an early return, for example because of a waker or a signal, call it again with the same
    /// deadline.
    ///
    /// # Errors
    ///
    /// Those of [`select`](Self::select).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// let next_timer = Instant::now() + Duration::from_millis(5);
    /// assert!(selector.select_until(Some(next_timer))?.is_empty());
    /// assert!(Instant::now() >= next_timer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn select_until(&mut self, deadline: Option<Instant>) -> Result<Events> {
        self.select(self.left_until(deadline))
    }

    /// Waits until a deadline, as [`select_until`](Self::select_until), into an existing list, as
    /// [`select_into`](Self::select_into).
    ///
    /// # Errors
    ///
    /// Those of [`select`](Self::select); the list is then empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Events};
    /// use std::net::TcpStream;
    /// use std::time::Instant;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// let mut events = Events::new();
    /// selector.select_into_until(&mut events, Some(Instant::now()))?;
    /// assert!(events.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn select_into_until(
        &mut self,
        events: &mut Events,
        deadline: Option<Instant>,
    ) -> Result<()> {
        self.select_into(events, self.left_until(deadline))
    }

    fn left_until(&self, deadline: Option<Instant>) -> Option<Duration> {
        deadline.map(|deadline| deadline.saturating_duration_since(self.backend.now()))
    }

    /// Waits as [`select`](Self::select), but replaces the contents of an existing list, which
    /// allocates nothing once the list and the buffers of the backend are large enough.
    ///
    /// # Errors
    ///
    /// Those of [`select`](Self::select); the list is then empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Events, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::WRITE, ())?;
    /// let mut events = Events::with_capacity(1024);
    /// for _round in 0..3 {
    ///     selector.select_into(&mut events, None)?;
    ///     assert_eq!(events.len(), 1);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn select_into(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<()> {
        events.clear();
        if *self.generation.get_mut() != fork::generation() {
            self.catch_up()?;
        }
        // A call for each timeout that is known at compile time keeps fewer registers alive.
        match timeout {
            NOW => self.wait_once(events, NOW).map(drop),
            None if self.pace.spin.is_none() && self.wait_once(events, None)? => Ok(()),
            _ => self.wait_on(events, timeout),
        }
    }

    /// Creates a kernel object for a selector that this process inherited through fork(2), with every
    /// source watched as before. A no-op in a process that did not inherit the selector.
    ///
    /// Inherited wakers belong to the parent and return [`Error::Forked`]; create a new one with
    /// [`waker`](Self::waker). Edge-triggered sources that are ready are reported once more. A source
    /// whose descriptor was closed in the child stays registered and is not watched. Of two nested
    /// selectors call it on the inner one first, because the outer one watches the descriptor of the
    /// inner one.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if creating the kernel object or watching a source failed;
    /// [`Error::Unsupported`] if the backend does not support it. No source is lost, and it can be
    /// called again.
    ///
    /// # Portability
    ///
    /// The descriptor of an `EpollSelector` keeps its number. That of a `KqueueSelector` and of a
    /// `DevpollSelector` changes.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpListener> = DefaultSelector::new()?;
    /// // fork(2), and in the child:
    /// selector.after_fork()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn after_fork(&mut self) -> Result<()> {
        let generation = fork::watch();
        if self.check_fork().is_ok() {
            return Ok(());
        }
        // Before a descriptor is opened, which may get the number of a closed source.
        self.registry.forget_lost(|fd| is_lost(&self.backend, fd));
        self.backend.after_fork().map_err(Error::after_fork)?;
        self.wake = Mutex::new(None);
        self.registry.reserve(None);
        self.pace.ghosts = Ghosts::default();
        self.registry.forget_fired();
        for Registered { fd, token, watch } in self.registry.armed() {
            let registered = register_raw(&mut self.backend, fd, token, watch);
            registered.map_err(|error| Error::os("register", fd, error))?;
        }
        *self.generation.get_mut() = generation;
        Ok(())
    }

    /// Returns a waker, with which other threads can end a wait. Every call returns a clone of the same
    /// waker.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the backend cannot be woken; [`Error::Os`] or
    /// [`Error::DescriptorOutOfRange`] if there are too many open files; [`Error::Forked`].
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// let waker = selector.waker()?;
    /// waker.wake()?;
    /// waker.wake()?; // merged with the first
    /// assert!(selector.select(None)?.woken());
    /// # Ok(())
    /// # }
    /// ```
    pub fn waker(&self) -> Result<Waker> {
        self.check_fork()?;
        let mut known = lock(&self.wake);
        if let Some(wake) = &*known {
            return Ok(wake.waker());
        }
        let taken = |fd| self.registry.token_of(fd).is_some();
        let mut wake = Wake::new(&self.backend, self.capabilities, taken)?;
        // At once if possible: the selector may be registered with another.
        wake.attach(|channel, watch| match self.backend.changer() {
            Ok(Some(mut changer)) => changer.register(channel, Token::WAKER, watch),
            // The backend has no changer, or there is no free descriptor for it.
            Ok(None) | Err(_) => Ok(false),
        })?;
        if wake.number().is_some() {
            // The next wait attaches it.
            let other = generation::other(fork::generation());
            self.generation.store(other, Ordering::Relaxed);
        }
        Ok(known.insert(wake).waker())
    }

    /// Sets whether a signal ends a wait. Disabled by default: a wait resumes with the remaining time.
    ///
    /// If enabled, a wait returns early when a signal handler has run during it, with
    /// [`Events::interrupted`] true and any ready sources in the list. On Linux a wait over epoll also
    /// returns when the process was stopped and continued (SIGSTOP, SIGCONT; see signal(7)). A signal
    /// that arrives before the wait begins does not end it. Where that matters, call [`Waker::wake`]
    /// in the signal handler.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// selector.set_interruptible(true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_interruptible(&mut self, interruptible: bool) {
        self.pace.interruptible = interruptible;
    }

    /// Sets how long a wait busy-polls before it blocks. Zero by default.
    ///
    /// Blocking and being woken take several microseconds. Spinning saves them if replies arrive
    /// sooner, as between two threads on two cores or on a fast network. It keeps a core busy
    /// meanwhile, and costs energy. If nothing arrived in time, or another thread ran on the core,
    /// the next waits block at once: at least 64, and up to 1024 if that keeps happening, for each
    /// `duration` that was lost, and all for at least sixteen times as long as the spin took. The
    /// first waits block at once as well, for four times `duration`, but at most a tenth of a second.
    /// Spinning therefore costs little where it does not help. It counts towards the timeout and
    /// ends with it. A signal during a spin may not end the wait, as if it had arrived before, even
    /// if waits are interruptible.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use std::{thread, time::Duration};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::READ, ())?;
    /// selector.set_spin(Duration::from_micros(50));
    /// let peer = thread::spawn(move || theirs.write_all(b"soon").map(|()| theirs));
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # peer.join().unwrap()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("busy_poll", "busy waiting"))]
    pub fn set_spin(&mut self, duration: Duration) {
        self.pace.spin = Spin::new(duration);
    }

    /// Returns the current time on the clock of the backend, with which deadlines are compared: the
    /// system's monotonic clock, or a virtual one, such as that of the scripted backend in
    /// `selectors-testkit`. Timers that use it can be tested without waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// let deadline = selector.now() + Duration::from_millis(1);
    /// assert!(selector.select_until(Some(deadline))?.is_empty());
    /// assert!(selector.now() >= deadline);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.backend.now()
    }

    /// Returns what the backend supports beyond what every backend must.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::PollSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: PollSelector<TcpStream> = PollSelector::new()?;
    /// assert!(!selector.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Returns a shared reference to the backend.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::Backend;
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// assert!(selector.backend().capabilities().waker);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    pub(crate) fn backend_mut(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Closes the selector and returns every file object, still open, and its data. Python's
    /// `close()`. Dropping a selector drops its file objects as well.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::READ, "data")?;
    /// let sources: Vec<(UnixStream, &str)> = selector.close();
    /// assert_eq!(sources.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "dropping the selector closes the file objects"]
    pub fn close(self) -> Vec<(F, T)> {
        let Self { backend, registry, .. } = self;
        drop(backend);
        registry.into_entries().map(|entry| (entry.fileobj, entry.data)).collect()
    }
}

/// Fails if this generation is not that of the process.
#[inline]
fn check_ours(generation: u32) -> Result<()> {
    if fork::is_ours(generation) { Ok(()) } else { Err(Error::Forked) }
}

/// Registers a source that was parked with the backend, or unregisters one that becomes parked.
#[cold]
fn park<B: Backend>(
    backend: &mut B,
    fd: RawSource,
    token: Token,
    (state, old): (State, Watch),
    new: Watch,
) -> io::Result<()> {
    match (state == State::Unwatched, new.interest.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => register_raw(backend, fd, token, new),
        (false, _) => backend.unregister(fd, token, old),
    }
}
