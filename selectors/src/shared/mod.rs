//! A selector that other threads change while one waits.

use std::cell::OnceCell;
use std::fmt;
use std::io;
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
    self, Backend, BorrowedSource, Capabilities, DefaultBackend, OwnedSource, RawSource,
};
use crate::ghosts::Ghosts;
use crate::spin::Spin;
use crate::waker::Wake;
use crate::{BackendKind, Error, Events, Result, Token, Waker};

/// A selector that other threads change while one waits.
///
/// The thread that waits has the selector. Everybody else, on any thread, has a [`Registrar`],
/// which registers sources, and a [`Source`] for each of them, which owns the file object, changes
/// what it is watched for, and unregisters it. Changes are effective in the wait that is going on
/// when they return.
///
/// `T` is data that goes with each source, for the thread that waits: see [`get`](Self::get).
/// The sources of one selector may have file objects of different types.
///
/// # Selector or SharedSelector
///
/// - One thread does everything, or each has a selector of its own: [`Selector`](crate::Selector).
///   It needs no locks or atomics, and lends the file object out by token.
/// - Other threads register, modify or unregister while one waits, as in the reactor of an async
///   runtime: `SharedSelector`. A change costs a lock and the system call, a wait two locks that
///   are hardly ever contended, and an event an atomic load (a one-shot event also a
///   compare-and-swap).
/// - Other threads only have something to say to the one that waits: [`Selector`](crate::Selector),
///   its [`Waker`], and a channel.
///
/// # What is promised
///
/// - A change is effective in the wait that is going on, once the call returns; the caller gets
///   the kernel's error.
/// - A wait that begins after a source was unregistered does not report it. One that was going on
///   may. Its token then finds nothing, or the old data, and never another source.
/// - The file object is not touched after it was unregistered.
/// - No readiness is lost, however arming, firing, changing and unregistering interleave. A
///   one-shot source is reported at least once after it was armed and was ready, and at most once
///   for each time that it was armed; a report may be of a moment before it was armed again.
/// - One thread waits at a time. Others never wait for it to return, nor it for their system calls
///   (but see below).
///
/// # Portability
///
/// epoll(7) and kqueue(2) take changes while another thread waits. For the other backends, and for
/// what these do not watch by themselves (regular files; pipes and devices with kqueue), whoever
/// changes something wakes the waiter, which hands over the backend between two calls. That costs
/// two context switches, and the waiter goes on when the change is made. A backend that cannot be
/// woken is refused.
///
/// # Implementation notes
///
/// What is needed to settle an event is one atomic word, in a slot that never moves. Slots are
/// used again, and the data of unregistered sources is dropped, when the next wait begins.
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
    /// The data of each slot, once it was asked for.
    data: Chunks<OnceCell<T>>,
    /// The waker with which changes bring the waiter back.
    wake: Wake,
    /// What users have, which ends a `select`.
    user: Wake,
    /// A duplicate of the backend's descriptor, once somebody has asked for it.
    front: OnceLock<OwnedSource>,
    /// Slots that are to become vacant.
    retired: Vec<u32>,
    /// Per slot, where in the list its event stands.
    places: Vec<u32>,
    interruptible: bool,
    spin: Spin,
    /// How many calls in a row have ended early and reported nothing.
    idle: u32,
    ghosts: Ghosts,
}

/// What changes bring the waiter back with, and on top of it what users have.
fn wakes(backend: &mut DynBackend, taken: impl Fn(RawSource) -> bool) -> Result<(Wake, Wake)> {
    let capabilities = backend.capabilities();
    let wake = Wake::new(backend, capabilities, taken)?;
    let waker = wake.waker();
    let user = Wake::over(Box::new(move || Ok(waker.wake()?)));
    Ok((wake, user))
}

impl<T> SharedSelector<T> {
    /// A selector over the best backend that this system has.
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

    /// A selector over the backend of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where this system does not have it; those of [`new`](Self::new).
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

    /// A selector over a backend of your own, or one made by hand.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a backend that cannot be woken, and too many open files.
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
        let capabilities = backend.capabilities();
        let (wake, user) = wakes(&mut backend, |_| false)?;
        let wakers = (wake.waker(), user.waker());
        let changer = backend.changer().map_err(failed)?;
        Ok(Self {
            core: Arc::new(Core::new(backend, changer, capabilities, wakers)),
            data: Chunks::new(),
            wake,
            user,
            front: OnceLock::new(),
            retired: Vec::new(),
            places: Vec::new(),
            interruptible: false,
            spin: Spin::default(),
            idle: 0,
            ghosts: Ghosts::default(),
        })
    }

    /// What other threads register sources with.
    #[must_use]
    pub fn registrar(&self) -> Registrar<T> {
        Registrar::new(Arc::clone(&self.core))
    }

    /// A waker, with which other threads can end a `select`. All wakers of a selector are the
    /// same.
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

    /// Waits until a source is ready or the timeout has passed, as
    /// [`Selector::select`](crate::Selector::select) does.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::select`](crate::Selector::select).
    pub fn select(&mut self, timeout: Option<Duration>) -> Result<Events> {
        let mut events = Events::with_capacity(Events::LEAST_ROOM);
        self.select_into(&mut events, timeout)?;
        Ok(events)
    }

    /// As [`select`](Self::select), into a list that you keep.
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

    /// As [`select`](Self::select), until a moment: `None` is never.
    ///
    /// # Errors
    ///
    /// Those of [`select`](Self::select).
    pub fn select_until(&mut self, deadline: Option<Instant>) -> Result<Events> {
        let mut events = Events::with_capacity(Events::LEAST_ROOM);
        self.select_into_until(&mut events, deadline)?;
        Ok(events)
    }

    /// As [`select_into`](Self::select_into), until a moment: `None` is never.
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
        // Before the clock, which may be locked for ever.
        self.core.check_fork()?;
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(self.core.now()));
        self.select_into(events, timeout)
    }

    /// In a child of fork(2): makes the inherited selector whole again, as
    /// [`Selector::after_fork`](crate::Selector::after_fork) does. Handles and registrars then work
    /// as well; get another waker.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::after_fork`](crate::Selector::after_fork), and [`Error::Forked`] if
    /// another thread was changing something at the moment of the fork: this selector is then lost.
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
        core.after_fork(|backend| {
            (*wake, *user) = wakes(backend, |_| false)?;
            Ok((wake.waker(), user.waker()))
        })
    }

    #[cfg(all(test, loom))]
    fn inherit(&self) {
        self.core.inherit();
    }

    /// In a child of fork(2): gives up the parent's descriptor. That of a kqueue is not inherited,
    /// and its number may be another file's, which must not be closed.
    fn forget_inherited(&mut self) {
        if self.core.check_fork().is_err() {
            std::mem::forget(self.front.take());
        }
    }

    /// The data of a source, without a lock, until the next wait. `None` if it is not registered
    /// (any more).
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

    /// As [`get`](Self::get), with the data to change.
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

    /// The selector's own descriptor, which another selector can watch: it is readable there when
    /// this one has something to report. `None` where the backend has none, as poll and select, or
    /// where there are too many open files.
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

    /// How many sources are registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether no source is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a signal ends a wait: see
    /// [`Selector::set_interruptible`](crate::Selector::set_interruptible).
    pub fn set_interruptible(&mut self, interruptible: bool) {
        self.interruptible = interruptible;
    }

    /// The present moment on the clock of the backend: see
    /// [`Selector::now`](crate::Selector::now).
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
        self.spin = Spin::new(duration);
    }

    /// What the backend can do beyond what every one must.
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
