//! The trait that each backend implements.

use std::io;
use std::time::{Duration, Instant};

use super::{AnyChanger, BorrowedSource, Capabilities, Change, RawSource, Registered, raw};
use crate::{Events, Token, Watch};

/// Translates the calls of a selector into system calls.
///
/// Everything that is common to all backends is in [`Selector`](crate::Selector): it checks interests
/// and modes against [`capabilities`](Self::capabilities), refuses negative descriptors and duplicate
/// registrations, creates tokens, owns the sources, retries after signals, computes deadlines, masks
/// readiness by the interest, and merges the events of one source. A backend reports raw readiness.
///
/// An implementation may rely on the following. No descriptor is registered twice at a time. `modify`
/// and `unregister` are called only for registered sources, with the token and the watch that were
/// passed last. An interest is never empty, and a mode is one that the backend declared. It must *not*
/// rely on a registered descriptor staying open, nor on its number still referring to the same file.
///
/// The chapter `writing_a_backend` in the documentation of `selectors-testkit` describes how to get from
/// an empty file to a backend that passes the conformance suite.
///
/// # Frequently asked questions
///
/// Each answer names a case of the conformance suite that tests it.
///
/// - **May the kernel hold the file after `unregister`?** No, neither through a pending request nor
///   through a duplicate. The caller may close the file next, and its peer must see that at once
///   (`reg_9_its_peer_sees_the_end_at_once`). Dropping the backend releases everything, too
///   (`reg_12_dropping_closes_everything`).
/// - **Must readiness be true at this wait?** Yes, in every mode. What the kernel queued between two
///   waits is reported only if it is still true (`ready_1_readiness_that_ended_between_two_waits`).
/// - **May `wait` be called by another thread than `register`?** Yes, and the thread that registered may
///   have ended. Calls never overlap (`proc_6_a_selector_changes_threads`).
/// - **May READ_CLOSED be reported of a source that is watched for WRITE alone?** Together with WRITE,
///   as a hint. Alone it is masked, and a wait that returns because of it again and again spins:
///   do not ask the kernel for it, or silence the source
///   (`wait_11_idle_waits_sleep`).
/// - **May one file be registered with two selectors?** Yes. Each reports it as if the other did
///   not exist, and a change in one does not affect the other (`reg_5_one_file_in_two_selectors`).
/// - **May `O_NONBLOCK` change?** No, not even for the duration of a call: other processes may share
///   the open file (`reg_9_flags_do_not_change`).
/// - **May a source appear twice in one wait?** Yes, if the list says so ([`Events::mark_repeats`]) or
///   the backend declares [`Capabilities::separate_directions`]: the selector merges its events
///   (`wait_7_one_select_reports_all`).
/// - **Which files does a kernel refuse that must be accepted?** epoll_ctl(2) refuses regular files and
///   directories with EPERM. The backend lists them itself and reports them in every wait, which then
///   does not block, as long as fstat(2) shows that the number still refers to the same file
///   (`ready_11_a_regular_file_is_always_ready`,
///   `close_5_a_reused_number_does_not_report_the_old_file`).
/// - **May one-shot be emulated?** Yes: by removing the source from the kernel when it is reported. An
///   empty set of flags is not enough where the kernel reports hang-ups and errors without being asked
///   (`mode_2_one_shot_is_silent_about_errors_too`).
/// - **May `unregister` be deferred?** No, only `register` and `modify`, by a backend that declares
///   [`Capabilities::deferred`]. Until then epoll watches a duplicate of a closed descriptor, and
///   refuses the same file under the same number (`close_5_random_programs_that_close`).
/// - **May the limit on descriptors be lowered?** Yes, at any time and to zero. poll(2) then returns
///   EINVAL for more entries than that; select(2) does not
///   (`wait_12_sources_are_served_without_free_descriptors`).
/// - **May another thread do the waiting?** Except for signalfd(2), which is ready only for the thread
///   that the signal is sent to (`ready_12_every_kind_of_file_ends_a_wait`). The calling thread must not
///   sleep when it need not block: it asks the kernel itself first (`wait_1_zero_does_not_sleep`). The
///   other thread blocks all signals, since a signal has to end the wait of the thread that handles it
///   (`wait_2_without_a_timeout_a_signal_ends_it`). A forked child does not have it: see
///   [`after_fork`](Self::after_fork).
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
    /// What this backend supports beyond what every backend must. Never changes: a selector asks when
    /// it is created, and may ask again.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(!Poll::new()?.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    fn capabilities(&self) -> Capabilities;

    /// Starts watching `source`, reporting `token` for it.
    ///
    /// # Errors
    ///
    /// The error of the kernel; EBADF (WSAENOTSOCK) for a descriptor that is not open, even if the
    /// kernel would accept it. A refused registration must leave no trace.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Poll};
    /// use selectors::{Events, Interest, Mode, Token, Watch};
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let (mut backend, mut events) = (Poll::new()?, Events::new());
    /// let (token, watch) = (Token::from_bits(1), Watch::new(Interest::WRITE, Mode::Level));
    /// backend.register(ours.as_fd(), token, watch)?;
    /// backend.wait(&mut events, None)?;
    /// assert_eq!(events[0].token(), token);
    /// # Ok(())
    /// # }
    /// ```
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()>;

    /// Watches for `new` instead of `old`, or rearms a one-shot source.
    ///
    /// # Errors
    ///
    /// The error of the kernel. The source must then be watched for `old` as before.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Poll};
    /// use selectors::{Events, Interest, Mode, Token, Watch};
    /// use std::os::fd::{AsFd, AsRawFd};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let (mut backend, mut events) = (Poll::new()?, Events::new());
    /// let (token, watch) = (Token::from_bits(1), Watch::new(Interest::READ, Mode::Level));
    /// backend.register(ours.as_fd(), token, watch)?;
    /// let new = Watch::new(Interest::WRITE, Mode::Level);
    /// backend.modify(ours.as_raw_fd(), token, watch, new)?;
    /// backend.wait(&mut events, None)?;
    /// assert!(events[0].is_writable());
    /// # Ok(())
    /// # }
    /// ```
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()>;

    /// Stops watching a descriptor, which may have been closed, and whose number may since refer to
    /// another file.
    ///
    /// # Errors
    ///
    /// The error of the kernel, unless it means that the descriptor was no longer watched.
    /// The source then stays registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Poll};
    /// use selectors::{Events, Interest, Mode, Token, Watch};
    /// use std::os::fd::{AsFd, AsRawFd};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let (mut backend, mut events) = (Poll::new()?, Events::new());
    /// let (token, watch) = (Token::from_bits(1), Watch::new(Interest::WRITE, Mode::Level));
    /// backend.register(ours.as_fd(), token, watch)?;
    /// backend.unregister(ours.as_raw_fd(), token, watch)?;
    /// backend.wait(&mut events, Some(Duration::ZERO))?;
    /// assert!(events.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()>;

    /// Waits until a source is ready, the timeout has expired (`None`: without limit), or a
    /// signal was handled, and appends the raw events to `events`.
    ///
    /// Without events it must not return before the timeout has expired, except that timeouts of
    /// more than a day may be shortened. A timeout that the kernel cannot express is rounded up: see
    /// [`millis_rounded_up`](super::millis_rounded_up) and
    /// [`seconds_and_nanos`](super::seconds_and_nanos). Zero never blocks. All of this holds
    /// without any source, too.
    ///
    /// # Errors
    ///
    /// The error of the kernel, in particular [`io::ErrorKind::Interrupted`] as soon as a signal
    /// handler has run. `events` must then be as before: once events were found, they are returned,
    /// and what failed afterwards is tried again by the next wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Events;
    /// use selectors::backend::{Backend, Poll};
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (start, timeout) = (Instant::now(), Duration::from_millis(1));
    /// Poll::new()?.wait(&mut Events::new(), Some(timeout))?;
    /// assert!(start.elapsed() >= timeout, "also without any source");
    /// # Ok(())
    /// # }
    /// ```
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()>;

    /// Applies deferred changes in order, as `register`, `modify` and `unregister` would, and then
    /// [waits](Self::wait). If any change was refused, it returns without waiting.
    /// [`Deferred`](super::Deferred) calls this. Implement it for a kernel that does both in one call.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait). The changes are applied nevertheless.
    ///
    /// # Examples
    ///
    /// See [`Change`] for a backend that implements it. [`Deferred`](super::Deferred) calls it with the
    /// changes that it has deferred:
    ///
    /// ```
    /// use selectors::backend::{Deferred, Poll};
    /// use selectors::{Interest, Selector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = Selector::with_backend(Deferred::new(Poll::new()?));
    /// selector.register(ours, Interest::WRITE, ())?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if Change::make_all(changes, self) { self.wait(events, timeout) } else { Ok(()) }
    }

    /// The backend's own descriptor, which is readable when there is something to report. Required
    /// with [`Capabilities::nesting`].
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, DefaultBackend, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # #[cfg(target_os = "linux")]
    /// assert!(DefaultBackend::new()?.descriptor().is_some());
    /// assert!(Poll::new()?.descriptor().is_none(), "there is no kernel object behind poll(2)");
    /// # Ok(())
    /// # }
    /// ```
    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        None
    }

    /// Returns true if `fd` is the number of a descriptor of this backend, which the selector refuses
    /// to register. By default, that of [`descriptor`](Self::descriptor).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, DefaultBackend};
    /// use std::os::fd::{AsFd, AsRawFd};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let backend = DefaultBackend::new()?;
    /// assert!(backend.owns(backend.as_fd().as_raw_fd()));
    /// assert!(!backend.owns(std::io::stdin().as_raw_fd()));
    /// # Ok(())
    /// # }
    /// ```
    fn owns(&self, fd: RawSource) -> bool {
        self.descriptor().is_some_and(|own| raw(own) == fd)
    }

    /// The backend's own wake-up mechanism: calling the trigger makes the current wait, or the next
    /// one, report `token` once. With `None`, the default, the selector watches a channel of its
    /// own like a source: at once through the [`changer`](Self::changer) if there is one, and
    /// otherwise from its next wait on.
    ///
    /// Called once for each selector, in a forked child once more after
    /// [`after_fork`](Self::after_fork), and not during a wait.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Token;
    /// use selectors::backend::{Backend, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let trigger = Poll::new()?.waker(Token::from_bits(1))?;
    /// assert!(trigger.is_none(), "the selector watches an eventfd or a socket pair");
    /// # Ok(())
    /// # }
    /// ```
    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        let _ = token;
        Ok(None)
    }

    /// A [`Changer`](super::Changer), with which other threads change this backend while one waits, if the kernel
    /// supports that. [`SharedSelector`](crate::SharedSelector) calls this when it is created, after
    /// [`rebuild`](Self::rebuild), and after [`after_fork`](Self::after_fork);
    /// [`Selector::waker`](crate::Selector::waker) when it creates a channel.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Changer, DefaultBackend};
    /// use selectors::{Events, Interest, Mode, Token, Watch};
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut backend = DefaultBackend::new()?;
    /// if let Some(mut changer) = backend.changer()? {
    ///     let watch = Watch::new(Interest::WRITE, Mode::Level);
    ///     changer.register(ours.as_fd(), Token::from_bits(1), watch)?;
    ///     let mut events = Events::new();
    ///     backend.wait(&mut events, None)?;
    ///     assert_eq!(events.len(), 1);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        Ok(None)
    }

    /// The time on the clock of this backend's timeouts, which never goes back: the monotonic clock,
    /// except for a virtual one in tests.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Poll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let backend = Poll::new()?;
    /// let earlier = backend.now();
    /// assert!(backend.now() >= earlier);
    /// # Ok(())
    /// # }
    /// ```
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Recreates the kernel object, which then watches `sources` and nothing else.
    ///
    /// The selector calls this when the kernel has reported a token that is not registered, because
    /// the kernel then watches a file that can no longer be unregistered: with epoll, a descriptor
    /// that was closed while registered and has a duplicate. A backend whose kernel stops watching
    /// closed descriptors needs no implementation.
    ///
    /// `sources` are the armed sources, with the channel of the waker if the selector watches one. A
    /// source whose number is closed or refers to another file is skipped: epoll_ctl(2) can tell,
    /// because adding a file to the old object again fails with EEXIST. No event may be lost: pending
    /// events of the old object for edge-triggered sources and for the waker are appended to `events`.
    /// Others that are appended as well are ignored, because the new object reports them again. If the
    /// new object is asked which edges it would report again, its one-shot sources have to be armed anew.
    /// On failure, every event that was taken from the old object is appended.
    ///
    /// # Errors
    ///
    /// The error of the kernel; everything is then as before. The selector continues, and tries again
    /// in a later wait. [`io::ErrorKind::Unsupported`] by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, DefaultBackend};
    /// use selectors::{Events, Interest, Mode, Token, Watch};
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let (mut backend, mut events) = (DefaultBackend::new()?, Events::new());
    /// let (token, watch) = (Token::from_bits(1), Watch::new(Interest::WRITE, Mode::Level));
    /// backend.register(ours.as_fd(), token, watch)?;
    /// // Without this source, as if a duplicate of a closed descriptor kept it watched.
    /// match backend.rebuild(&mut std::iter::empty(), &mut Events::new()) {
    ///     Ok(()) => {
    ///         backend.wait(&mut events, Some(Duration::ZERO))?;
    ///         assert!(events.is_empty());
    ///     }
    ///     Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        let _ = (sources, events);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// In a child of fork(2): replaces the inherited kernel object by a new one without any source,
    /// and does not affect the parent. The selector then registers every source again.
    ///
    /// Dropping a backend in the child must not affect the parent either. A child has none of the
    /// parent's threads, and what they own is never dropped there. Pass the `JoinHandle` of one to
    /// [`std::mem::forget`]: dropping it might detach a thread of the child that got the same stack.
    ///
    /// # Errors
    ///
    /// Those of creating a backend; [`io::ErrorKind::Unsupported`] by default. It can be called
    /// again.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, DefaultBackend};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut backend = DefaultBackend::new()?;
    /// // In a forked child, instead of a new backend:
    /// backend.after_fork()?;
    /// # Ok(())
    /// # }
    /// ```
    fn after_fork(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Makes a backend report the token of its waker. Called by any thread: see [`Backend::waker`].
///
/// # Examples
///
/// ```
/// use selectors::backend::Trigger;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let woken = Arc::new(AtomicBool::new(false));
/// let flag = Arc::clone(&woken);
/// let trigger: Trigger = Box::new(move || {
///     flag.store(true, Ordering::Release);
///     Ok(())
/// });
/// trigger().unwrap();
/// assert!(woken.load(Ordering::Acquire));
/// ```
pub type Trigger = Box<dyn Fn() -> io::Result<()> + Send + Sync>;
