//! The selector: creating it, its registrar and waker, and fork(2).

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, OnceLock};

use super::core::{Core, DynBackend};
use super::handles::Registrar;
use super::slots::Chunks;
use crate::backend::{
    Backend, Capabilities, DefaultBackend, INHERITS_DESCRIPTORS, OwnedSource, RawSource,
};
use crate::ghosts::Ghosts;
use crate::wait::Pace;
use crate::waker::Wake;
use crate::{BackendKind, Error, Result, Token, Waker};

/// A selector that other threads change while one waits.
///
/// The waiting thread has the selector. Other threads have a [`Registrar`], which registers sources,
/// and a [`Source`](crate::Source) for each of them, which owns the file object, changes its interest,
/// and unregisters it. A change is effective in the current wait when the method returns.
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
/// # Guarantees
///
/// - A change is effective in the current wait when the call returns, and the caller gets the kernel's
///   error.
/// - A wait that begins after a source was unregistered does not report it. The current one may; the
///   token then finds the old data or nothing, never another source.
/// - The file object is not used after it was unregistered.
/// - No readiness is lost, however arming, firing, changing and unregistering interleave. A
///   one-shot source that is armed and ready is reported at least once, and at most once for each
///   time that it was armed; an event may have been queued before the source was armed again.
/// - One thread waits at a time. A change never waits for `select` to return, nor `select` for a
///   change, with the exceptions below.
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
    pub(super) core: Arc<Core<T>>,
    /// The data of each slot, after it was first looked up.
    pub(super) data: Chunks<OnceCell<T>>,
    /// The waker with which changes interrupt the system call of the waiting thread.
    pub(super) wake: Wake,
    /// The waker of users, which ends a `select`.
    pub(super) user: Wake,
    /// A duplicate of the backend's descriptor, after it was first requested.
    pub(super) front: OnceLock<OwnedSource>,
    /// A buffer for slots that become vacant.
    pub(super) retired: Vec<u32>,
    /// Per slot, the position of its event in the list.
    pub(super) places: Vec<u32>,
    pub(super) pace: Pace,
    /// How many consecutive calls have ended early without an event.
    pub(super) idle: u32,
    /// Whether the changer of a new kernel object could not be created yet.
    pub(super) lacks_changer: bool,
}

/// The waker of changes, and the waker of users, which calls it.
pub(super) fn wakes(
    backend: &mut DynBackend,
    taken: impl Fn(RawSource) -> bool,
) -> Result<(Wake, Wake)> {
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
        let failed = |error| Error::os("create a selector", None, error);
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
            lacks_changer: false,
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

    /// In a child of fork(2): creates a kernel object for the inherited selector, as
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
    pub(super) fn inherit(&self) {
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
