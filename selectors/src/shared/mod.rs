//! A selector that other threads change while one waits.

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

mod core;
mod desk;
mod handles;
#[cfg(all(test, loom))]
mod models;
mod slots;
mod wait;

use self::core::{Core, DynBackend};
pub use self::handles::{Registrar, Source};
use self::slots::Chunks;
use crate::backend::{
    self, Backend, BorrowedSource, Capabilities, DefaultBackend, INHERITS_DESCRIPTORS, OwnedSource,
    RawSource,
};
use crate::ghosts::Ghosts;
use crate::spin::Spin;
use crate::wait::Pace;
use crate::waker::Wake;
use crate::{BackendKind, Error, Events, Result, Token, Waker};

/// A selector that other threads change while one waits.
///
/// The waiting thread has the selector. Other threads have a [`Registrar`], which registers sources,
/// and a [`Source`] for each of them, which owns the file object, changes its interest, and unregisters
/// it. A change is effective in the current wait when the method returns.
///
/// `T` is the data of each source, for the waiting thread: see [`get`](Self::get). The sources of one
/// selector may have file objects of different types.
///
/// # Selector or SharedSelector
///
/// - One thread does everything, or each has a selector of its own: [`Selector`](crate::Selector).
///   It needs no locks or atomics, and gives access to the file object by token.
/// - Other threads register, modify or unregister while one waits, as in the reactor of an async
///   runtime: `SharedSelector`. A change costs a lock and the system call, a wait two rarely contended
///   locks, and an event an atomic load (a one-shot event also a compare-and-swap).
/// - Other threads only send work to the waiting thread: [`Selector`](crate::Selector), its
///   [`Waker`], and a channel.
///
/// # What is promised
///
/// - A change is effective in the current wait when the call returns, and the caller gets the kernel's
///   error.
/// - A wait that begins after a source was unregistered does not report it. The current one may; the
///   token then finds the old data or nothing, never another source.
/// - The file object is not used after it was unregistered.
/// - No readiness is lost, however arming, firing, changing and unregistering interleave. A
///   one-shot source is reported at least once after it was armed and was ready, and at most once
///   for each time that it was armed; a report may be of a moment before it was armed again.
/// - One thread waits at a time. Other threads never wait for it to return, nor it for their system
///   calls, with the exceptions below.
///
/// # Portability
///
/// epoll(7) and kqueue(2) accept changes while another thread waits. With the other backends, and for
/// sources that these two track in user space (regular files; with kqueue also pipes and devices), the
/// changing thread wakes the waiting one, which makes the change between two system calls and wakes the
/// changing thread. A backend that cannot be woken is refused.
///
/// # Implementation notes
///
/// Events are filtered by one atomic word per source, in a slot that never moves. Slots are reused, and
/// the data of unregistered sources is dropped, when the next wait begins.
///
/// # Examples
///
/// ```
/// use selectors::{Interest, SharedSelector};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
/// use std::thread;
///
/// # fn main() -> std::io::Result<()> {
/// let mut selector = SharedSelector::new()?;
/// let registrar = selector.registrar();
/// let thread = thread::spawn(move || -> std::io::Result<_> {
///     let (ours, mut theirs) = UnixStream::pair()?;
///     let source = registrar.register(ours, Interest::READ, "from another thread")?;
///     theirs.write_all(b"hello")?;
///     Ok((source, theirs))
/// });
/// for event in selector.select(None)? {
///     assert_eq!(selector.get(event.token()), Some(&"from another thread"));
/// }
/// let (source, _theirs) = thread.join().unwrap()?;
/// let _ours: UnixStream = source.into_inner();
/// # Ok(())
/// # }
/// ```
#[doc(alias("Poll", "Poller", "Registry"))]
pub struct SharedSelector<T = ()> {
    core: Arc<Core<T>>,
    /// The data of each slot, after it was first looked up.
    data: Chunks<OnceCell<T>>,
    /// The waker with which changes interrupt the system call of the waiting thread.
    wake: Wake,
    /// The waker of users, which ends a `select`.
    user: Wake,
    /// A duplicate of the backend's descriptor, after it was first requested.
    front: OnceLock<OwnedSource>,
    /// Slots that become vacant.
    retired: Vec<u32>,
    /// Per slot, the position of its event in the list.
    places: Vec<u32>,
    pace: Pace,
    /// How many consecutive calls have ended early without an event.
    idle: u32,
}

/// The waker of changes, and the waker of users, which calls it.
fn wakes(backend: &mut DynBackend, taken: impl Fn(RawSource) -> bool) -> Result<(Wake, Wake)> {
    let capabilities = backend.capabilities();
    let mut wake = Wake::new(backend, capabilities, taken)?;
    wake.attach(|channel, watch| {
        backend.register(channel, Token::WAKER, watch)?;
        Ok(true)
    })?;
    let waker = wake.waker();
    let user = Wake::over(Box::new(move || Ok(waker.wake()?)));
    Ok((wake, user))
}

impl<T> SharedSelector<T> {
    /// Creates a selector over the best backend of this system.
    ///
    /// # Errors
    ///
    /// Those of [`DefaultSelector`](crate::DefaultSelector)'s `new`, and too many open files.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SharedSelector = SharedSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Self::with_boxed(DefaultBackend::new().map(|backend| Box::new(backend) as DynBackend))
    }

    /// Creates a selector over the backend of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if this system does not have it; those of [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{BackendKind, SharedSelector};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// for kind in BackendKind::available() {
    ///     let _selector: SharedSelector = SharedSelector::of_kind(kind)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_kind(kind: BackendKind) -> Result<Self> {
        Self::with_boxed(kind.open()?.map(|backend| backend as DynBackend))
    }

    /// Creates a selector over an existing backend, for example one of your own.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a backend that cannot be woken, and for one that
    /// [defers changes](Capabilities::deferred) and has no [changer](Backend::changer); too many open
    /// files.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    /// use selectors::backend::Poll;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SharedSelector = SharedSelector::with_backend(Poll::new()?)?;
    /// assert!(!selector.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_backend(backend: impl Backend + Send + 'static) -> Result<Self> {
        Self::with_boxed(Ok(Box::new(backend)))
    }

    fn with_boxed(backend: io::Result<DynBackend>) -> Result<Self> {
        let failed = |error| Error::os("make a selector", None, error);
        let mut backend = backend.map_err(failed)?;
        let changer = backend.changer().map_err(failed)?;
        let mut capabilities = backend.capabilities();
        // A changer makes every change at once.
        if mem::take(&mut capabilities.deferred) && changer.is_none() {
            let feature = "sharing with deferred changes";
            return Err(Error::Unsupported { feature, fd: None });
        }
        let (wake, user) = wakes(&mut backend, |_| false)?;
        Ok(Self {
            core: Arc::new(Core::new(backend, changer, capabilities, (&wake, &user))),
            data: Chunks::new(),
            wake,
            user,
            front: OnceLock::new(),
            retired: Vec::new(),
            places: Vec::new(),
            pace: Pace::default(),
            idle: 0,
        })
    }

    /// Returns a registrar, with which other threads register sources: see the example of
    /// [`Registrar`].
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::thread;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector = SharedSelector::new()?;
    /// let registrar = selector.registrar();
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let other = thread::spawn(move || registrar.register(ours, Interest::WRITE, ()));
    /// assert_eq!(selector.select(None)?.len(), 1, "registered while this thread waits");
    /// # drop(other.join().unwrap()?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn registrar(&self) -> Registrar<T> {
        Registrar::new(Arc::clone(&self.core))
    }

    /// Returns a waker, with which other threads can end a `select`. Every call returns a clone of the
    /// same waker.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// selector.waker().wake()?;
    /// assert!(selector.select(None)?.woken());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.user.waker()
    }

    /// Waits until a source is ready or the timeout expires, as
    /// [`Selector::select`](crate::Selector::select) does.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::select`](crate::Selector::select).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let _source = selector.registrar().register(ours, Interest::READ, "label")?;
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// drop(theirs);
    /// for event in selector.select(None)? {
    ///     // End-of-file.
    ///     assert!(event.is_readable());
    ///     assert_eq!(selector.get(event.token()), Some(&"label"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn select(&mut self, timeout: Option<Duration>) -> Result<Events> {
        let mut events = Events::with_capacity(Events::LEAST_ROOM);
        self.select_into(&mut events, timeout)?;
        Ok(events)
    }

    /// Waits as [`select`](Self::select), but replaces the contents of an existing list.
    ///
    /// # Errors
    ///
    /// Those of [`select`](Self::select); the list is then empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Events, Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::WRITE, ())?;
    /// let mut events = Events::new();
    /// selector.select_into(&mut events, None)?;
    /// assert_eq!(events.iter().next().unwrap().token(), source.token());
    /// # Ok(())
    /// # }
    /// ```
    pub fn select_into(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<()> {
        events.clear();
        self.core.check_fork()?;
        self.wait(events, timeout)
    }

    /// Waits as [`select`](Self::select), until a deadline. `None` waits without limit.
    ///
    /// # Errors
    ///
    /// Those of [`select`](Self::select).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// let deadline = selector.now() + Duration::from_millis(1);
    /// assert!(selector.select_until(Some(deadline))?.is_empty());
    /// assert!(selector.now() >= deadline);
    /// # Ok(())
    /// # }
    /// ```
    pub fn select_until(&mut self, deadline: Option<Instant>) -> Result<Events> {
        let mut events = Events::with_capacity(Events::LEAST_ROOM);
        self.select_into_until(&mut events, deadline)?;
        Ok(events)
    }

    /// Waits as [`select_into`](Self::select_into), until a deadline. `None` waits without limit.
    ///
    /// # Errors
    ///
    /// Those of [`select_into`](Self::select_into).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Events, SharedSelector};
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// selector.select_into_until(&mut Events::new(), Some(deadline))?;
    /// assert!(Instant::now() >= deadline);
    /// # Ok(())
    /// # }
    /// ```
    pub fn select_into_until(
        &mut self,
        events: &mut Events,
        deadline: Option<Instant>,
    ) -> Result<()> {
        events.clear();
        // Before the clock, whose lock a parent's thread may have held during fork(2).
        self.core.check_fork()?;
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(self.core.now()));
        self.select_into(events, timeout)
    }

    /// In a child of fork(2): makes the inherited selector whole again, as
    /// [`Selector::after_fork`](crate::Selector::after_fork) does. Handles and registrars then work
    /// again; create a new waker.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::after_fork`](crate::Selector::after_fork), and [`Error::Forked`] if
    /// another thread was making a change at the moment of the fork: the selector is then unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// // fork(2), and in the child:
    /// selector.after_fork()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn after_fork(&mut self) -> Result<()> {
        self.forget_inherited();
        let Self { core, wake, user, .. } = self;
        core.after_fork(wake, user)?;
        self.pace.ghosts = Ghosts::default();
        self.idle = 0;
        Ok(())
    }

    #[cfg(all(test, loom))]
    fn inherit(&self) {
        self.core.inherit();
    }

    /// In a child of fork(2): releases the parent's descriptor. If it is not inherited, its number may
    /// refer to another file, which must not be closed.
    fn forget_inherited(&mut self) {
        if self.core.check_fork().is_err() {
            let front = self.front.take();
            if !INHERITS_DESCRIPTORS {
                std::mem::forget(front);
            }
        }
    }

    /// Returns the data of a source, or `None` if it is not registered (any more). Takes no lock. The data
    /// of an unregistered source may be found until the next wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::READ, "label")?;
    /// let token = source.token();
    /// assert_eq!(selector.get(token), Some(&"label"));
    /// drop(source);
    /// assert_eq!(selector.get(token), None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn get(&self, token: Token) -> Option<&T> {
        let slot = self.core.slots.get(token.slot())?;
        if !slot.is_registered(token.generation()) {
            return None;
        }
        let cell = self.data.get_or_make(token.slot(), OnceCell::new)?;
        if let Some(data) = cell.get() {
            return Some(data);
        }
        let data = slot.take()?;
        Some(cell.get_or_init(|| data))
    }

    /// Returns the data of a source with mutable access; otherwise as [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::READ, 0)?;
    /// *selector.get_mut(source.token()).unwrap() += 1;
    /// assert_eq!(selector.get(source.token()), Some(&1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.get(token)?;
        self.data.get_mut(token.slot())?.get_mut()
    }

    /// Returns the selector's own descriptor, which another selector can watch: it is readable there
    /// when this one has something to report. `None` if the backend has none, like poll and select, or
    /// if there are too many open files.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let inner = SharedSelector::new()?;
    /// # #[cfg(target_os = "linux")] {
    /// let mut outer = DefaultSelector::new()?;
    /// outer.register(inner.descriptor().expect("epoll has one"), Interest::READ, ())?;
    /// assert!(outer.select(Some(Duration::ZERO))?.is_empty());
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let _source = inner.registrar().register(ours, Interest::WRITE, ())?;
    /// assert_eq!(outer.select(None)?.len(), 1);
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias("fileno", "as_fd"))]
    pub fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.core.check_fork().ok()?;
        if self.front.get().is_none() {
            let _ = self.front.set(self.core.descriptor()?);
        }
        self.front.get().map(backend::source)
    }

    /// The number of registered sources.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector = SharedSelector::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let source = selector.registrar().register(ours, Interest::READ, ())?;
    /// assert_eq!(selector.len(), 1);
    /// drop(source);
    /// assert_eq!(selector.len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Returns true if no source is registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SharedSelector = SharedSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets whether a signal ends a wait: see
    /// [`Selector::set_interruptible`](crate::Selector::set_interruptible).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// selector.set_interruptible(true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_interruptible(&mut self, interruptible: bool) {
        self.pace.interruptible = interruptible;
    }

    /// The current time on the clock of the backend: see
    /// [`Selector::now`](crate::Selector::now).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SharedSelector = SharedSelector::new()?;
    /// let earlier = selector.now();
    /// assert!(selector.now() >= earlier);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.core.now()
    }

    /// Sets how long a wait busy-polls before it blocks: see
    /// [`Selector::set_spin`](crate::Selector::set_spin).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::thread;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector = SharedSelector::new()?;
    /// selector.set_spin(Duration::from_micros(50));
    /// let registrar = selector.registrar();
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let soon = thread::spawn(move || registrar.register(ours, Interest::WRITE, ()));
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # drop(soon.join().unwrap()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("busy_poll", "busy waiting"))]
    pub fn set_spin(&mut self, duration: Duration) {
        self.pace.spin = Spin::new(duration);
    }

    /// Returns what the backend supports beyond what every backend must.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{BackendKind, SharedSelector};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SharedSelector = SharedSelector::of_kind(BackendKind::Select)?;
    /// assert!(!selector.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.core.capabilities
    }
}

impl<T> Drop for SharedSelector<T> {
    fn drop(&mut self) {
        self.forget_inherited();
        self.core.close();
    }
}

impl<T> fmt::Debug for SharedSelector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSelector").finish_non_exhaustive()
    }
}
