//! The selector: register, modify, unregister, select, get.

use std::io;
use std::thread;
use std::time::Duration;

use crate::backend::{
    self, AsSource, Backend, BorrowedSource, Capabilities, DefaultBackend, RawSource, is_plausible,
};
use crate::registry::{Entry, Registry};
use crate::timeout::Deadline;
use crate::waker::Wake;
use crate::{
    Error, Events, Interest, Mode, RegisterError, Result, SelectorKey, SelectorKeyMut, Token,
    Waker, Watch,
};

/// Waits until one of many sources is ready, and owns them meanwhile.
///
/// `F` is the file object that is watched, `T` the data that goes with it, `B` the backend. The
/// aliases name the backend: [`DefaultSelector`](crate::DefaultSelector), `EpollSelector`,
/// `KqueueSelector`, `DevpollSelector`, `PollSelector`, [`SelectSelector`](crate::SelectSelector),
/// [`AnySelector`](crate::AnySelector). Code that serves them all is generic over `B: Backend`,
/// the counterpart of Python's `BaseSelector`.
///
/// Since the selector owns each file object from [`register`](Self::register) to
/// [`unregister`](Self::unregister), a watched descriptor cannot be closed by accident. `F` can
/// be anything with a descriptor (`AsFd`; on Windows `AsSocket`): a `TcpStream`, an `OwnedFd`,
/// an enum of your own, `Box<dyn AsFd>`, `Arc<TcpStream>`, `&TcpStream`, `BorrowedFd`. What is
/// borrowed cannot be dropped while it is registered:
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
/// | system | `DefaultSelector` | beside it |
/// |---|---|---|
/// | Linux, Android | epoll(7) | poll(2), select(2) |
/// | FreeBSD, NetBSD, OpenBSD, DragonFly, macOS, iOS | kqueue(2) | poll(2), select(2) |
/// | illumos, Solaris | /dev/poll, poll(4D) | poll(2), select(3C) |
/// | Windows, for sockets | Winsock's select | |
///
/// On Windows `F` is anything with a socket, which `Box<dyn AsSocket>` is not for the standard
/// library; descriptors are the numbers of sockets; and there are no signals.
///
/// # Implementation notes
///
/// One system call for each `select`, but two for one with a timeout that finds nothing ready
/// at once where waits are cheap: looking first spares the kernel the timer when something is.
/// None for a `modify` that changes nothing. Looking a token up is an index into a slab.
/// [`select_into`](Self::select_into), [`modify`](Self::modify) and
/// [`unregister`](Self::unregister) allocate nothing.
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
    // Dropped first: the kernel forgets all sources at once before they are closed one by one.
    backend: B,
    capabilities: Capabilities,
    registry: Registry<F, T>,
    wake: Option<Wake>,
    interruptible: bool,
    /// For how long to look without blocking before blocking.
    spin: Duration,
}

impl<F, T, B: Backend> Selector<F, T, B> {
    /// A selector over a backend of your own, or one made by hand.
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
    #[must_use]
    pub fn with_backend(backend: B) -> Self {
        Self {
            capabilities: backend.capabilities(),
            backend,
            registry: Registry::new(),
            wake: None,
            interruptible: false,
            spin: Duration::ZERO,
        }
    }

    pub(crate) fn open(new: impl FnOnce() -> io::Result<B>) -> Result<Self> {
        let backend = new().map_err(|error| Error::os("make a selector", None, error))?;
        Ok(Self::with_backend(backend))
    }

    /// Watches `fileobj` for `interest`, level-triggered, and keeps it and `data` until it is
    /// unregistered. Python's `register(fileobj, events, data)`.
    ///
    /// The token names the source from now on.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] with the file object and the data in it, and as its reason
    /// [`Error::InvalidInterest`], [`Error::AlreadyRegistered`] (also through another file
    /// object with the same descriptor), [`Error::Unsupported`],
    /// [`Error::DescriptorOutOfRange`], or [`Error::Os`]: EBADF for a descriptor that is not
    /// open (on Windows WSAENOTSOCK for what is no socket), and what else the kernel refuses.
    /// Nothing has changed then.
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

    /// As [`register`](Self::register), in a [`Mode`] of your choice.
    ///
    /// # Errors
    ///
    /// Those of [`register`](Self::register); [`Error::Unsupported`] where the backend does not
    /// have the mode.
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
        // Asked once: an odd file object might change its answer.
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

    /// Makes the backend watch `source`, whose number is `fd`.
    fn watch(
        &mut self,
        source: BorrowedSource<'_>,
        fd: RawSource,
        token: Token,
        watch: Watch,
    ) -> Result<()> {
        check(&self.capabilities, fd, watch)?;
        let failed = |error| Error::os("register", fd, error);
        if !is_plausible(fd) {
            return Err(failed(backend::bad_source()));
        }
        if let Some(token) = self.registry.token_of(fd) {
            return Err(Error::AlreadyRegistered { fd, token });
        }
        if self.backend.descriptor().is_some_and(|own| backend::raw(own) == fd) {
            return Err(Error::Unsupported {
                feature: "a selector watching itself",
                fd: fd.into(),
            });
        }
        if let Some(limit) = self.capabilities.max_descriptor.filter(|&limit| fd > limit) {
            return Err(Error::DescriptorOutOfRange { fd, limit });
        }
        self.backend.register(source, token, watch).map_err(failed)
    }

    /// Watches for something else from the next `select` on. Python's
    /// `modify(fileobj, events)`; the data is changed through [`get_mut`](Self::get_mut).
    ///
    /// Makes no system call if nothing changes, but for one-shot sources that have fired, which
    /// it arms again.
    ///
    /// # Errors
    ///
    /// [`Error::NotRegistered`], [`Error::InvalidInterest`], [`Error::Unsupported`], or
    /// [`Error::Os`] with what the kernel answered. The source is then watched as before.
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
        self.change(token, |mode| Watch::new(interest, mode))
    }

    /// As [`modify`](Self::modify), changing the [`Mode`] too.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`Error::Unsupported`] where the backend does not
    /// have the mode.
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
        self.change(token, |_| Watch::new(interest, mode))
    }

    /// Watches a source for what `watch` makes of its mode.
    #[inline]
    fn change(&mut self, token: Token, watch: impl FnOnce(Mode) -> Watch) -> Result<()> {
        let entry = self.registry.get_mut(token).ok_or(Error::NotRegistered { token })?;
        let (fd, old, new) = (entry.fd, entry.watch(), watch(entry.mode));
        if new == old && entry.armed {
            return Ok(());
        }
        check(&self.capabilities, fd, new)?;
        let modified = self.backend.modify(fd, token, old, new);
        modified.map_err(|error| Error::os("modify", fd, error))?;
        entry.set_watch(new);
        self.registry.set_plain(token, new);
        Ok(())
    }

    /// Stops watching a source and gives its file object and data back. Python's
    /// `unregister(fileobj)`.
    ///
    /// Events of it that a `select` has already returned resolve to no key from now on.
    ///
    /// # Errors
    ///
    /// [`Error::NotRegistered`], also for a token that was unregistered before. [`Error::Os`]
    /// if the kernel refuses, which is not known to happen; the source then stays registered.
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
        let gone = Error::NotRegistered { token };
        let Some(entry) = self.registry.get(token) else { return Err(gone) };
        let (fd, watch) = (entry.fd, entry.watch());
        let unregistered = self.backend.unregister(fd, token, watch);
        unregistered.map_err(|error| Error::os("unregister", fd, error))?;
        self.registry.remove(token).map(|entry| (entry.fileobj, entry.data)).ok_or(gone)
    }

    /// Waits until a source is ready or the timeout has passed, and returns a new list of what
    /// is ready. Python's `select(timeout)`.
    ///
    /// `None` waits without limit and `Duration::ZERO` not at all. With no source registered
    /// the timeout holds all the same. Blocks the thread, and no other.
    ///
    /// The list is empty when the timeout has passed, never before on the monotonic clock,
    /// except after a [`Waker`] or, on request, a signal: [`Events::woken`],
    /// [`Events::interrupted`]. Signals otherwise end nothing: the wait goes on with the time
    /// that is left (PEP 475).
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with what the kernel answered: want of memory, and little else.
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
        let mut events = Events::with_capacity(Events::LEAST_ROOM);
        self.select_into(&mut events, timeout)?;
        Ok(events)
    }

    /// As [`select`](Self::select), into a list that you keep: what it held is replaced, its
    /// room is used again, and nothing is allocated once it is large enough.
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
        const NOW: Option<Duration> = Some(Duration::ZERO);
        events.clear();
        let spins = !self.spin.is_zero();
        if timeout.is_none() && !spins {
            if self.wait_once(events, None)? {
                return Ok(());
            }
        } else if timeout == NOW || spins || self.capabilities.constant_wait {
            // Looking first, where that is cheap, spares the kernel a timer and us the clock.
            if self.wait_once(events, NOW)? || timeout == NOW {
                return Ok(());
            }
        }
        self.wait_on(events, timeout)
    }

    /// Looks for as long as the selector is to spin, and then waits.
    fn wait_on(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<()> {
        let mut now = self.backend.now();
        let deadline = timeout.map_or(Deadline::Never, |timeout| Deadline::after(timeout, now));
        if !self.spin.is_zero() {
            let spin = timeout.map_or(self.spin, |timeout| timeout.min(self.spin));
            let spin = Deadline::after(spin, now);
            while spin.remaining(|| now) != Some(Duration::ZERO) {
                // Whoever is to make a source ready may be waiting for this very core.
                thread::yield_now();
                if self.wait_once(events, Some(Duration::ZERO))? {
                    return Ok(());
                }
                now = self.backend.now();
            }
        }
        self.wait(events, deadline.remaining(|| now), deadline)
    }

    /// Waits, again and again, until there is something to tell or the deadline has passed.
    fn wait(
        &mut self,
        events: &mut Events,
        mut timeout: Option<Duration>,
        deadline: Deadline,
    ) -> Result<()> {
        while !self.wait_once(events, timeout)? {
            timeout = deadline.remaining(|| self.backend.now());
            if timeout == Some(Duration::ZERO) {
                break;
            }
        }
        Ok(())
    }

    /// Has the backend wait once, and says whether there is something to tell.
    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<bool> {
        if let Err(error) = self.backend.wait(events, timeout) {
            self.failed(events, error)?;
        }
        // Events of one source may have to become one, however plain each is.
        let merge = self.capabilities.separate_directions;
        let plain = if merge { 0 } else { self.registry.count_plain(&events.list) };
        if plain < events.len() {
            self.settle(events, plain)?;
        }
        Ok(events.has_news())
    }

    /// An interruption is no failure: it may be news, and otherwise the wait goes on.
    #[cold]
    fn failed(&self, events: &mut Events, error: io::Error) -> Result<()> {
        if error.kind() != io::ErrorKind::Interrupted {
            events.clear();
            return Err(Error::os("wait", None, error));
        }
        events.interrupted = self.interruptible;
        Ok(())
    }

    /// Makes of what the backend said what the user is told, but for the first events, which
    /// are plain.
    fn settle(&mut self, events: &mut Events, plain: usize) -> Result<()> {
        let merge = self.capabilities.separate_directions;
        let settled = self.registry.settle(events, plain, merge);
        if settled.woken {
            events.woken |= self.wake.as_mut().is_some_and(Wake::answered);
        }
        if settled.stale {
            self.rebuild(events)?;
        }
        Ok(())
    }

    /// Rids the kernel of what it watches beside the registered sources.
    #[cold]
    fn rebuild(&mut self, events: &mut Events) -> Result<()> {
        let mut sources = self.registry.registered();
        sources.extend(self.wake.as_mut().and_then(Wake::start_over));
        self.backend.rebuild(&sources).map_err(|error| {
            events.clear();
            Error::os("start over with", None, error)
        })
    }

    /// What is registered under a token, if anything still is. Costs an index and a
    /// comparison.
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
    /// let token = selector.register(ours, Interest::READ, "label")?;
    /// assert_eq!(selector.get(token).map(|key| *key.data), Some("label"));
    /// selector.unregister(token)?;
    /// assert!(selector.get(token).is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[must_use]
    pub fn get(&self, token: Token) -> Option<SelectorKey<'_, F, T>> {
        self.registry.get(token).map(key)
    }

    /// As [`get`](Self::get), with the file object and the data to change.
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
    /// let token = selector.register(ours, Interest::READ, Vec::new())?;
    /// if let Some(key) = selector.get_mut(token) {
    ///     key.data.push("changed without a system call");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, token: Token) -> Option<SelectorKeyMut<'_, F, T>> {
        let entry = self.registry.get_mut(token)?;
        Some(SelectorKeyMut {
            fileobj: &mut entry.fileobj,
            fd: entry.fd,
            events: entry.interest,
            mode: entry.mode,
            data: &mut entry.data,
        })
    }

    /// What is registered for the descriptor of `fileobj`, which may be any object that has
    /// it. Python's `get_key(fileobj)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(&ours, Interest::READ, "data")?;
    /// assert_eq!(selector.get_key(&ours).map(|key| *key.data), Some("data"));
    /// assert!(selector.get_key(&theirs).is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn get_key<S: AsSource + ?Sized>(&self, fileobj: &S) -> Option<SelectorKey<'_, F, T>> {
        self.token_of(fileobj).and_then(|token| self.get(token))
    }

    /// The token under which the descriptor of `fileobj` is registered, if it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// let token = selector.register(&ours, Interest::READ, ())?;
    /// assert_eq!(selector.token_of(&ours), Some(token));
    /// assert_eq!(selector.token_of(&theirs), None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token_of<S: AsSource + ?Sized>(&self, fileobj: &S) -> Option<Token> {
        self.registry.token_of(backend::raw(backend::source(fileobj)))
    }

    /// Whether a source is registered under this token.
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
    /// assert!(selector.contains(token));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn contains(&self, token: Token) -> bool {
        self.registry.get(token).is_some()
    }

    /// How many sources are registered. Wakers are none.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// let _waker = selector.waker()?;
    /// assert_eq!(selector.len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_map")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.registry.len()
    }

    /// Whether no source is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every source: its token and its key, in no particular order. Python's `get_map()`.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::READ, "ours")?;
    /// selector.register(theirs, Interest::WRITE, "theirs")?;
    /// let mut labels: Vec<_> = selector.iter().map(|(_token, key)| *key.data).collect();
    /// labels.sort();
    /// assert_eq!(labels, ["ours", "theirs"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_map")]
    pub fn iter(&self) -> impl Iterator<Item = (Token, SelectorKey<'_, F, T>)> {
        self.registry.iter().map(|(token, entry)| (token, key(entry)))
    }

    /// A waker, with which other threads can end a wait. All wakers of a selector are the same.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the backend cannot be woken; [`Error::Os`] when there are
    /// too many open files.
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
    /// waker.wake()?; // one wake for both
    /// assert!(selector.select(None)?.woken());
    /// # Ok(())
    /// # }
    /// ```
    pub fn waker(&mut self) -> Result<Waker> {
        if let Some(wake) = &self.wake {
            return Ok(wake.waker());
        }
        let taken = |fd| self.registry.token_of(fd).is_some();
        let wake = Wake::new(&mut self.backend, self.capabilities, taken)?;
        Ok(self.wake.insert(wake).waker())
    }

    /// Whether a signal ends a wait. Off at first: waits go on with the time that is left.
    ///
    /// When it is on, a wait during which a signal handler has run returns early, with
    /// [`Events::interrupted`] set and what was ready in the list. A signal that arrives before
    /// the wait begins is not noticed: a [`Waker`] is, and can be used from another thread.
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
        self.interruptible = interruptible;
    }

    /// For how long a wait looks again and again, without blocking, before it blocks. Not at
    /// all at first.
    ///
    /// Blocking and being woken cost several microseconds, which spinning saves where answers
    /// come sooner than that: between two threads on two cores, or on a fast network. The price
    /// is a core that is busy for this long in every wait that finds nothing, and energy. Other
    /// threads are let in between two looks, and may keep the core for as long as the system
    /// lets them. Spinning is part of
    /// the timeout and ends with it. A signal that is handled meanwhile may go unnoticed, as if
    /// it had arrived before, also where signals are to end waits.
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
        self.spin = duration;
    }

    /// What the backend can do beyond what every one must.
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

    /// The backend, to be looked at.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    pub(crate) fn backend_mut(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Closes the selector and hands every file object and its data back, still open. Python's
    /// `close()`. Dropping a selector closes them too.
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

fn key<F, T>(entry: &Entry<F, T>) -> SelectorKey<'_, F, T> {
    SelectorKey {
        fileobj: &entry.fileobj,
        fd: entry.fd,
        events: entry.interest,
        mode: entry.mode,
        data: &entry.data,
    }
}

/// Refuses what no backend is to hear of.
#[inline]
fn check(capabilities: &Capabilities, fd: RawSource, watch: Watch) -> Result<()> {
    let plain = Interest::READ | Interest::WRITE;
    let works_everywhere = !watch.interest.is_empty() && plain.contains(watch.interest);
    if works_everywhere && matches!(watch.mode, Mode::Level | Mode::OneShot) {
        return Ok(());
    }
    check_capabilities(capabilities, fd, watch)
}

#[cold]
fn check_capabilities(
    capabilities: &Capabilities,
    fd: RawSource,
    Watch { interest, mode }: Watch,
) -> Result<()> {
    if !interest.is_valid() {
        return Err(Error::InvalidInterest { fd, interest });
    }
    let priority = interest.contains(Interest::PRIORITY);
    let feature = match mode {
        Mode::Edge if !capabilities.edge => "edge-triggered mode",
        Mode::Exclusive if !capabilities.exclusive => "exclusive wake-up",
        Mode::Exclusive if priority => "PRIORITY with exclusive wake-up",
        _ if priority && !capabilities.priority => "PRIORITY",
        _ => return Ok(()),
    };
    Err(Error::Unsupported { feature, fd: fd.into() })
}
