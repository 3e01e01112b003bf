//! Backends: what turns a selector's calls into the kernel's.
//!
//! A program that uses selectors needs nothing from here but perhaps the name of a backend in
//! its types. This module is for those who write one: implement [`Backend`], give it to
//! [`Selector::with_backend`](crate::Selector::with_backend), and let the conformance suite of
//! `selectors-testkit` say what is wrong with it.

use std::io;
use std::time::{Duration, Instant};

pub use crate::timeout::{millis_rounded_up, seconds_and_micros_rounded_up, seconds_and_nanos};
use crate::{Events, Token, Watch};

// build.rs lists which targets have what. First: what a source is.

#[cfg(unix)]
mod descriptor;
#[cfg(unix)]
use descriptor as source;
#[cfg(windows)]
mod socket;
#[cfg(windows)]
use socket as source;

pub use source::{AsSource, BorrowedSource, RawSource};
pub(crate) use source::{
    OwnedSource, bad_source, borrow, check_open, is_exhausted, is_open, is_plausible, pause,
    preserve_errno, raw, source,
};

// Whether the process is a child that inherited a selector.

pub(crate) mod generation;

#[cfg(unix)]
pub(crate) mod fork;
#[cfg(windows)]
#[path = "fork/none.rs"]
pub(crate) mod fork;

// What an event is made of.

#[cfg(epoll)]
#[path = "record/epoll.rs"]
mod record;
#[cfg(not(epoll))]
#[path = "record/plain.rs"]
mod record;

pub(crate) use record::Record;

// The channel beneath wakers.

#[cfg(all(unix, not(eventfd)))]
#[path = "wake/socketpair.rs"]
mod pair;
#[cfg(windows)]
#[path = "wake/loopback.rs"]
mod pair;
#[cfg(eventfd)]
#[path = "wake/eventfd.rs"]
mod wake;
#[cfg(not(eventfd))]
#[path = "wake/stream.rs"]
mod wake;

pub(crate) use wake::Channel;

// The mechanisms, and what some of them share.

mod any;
mod boxed;
mod capabilities;
mod changer;
mod deferred;
mod kind;
mod platform;

#[cfg(any(epoll, kqueue))]
mod always;
#[cfg(devpoll)]
mod devpoll;
#[cfg(epoll)]
mod epoll;
#[cfg(kqueue)]
mod kqueue;
#[cfg(unix)]
mod poll;
#[cfg(unix)]
mod select;
#[cfg(windows)]
#[path = "select/winsock.rs"]
mod select;

pub use any::AnyBackend;
pub use capabilities::Capabilities;
pub use changer::Changer;
pub use deferred::{Change, Deferred};
#[cfg(devpoll)]
#[cfg_attr(docsrs, doc(cfg(any(target_os = "illumos", target_os = "solaris"))))]
pub use devpoll::Devpoll;
#[cfg(epoll)]
#[cfg_attr(docsrs, doc(cfg(any(target_os = "linux", target_os = "android"))))]
pub use epoll::Epoll;
pub use kind::{BackendKind, UnknownBackend};
#[cfg(kqueue)]
#[cfg_attr(
    docsrs,
    doc(cfg(any(
        target_vendor = "apple",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd"
    )))
)]
pub use kqueue::Kqueue;
pub use platform::{DefaultBackend, DefaultSelector};
#[cfg(unix)]
#[cfg_attr(docsrs, doc(cfg(unix)))]
pub use poll::Poll;
pub use select::Select;

/// The names under which the crate exports its selectors.
pub(crate) mod aliases {
    pub use super::DefaultSelector;
    pub use super::any::AnySelector;
    pub use super::deferred::DeferredSelector;
    #[cfg(devpoll)]
    #[cfg_attr(docsrs, doc(cfg(any(target_os = "illumos", target_os = "solaris"))))]
    pub use super::devpoll::DevpollSelector;
    #[cfg(epoll)]
    #[cfg_attr(docsrs, doc(cfg(any(target_os = "linux", target_os = "android"))))]
    pub use super::epoll::EpollSelector;
    #[cfg(kqueue)]
    #[cfg_attr(
        docsrs,
        doc(cfg(any(
            target_vendor = "apple",
            target_os = "dragonfly",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd"
        )))
    )]
    pub use super::kqueue::KqueueSelector;
    #[cfg(unix)]
    #[cfg_attr(docsrs, doc(cfg(unix)))]
    pub use super::poll::PollSelector;
    pub use super::select::SelectSelector;
}

/// What another thread calls to make a backend report its waker's token: see
/// [`Backend::waker`].
pub type Trigger = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

/// A registered source: see [`Backend::rebuild`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// Its descriptor.
    pub fd: RawSource,
    /// Its token.
    pub token: Token,
    /// What it is watched for.
    pub watch: Watch,
}

impl Registered {
    /// A source by its descriptor, its token, and what it is watched for.
    #[must_use]
    pub const fn new(fd: RawSource, token: Token, watch: Watch) -> Self {
        Self { fd, token, watch }
    }
}

/// What turns a selector's calls into the kernel's.
///
/// A backend does this one thing. What is the same for all of them lies above it, in
/// [`Selector`](crate::Selector): it checks interests and modes against
/// [`capabilities`](Self::capabilities), keeps descriptors unique and negative ones away, makes
/// tokens, owns the sources, retries after signals, keeps deadlines, masks readiness by
/// interest, and merges the events of one source. A backend passes on raw readiness.
///
/// So an implementation may rely on this: no descriptor is registered twice at a time;
/// `modify` and `unregister` are only called for what is registered, with the token and the
/// watch that it was last given; an interest is never empty, and a mode is one that was
/// declared. It may *not* rely on a registered descriptor staying open, nor on its number
/// still meaning the same file: it has to be harmless when that is not so.
///
/// # Examples
///
/// A backend for sources that are always ready:
///
/// ```
/// use selectors::backend::{Backend, BorrowedSource, Capabilities, RawSource};
/// use selectors::{Event, Events, Interest, Readiness, Selector, Token, Watch};
/// use std::{io, time::Duration};
///
/// #[derive(Default)]
/// struct Eager(Vec<Token>);
///
/// impl Backend for Eager {
///     fn capabilities(&self) -> Capabilities {
///         Capabilities::default()
///     }
///     fn register(&mut self, _: BorrowedSource<'_>, token: Token, _: Watch) -> io::Result<()> {
///         self.0.push(token);
///         Ok(())
///     }
///     fn modify(&mut self, _: RawSource, _: Token, _: Watch, _: Watch) -> io::Result<()> {
///         Ok(())
///     }
///     fn unregister(&mut self, _: RawSource, token: Token, _: Watch) -> io::Result<()> {
///         self.0.retain(|&other| other != token);
///         Ok(())
///     }
///     fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
///         let ready = Readiness::READ | Readiness::WRITE;
///         events.extend(self.0.iter().map(|&token| Event::new(token, ready)));
///         Ok(())
///     }
/// }
///
/// # fn main() -> io::Result<()> {
/// let mut selector = Selector::with_backend(Eager::default());
/// selector.register(std::io::stdin(), Interest::READ, ())?;
/// assert_eq!(selector.select(None)?.len(), 1);
/// # Ok(())
/// # }
/// ```
pub trait Backend {
    /// What this backend can do beyond what every one must. Asked once, when the selector is
    /// made.
    fn capabilities(&self) -> Capabilities;

    /// Starts watching `source`, reporting `token` for it.
    ///
    /// # Errors
    ///
    /// Whatever the kernel returns; EBADF (WSAENOTSOCK) for a descriptor that is not open, also
    /// where the kernel would take it. Nothing of a refused registration may stay behind.
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()>;

    /// Watches for `new` instead of `old`, or arms a one-shot source again.
    ///
    /// # Errors
    ///
    /// Whatever the kernel returns. The source must then be watched for `old` as before.
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()>;

    /// Stops watching a descriptor, which may have been closed, or be another file's by now.
    ///
    /// # Errors
    ///
    /// What the kernel returns, unless it means that the descriptor was no longer watched.
    /// The source then stays registered.
    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()>;

    /// Waits until a source is ready, the timeout has passed (`None`: without limit), or a
    /// signal was handled, and appends the raw events to `events`.
    ///
    /// With nothing to report it must not return before the timeout has passed, but for
    /// timeouts of more than a day, which may be cut short. Timeouts that the kernel cannot
    /// express are rounded up: [`millis_rounded_up`], [`seconds_and_nanos`]. Zero never
    /// blocks. Having no source makes no difference.
    ///
    /// # Errors
    ///
    /// Whatever the kernel returns, in particular [`io::ErrorKind::Interrupted`], as soon as a
    /// signal handler has run. `events` must then be as before.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()>;

    /// Applies deferred changes, as `register`, `modify` and `unregister` would, one by one and
    /// in this order, and then [waits](Self::wait). If any of them was refused, it returns
    /// without having waited. [`Deferred`] calls this; a kernel that can do both in one
    /// call is a reason to implement it.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait). The changes have been made nevertheless.
    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let mut all = true;
        for change in changes {
            all &= change.make(self);
        }
        if all { self.wait(events, timeout) } else { Ok(()) }
    }

    /// The backend's own descriptor, which is readable when there is something to report: to
    /// be given where [`Capabilities::nesting`] is declared.
    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        None
    }

    /// Whether a number is that of a descriptor of the backend's own, which the selector refuses
    /// to register: by default that of [`descriptor`](Self::descriptor).
    fn owns(&self, fd: RawSource) -> bool {
        self.descriptor().is_some_and(|own| raw(own) == fd)
    }

    /// A backend's own way to be woken: calling the trigger makes the wait that is going on,
    /// or the next one, report `token` once. With `None` the selector watches a channel of its
    /// own as if it were a source, which is right for most.
    ///
    /// # Errors
    ///
    /// Whatever the kernel returns.
    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        let _ = token;
        Ok(None)
    }

    /// What other threads change this backend with while one waits, if the kernel can do that:
    /// see [`SharedSelector`](crate::SharedSelector), which asks when it is made, and again after
    /// [`rebuild`](Self::rebuild).
    ///
    /// # Errors
    ///
    /// Whatever the kernel returns.
    fn changer(&self) -> io::Result<Option<Box<dyn Changer>>> {
        Ok(None)
    }

    /// The moment by the clock that its waits go by, which never goes back: the system's
    /// monotonic clock, unless time itself is made up, as in a test.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Makes the kernel watch `sources` and nothing else, with a new kernel object.
    ///
    /// The selector asks for this when the kernel has reported a token that is not registered, so
    /// it watches something that can no longer be named: epoll does that with a descriptor that
    /// was closed while it was registered, and has a duplicate. A kernel that drops what is closed
    /// needs no implementation.
    ///
    /// `sources` are those that are to be reported; a source whose number is not open any more, or
    /// is another file's, is left out. Nothing may be lost: what the old object had still to
    /// report of edge-triggered sources and of the waker is appended to `events`, also on failure.
    /// Whatever else is appended is ignored.
    ///
    /// # Errors
    ///
    /// Whatever the kernel returns; everything is then as before. The selector goes on, and tries
    /// again in a later wait. [`io::ErrorKind::Unsupported`] by default.
    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        let _ = (sources, events);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// In a child of fork(2): gives up what was inherited, without changing anything that the
    /// parent sees, and is as new, with nothing registered. The selector then registers every
    /// source again.
    ///
    /// Dropping a backend in the child must not change anything that the parent sees, either.
    ///
    /// # Errors
    ///
    /// Those of making a new backend; [`io::ErrorKind::Unsupported`] by default. It can be tried
    /// again.
    fn after_fork(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Registers a source that the selector owns by its number.
pub(crate) fn register_raw<B: Backend + ?Sized>(
    backend: &mut B,
    fd: RawSource,
    token: Token,
    watch: Watch,
) -> io::Result<()> {
    // SAFETY: the selector owns the file object, which keeps the descriptor open. If it was closed
    // nevertheless, it is but a number that the kernel refuses, or another file's, which is
    // watched and not touched.
    let source = unsafe { borrow(fd) };
    backend.register(source, token, watch)
}

/// As [`register_raw`], through what other threads use.
pub(crate) fn register_raw_with(
    changer: &mut dyn Changer,
    fd: RawSource,
    token: Token,
    watch: Watch,
) -> io::Result<bool> {
    // SAFETY: as in `register_raw`.
    let source = unsafe { borrow(fd) };
    changer.register(source, token, watch)
}
