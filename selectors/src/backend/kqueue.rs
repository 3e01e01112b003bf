//! kqueue(2): the BSDs, macOS, iOS. On Linux for tests only, over a linked provider.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::kqueue as sys;

use super::always::AlwaysReady;
use super::descriptor::check_open;
use super::lost::Lost;
use super::{
    AnyChanger, Backend, BorrowedSource, Capabilities, Change, Channel, RawSource, Registered,
    Trigger, borrow,
};
use crate::{Event, Events, Interest, Mode, Result, Selector, Token, Watch};

use changer::KqueueChanger;
use fallback::Fallback;
use filters::Changes;
use kind::Kind;
use queue::Queue;
use translation::{TOKEN_FITS, Tokens, from_kqueue, is_dropped, no_event, to_udata};

mod changelist;
mod changer;
mod fallback;
mod filters;
mod kind;
mod queue;
mod translation;
mod unwatched;

/// A selector over kqueue(2): the BSDs, macOS, iOS.
///
/// # Examples
///
/// ```no_run
/// use selectors::{Interest, KqueueSelector};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = KqueueSelector::new()?;
/// selector.register(ours, Interest::READ | Interest::WRITE, ())?;
/// assert_eq!(selector.select(None)?.len(), 1, "two filters, one event");
/// # Ok(())
/// # }
/// ```
#[doc(alias = "kqueue")]
pub type KqueueSelector<F, T = ()> = Selector<F, T, Kqueue>;

impl<F, T> KqueueSelector<F, T> {
    /// A selector over kqueue(2). Python's `KqueueSelector()`.
    ///
    /// # Errors
    ///
    /// Those of kqueue(2): too many open files.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use selectors::KqueueSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: KqueueSelector<TcpStream> = KqueueSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Selector::open(Kqueue::new)
    }
}

/// The capacity of the first wait. It doubles when a wait fills it.
const FIRST_CAPACITY: usize = 64;

/// The token of the beacon: see [`Kqueue::beacon`].
const BEACON: Token = Token::reserved(1);
/// Both filters of a source.
const BOTH: Watch = Watch::new(Interest::READ.union(Interest::WRITE), Mode::Level);

/// kqueue(2).
///
/// # Implementation notes
///
/// - A source has one filter for each direction. Both are added in one call, and undone together if one
///   of them is refused. If the kernel has no memory for that, each wait tries again, and reports the
///   source as an ERROR until it succeeds: one-shot and edge-triggered sources once.
/// - Edge-triggered is `EV_CLEAR`, rearmed by `EV_ADD`. One-shot is `EV_DISPATCH`, rearmed by
///   `EV_DELETE` and `EV_ADD` in one call: the BSDs report a queued `EV_ONESHOT` filter without checking
///   it again, even if it has become idle, and `EV_ENABLE` differs between them.
/// - An end-of-file on the READ filter is READ_CLOSED. HANGUP is not declared: the
///   READ filter reports the same whether the peer has shut down one direction or both.
/// - PRIORITY is not declared. FreeBSD, NetBSD and DragonFly have no filter for it. The
///   `EVFILT_EXCEPT` of macOS fires for ordinary data, too (XNU: `filt_soread_common()`), so a
///   source that is watched for PRIORITY alone would make waits spin.
/// - Regular files and directories are always ready, and not added to the queue, because kernels do not
///   report a file at its end as readable. The same holds for a device that the kernel refuses to watch
///   (macOS and FreeBSD: `/dev/null`) or that is gone (FreeBSD: a terminal that hung up), and for a pipe
///   without a peer that the kernel refuses to watch (EPIPE, EBADF) or has stopped watching: FreeBSD and
///   OpenBSD report the hang-up to a wait for WRITE once, as an unrequested `EV_ONESHOT`, and drop the
///   filter.
/// - A socket that is always readable ends the waits while such a source is to be reported. If
///   there is no free descriptor for the socket, those waits do not block; registering one fails if
///   the selector's own descriptor was requested before, because another selector may watch it.
/// - A terminal that the kernel refuses to watch (macOS: `/dev/tty`), and on macOS a named pipe, whose
///   filters do not report its end, is watched by an additional select(2) before kevent(2). It does not
///   make the descriptor of the selector readable, and cannot be edge-triggered.
/// - The descriptor of the selector stays readable after a source was drained, until the next wait.
/// - Wakers are an `EVFILT_USER` if the kernel has it (NetBSD from 10.0), otherwise a socket pair.
/// - Deferred changes are the changelist of the waiting kevent(2) call, unless one of them needs more
///   than filters.
/// - A child of fork(2) does not inherit the queue, whose number is free there. There every call
///   returns EBADF, and dropping the backend closes nothing.
///
/// # Examples
///
/// ```no_run
/// use selectors::backend::{Backend, Kqueue};
///
/// # fn main() -> std::io::Result<()> {
/// assert!(Kqueue::new()?.capabilities().edge);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Kqueue {
    queue: Arc<Queue>,
    buffer: Vec<sys::kevent>,
    /// The changelist for the next waiting call.
    changelist: Vec<sys::kevent>,
    always: AlwaysReady,
    /// Sources that the kernel has stopped watching because a change failed.
    lost: Lost,
    /// A readable socket that is watched while an always-ready source is armed, so that waits end at once,
    /// including those of another selector that watches this one.
    beacon: Option<Channel>,
    /// Whether the descriptor was ever requested, so that another selector may watch it.
    shown: AtomicBool,
    /// Sources that select(2) watches because the kernel cannot, together with the queue itself.
    fallback: Option<Fallback>,
    /// The tokens, by descriptor, if user data is too small for them.
    tokens: Tokens,
}

// SAFETY: the pointers in the buffer are numbers to the kernel and to us.
unsafe impl Send for Kqueue {}

// SAFETY: likewise, and through a shared reference only an atomic changes.
unsafe impl Sync for Kqueue {}

impl Kqueue {
    /// Creates a queue, close-on-exec.
    ///
    /// # Errors
    ///
    /// Those of kqueue(2): too many open files.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use selectors::backend::{Backend, Kqueue};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(Kqueue::new()?.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Arc::new(Queue::new()?),
            buffer: vec![no_event(); FIRST_CAPACITY],
            changelist: Vec::new(),
            always: AlwaysReady::default(),
            lost: Lost::default(),
            beacon: None,
            shown: AtomicBool::new(false),
            fallback: None,
            tokens: Tokens::default(),
        })
    }

    /// Makes the kernel watch for `new` instead of `old`, as one change. If the kernel refuses it,
    /// `old` stays in place.
    fn change(
        &self,
        fd: RawSource,
        token: Token,
        old: Option<Watch>,
        new: Option<Watch>,
    ) -> nix::Result<()> {
        self.queue.change(fd, token, old, new).map_err(|(error, _)| error)
    }

    /// Removes both filters of a source. A filter that cannot be removed does not exist.
    fn remove_filters(&self, fd: RawSource, token: Token) {
        let _ = Changes::new(fd, token, Some(BOTH), None).submit(&self.queue);
    }

    /// Waits once, and appends the events of the kernel.
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let count = self.call(timeout)?;
        self.append(count, events);
        Ok(())
    }

    /// Appends the first `count` events of the buffer, and if that is full, the remaining ones.
    fn append(&mut self, mut count: usize, events: &mut Events) {
        loop {
            let tokens = &self.tokens;
            let mut dropped = false;
            events.extend(self.buffer[..count].iter().filter_map(|event| {
                dropped |= is_dropped(event);
                let token = tokens.of(event)?;
                (token != BEACON).then(|| Event::new(token, from_kqueue(event)))
            }));
            if dropped {
                self.keep_reporting_dropped(count);
            }
            if count < self.buffer.len() {
                return;
            }
            // The remaining events may include the second one of a source. Repeated events are merged.
            self.buffer = vec![no_event(); 2 * count];
            count = loop {
                match self.call(Some(Duration::ZERO)) {
                    Err(Errno::EINTR) => {}
                    // The next wait reports the remaining events.
                    result => break result.unwrap_or(0),
                }
            };
        }
    }

    /// Submits the changelist and waits, in one call. Returns the number of events in the buffer, which are
    /// failures if a change failed.
    #[inline]
    fn call(&mut self, timeout: Option<Duration>) -> nix::Result<usize> {
        // The buffer is never empty: every kernel would ignore the timeout.
        let result = self.queue.wait(&self.changelist, &mut self.buffer, timeout);
        // The changes were applied, even if the wait was interrupted.
        self.changelist.clear();
        result
    }
}

impl Backend for Kqueue {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            edge: true,
            read_closed: true,
            error: true,
            write_hangup: sys::WRITE_SEES_HANGUP,
            nesting: true,
            separate_directions: true,
            constant_wait: true,
            timeout_resolution: Duration::from_nanos(1),
            ..Capabilities::default()
        }
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let fd = source.as_raw_fd();
        match Kind::of(source)? {
            Kind::NeverBlocks => {
                // fstat(2) accepts a descriptor that was opened with O_PATH.
                check_open(source)?;
                return self.insert_always(fd, token, watch);
            }
            Kind::NamedPipe => return self.fall_back(source, token, watch),
            Kind::Pipe | Kind::Device | Kind::Other => {}
        }
        if let Err(refused) = self.change(fd, token, None, Some(watch)) {
            return self.watch_refused(source, token, watch, refused);
        }
        self.tokens.insert(fd, token);
        Ok(())
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        if let Some(before) = self.always.modify(fd, token, new) {
            return self.keep_beacon_if_watched().inspect_err(|_| {
                self.always.restore(fd, token, before);
            });
        }
        if let Some(fallback) =
            self.fallback.as_mut().filter(|fallback| fallback.contains(fd, token))
        {
            if new.mode == Mode::Edge {
                return Err(Errno::EINVAL.into());
            }
            return fallback.modify(fd, token, old, new);
        }
        if self.queue.is_beacon(fd) {
            return Err(Errno::EBADF.into());
        }
        let changed = if self.lost.contains(token) {
            self.watch_lost(fd, token, new).map_err(|refused| (refused, false))
        } else {
            self.queue.change(fd, token, Some(old), Some(new))
        };
        if let Err((refused, is_lost)) = changed {
            // SAFETY: the number is only queried and watched, which kernels refuse if it is not open.
            let source = unsafe { borrow(fd) };
            if let Err(error) = self.watch_refused(source, token, new, refused) {
                if is_lost {
                    // A filter that is left would be reported as well.
                    self.remove_filters(fd, token);
                    self.lost.insert(Registered::new(fd, token, old));
                }
                return Err(error);
            }
            self.tokens.remove(fd);
            self.remove_filters(fd, token);
        }
        self.lost.remove(token);
        Ok(())
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        if self.always.remove(fd, token) {
            let _ = self.keep_beacon();
            return Ok(());
        }
        if let Some(fallback) =
            self.fallback.as_mut().filter(|fallback| fallback.contains(fd, token))
        {
            fallback.unregister(fd, token, watch)?;
            self.fallback.take_if(|fallback| Fallback::is_empty(fallback));
            return Ok(());
        }
        let lost = self.lost.remove(token);
        if self.queue.is_beacon(fd) {
            return Ok(());
        }
        if lost {
            self.remove_filters(fd, token);
            self.tokens.remove(fd);
            return Ok(());
        }
        self.change(fd, token, Some(watch), None)?;
        self.tokens.remove(fd);
        Ok(())
    }

    #[inline]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = self.time_to_wait(timeout);
        if let Some(fallback) = &mut self.fallback {
            let before = events.len();
            fallback.wait(events, timeout)?;
            // Events of select(2) must not be lost: the next wait returns the error.
            let looked = self.wait_once(events, Some(Duration::ZERO));
            looked.or_else(|error| if events.len() > before { Ok(()) } else { Err(error) })?;
        } else {
            self.wait_once(events, timeout)?;
        }
        self.report_unwatched(events);
        Ok(())
    }

    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.submit_and_wait(changes, events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        Some(self.as_fd())
    }

    fn owns(&self, fd: RawSource) -> bool {
        self.queue.as_fd().as_raw_fd() == fd || self.queue.is_beacon(fd)
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        // A kernel without the filter returns EINVAL: NetBSD before 10.0, older OpenBSDs.
        if user_event(&self.queue, token, sys::EV_ADD | sys::EV_CLEAR, 0).is_err() {
            return Ok(None);
        }
        // Weak: the queue must be closed with the selector. A wake that closes it frees no memory, because
        // this reference keeps the allocation.
        let queue = Arc::downgrade(&self.queue);
        Ok(Some(Box::new(move || {
            let Some(queue) = Weak::upgrade(&queue) else { return Ok(()) };
            // With the token: FreeBSD replaces the user data by that of this change.
            Ok(user_event(&queue, token, 0, sys::NOTE_TRIGGER)?)
        })))
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        // If a token does not fit into user data, the backend keeps the tokens.
        let changer = || AnyChanger::new(KqueueChanger(Arc::clone(&self.queue)));
        Ok(TOKEN_FITS.then(changer))
    }

    fn after_fork(&mut self) -> io::Result<()> {
        *self = Self::new()?;
        Ok(())
    }
}

impl AsFd for Kqueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shown.store(true, Ordering::Relaxed);
        self.queue.as_fd()
    }
}

/// Adds or triggers the `EVFILT_USER` of a waker.
fn user_event(queue: &Queue, token: Token, flags: sys::Flags, fflags: u32) -> nix::Result<()> {
    let change = sys::EV_SET(0, sys::EVFILT_USER, flags, fflags, 0, to_udata(token));
    queue.wait(&[change], &mut [], None).map(drop)
}
