//! /dev/poll, poll(4D): illumos and Solaris. On Linux for tests only, over a linked provider.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::devpoll as sys;

use super::descriptor::check_open;
use super::pollfd::Flags;
use super::{Backend, BorrowedSource, Capabilities, Change, RawSource};
use crate::index::DescriptorIndex;
use crate::timeout::millis_rounded_up;
use crate::{Event, Events, Mode, Result, Selector, Token, Watch};

mod batch;
mod device;
mod failing;

use device::{Device, adding, buffer, removing};

/// A selector over /dev/poll: illumos and Solaris.
///
/// # Examples
///
/// ```no_run
/// use selectors::{DevpollSelector, Interest};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DevpollSelector::new()?;
/// selector.register(ours, Interest::WRITE, ())?;
/// assert_eq!(selector.select(None)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "devpoll")]
pub type DevpollSelector<F, T = ()> = Selector<F, T, Devpoll>;

impl<F, T> DevpollSelector<F, T> {
    /// A selector over /dev/poll. Python's `DevpollSelector()`.
    ///
    /// # Errors
    ///
    /// Those of open(2): too many open files, or no such file in a zone or chroot(2) without the device.
    /// There, [`AnySelector`](crate::AnySelector) with [`BackendKind::default`](crate::BackendKind) uses
    /// poll(2).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use selectors::DevpollSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: DevpollSelector<TcpStream> = DevpollSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Selector::open(Devpoll::new)
    }
}

/// How many sources the first wait can report. The capacity doubles when a wait fills it.
const FIRST_CAPACITY: usize = 64;

/// The flags of the device.
const FLAGS: Flags = Flags { priority: sys::PRIORITY, read_closed: 0, hints: 0 };

/// A tick of the clock, which is the shortest timeout, unless the system is set to a finer one.
const TICK: Duration = Duration::from_millis(10);

/// /dev/poll, poll(4D).
///
/// # Implementation notes
///
/// - The kernel has a set of descriptors without user data: a reported descriptor finds its source
///   through an index. One that is not registered is dropped, and removed from the set.
/// - The kernel adds events to those that it has for a number, including those of a file that was
///   closed and not removed. Each change is therefore one write that removes the number and adds it.
/// - A one-shot source that has fired is removed from the set at the beginning of the next wait, in one
///   write with all others, unless it was modified meanwhile.
/// - Deferred changes are one write.
/// - A change that fails is undone. If that fails too, the next wait tries again.
/// - The capacity of a wait grows up to the limit of the kernel: Solaris returns EINVAL for more than
///   RLIMIT_NOFILE. Several calls then report all events. illumos silently reports fewer, and the
///   others in the next waits.
/// - A source whose driver's poll routine fails makes the whole wait fail, with its error. The backend
///   searches for that source, removes it from the set, and reports it as an ERROR in every wait until
///   the kernel accepts it again. ENOMEM is treated as an error of the wait.
/// - PRIORITY is `POLLPRI` and `POLLRDBAND`: sockets report urgent data by the second alone.
/// - ERROR and HANGUP are not declared: sockets report an error as `POLLIN` and `POLLOUT`, and
///   `POLLHUP` only after the error was read. Either sets READ and WRITE.
/// - A descriptor that is closed while registered is reported as an ERROR (POLLNVAL), or not at
///   all.
/// - The device has a descriptor, but polling it always returns POLLERR: another selector cannot watch
///   it.
/// - The device belongs to one process: on illumos the one that used it first, on Solaris the one that
///   opened it. After fork(2) all calls of the other process fail with EACCES, and dropping the backend
///   there does not affect the owner.
///
/// # Examples
///
/// ```no_run
/// use selectors::backend::{Backend, Devpoll};
///
/// # fn main() -> std::io::Result<()> {
/// assert!(!Devpoll::new()?.capabilities().edge, "level-triggered only");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Devpoll {
    device: Device,
    buffer: Vec<sys::pollfd>,
    sources: Vec<Source>,
    index: DescriptorIndex,
    /// Descriptors whose entry in the set the next wait corrects.
    dirty: Vec<RawSource>,
    /// A buffer for that write.
    entries: Vec<sys::pollfd>,
    /// Descriptors whose poll routine failed, which are not in the set.
    failing: Vec<RawSource>,
    /// Counts the waits, from 1: see [`Source::reported`].
    turn: u32,
}

#[derive(Debug)]
struct Source {
    fd: RawSource,
    token: Token,
    watch: Watch,
    /// Whether it is armed: false for a fired one-shot source.
    armed: bool,
    /// Whether its entry in the set is correct: if it is not armed, there must be none.
    clean: bool,
    /// The last wait that reported it.
    reported: u32,
}

impl Source {
    /// A source that is in the set.
    fn new(fd: RawSource, token: Token, watch: Watch) -> Self {
        Self { fd, token, watch, armed: true, clean: true, reported: 0 }
    }
}

impl Devpoll {
    /// Creates an empty set, close-on-exec.
    ///
    /// # Errors
    ///
    /// Those of open(2): too many open files, no such device.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use selectors::backend::{Backend, Devpoll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(!Devpoll::new()?.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            device: Device::open()?,
            buffer: buffer(FIRST_CAPACITY),
            failing: Vec::new(),
            turn: 0,
            sources: Vec::new(),
            index: DescriptorIndex::default(),
            dirty: Vec::new(),
            entries: Vec::new(),
        })
    }

    fn place(&self, fd: RawSource) -> io::Result<usize> {
        self.index.get(fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Adds or replaces a source.
    fn insert(&mut self, source: Source) {
        if let Some(place) = self.index.get(source.fd) {
            self.sources[place] = source;
        } else {
            self.index.insert(source.fd, self.sources.len());
            self.sources.push(source);
        }
    }

    fn remove(&mut self, fd: RawSource) {
        self.failing.retain(|&failing| failing != fd);
        let Some(place) = self.index.remove(fd) else { return };
        self.sources.swap_remove(place);
        if let Some(moved) = self.sources.get(place) {
            self.index.insert(moved.fd, place);
        }
    }

    /// Makes the next wait correct the entry of a descriptor.
    fn mark_dirty(&mut self, fd: RawSource) {
        if let Some(place) = self.index.get(fd) {
            self.sources[place].clean = false;
        }
        // Repeated attempts must not exhaust memory.
        if !self.dirty.contains(&fd) {
            self.dirty.push(fd);
        }
    }

    /// Corrects the entries of the set, in one write.
    fn sync(&mut self) -> nix::Result<()> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        self.entries.clear();
        for &fd in &self.dirty {
            match self.index.get(fd).map(|place| &self.sources[place]) {
                Some(source) if source.clean => {}
                Some(source) if source.armed => self.entries.extend(adding(fd, source.watch)),
                _ => self.entries.push(removing(fd)),
            }
        }
        self.device.write(&self.entries)?;
        for fd in self.dirty.drain(..) {
            if let Some(place) = self.index.get(fd) {
                self.sources[place].clean = true;
            }
        }
        Ok(())
    }

    /// Waits, and appends the events: those that fit into the buffer, and then the others.
    #[inline]
    fn wait_for_all(
        &mut self,
        events: &mut Events,
        mut timeout: Option<Duration>,
    ) -> nix::Result<()> {
        let first = events.len();
        loop {
            let count = match self.wait_once(timeout) {
                // The call does not block, and the remaining events must be reported as well.
                Err(Errno::EINTR) if events.len() > first => continue,
                count => count?,
            };
            let before = events.len();
            self.append(count, events);
            // All sources in a full buffer were reported before: the kernel's scan has come full circle.
            if count < self.buffer.len() || events.len() == before {
                return Ok(());
            }
            self.buffer = buffer(2 * count);
            timeout = Some(Duration::ZERO);
        }
    }

    /// Makes the waiting call. Returns the number of entries in the buffer.
    #[inline]
    fn wait_once(&mut self, timeout: Option<Duration>) -> nix::Result<usize> {
        loop {
            match self.device.poll(&mut self.buffer, millis_rounded_up(timeout)) {
                // The buffer may be larger than RLIMIT_NOFILE, which may have been lowered.
                Err(Errno::EINVAL) if self.buffer.len() > 1 => {
                    self.buffer.truncate(self.buffer.len() / 2);
                }
                count => return count,
            }
        }
    }

    /// Appends the first `count` events of the buffer, except of sources that this wait has already
    /// reported.
    #[inline]
    fn append(&mut self, count: usize, events: &mut Events) {
        for pollfd in &self.buffer[..count] {
            let source = self.index.get(pollfd.fd).map(|place| &mut self.sources[place]);
            match source {
                Some(source) if source.armed => {
                    if source.reported == self.turn {
                        continue;
                    }
                    source.reported = self.turn;
                    let asked = FLAGS.of(source.watch.interest);
                    let readiness = FLAGS.readiness(pollfd.revents, asked);
                    events.push(Event::new(source.token, readiness));
                    if source.watch.mode == Mode::OneShot {
                        (source.armed, source.clean) = (false, false);
                        self.dirty.push(pollfd.fd);
                    }
                }
                // The next wait removes it.
                Some(source) if !source.clean => {}
                _ => self.dirty.push(pollfd.fd),
            }
        }
    }
}

/// Returns true if DP_POLL may have failed because of one source, not because of the device or a lack
/// of memory.
fn may_concern_a_source(error: Errno) -> bool {
    use Errno::{EACCES, EBADF, EFAULT, EINTR, ENOMEM, ENOTTY};
    !matches!(error, EINTR | ENOMEM | EBADF | EACCES | EFAULT | ENOTTY)
}

impl Backend for Devpoll {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            priority: true,
            write_hangup: true,
            constant_wait: true,
            timeout_resolution: TICK,
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
        // The kernel silently accepts a descriptor that is not open.
        check_open(source)?;
        self.device.write(&adding(fd, watch)).inspect_err(|_| {
            if self.device.write(&[removing(fd)]).is_err() {
                self.mark_dirty(fd);
            }
        })?;
        self.insert(Source::new(fd, token, watch));
        Ok(())
    }

    fn modify(&mut self, fd: RawSource, token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        let place = self.place(fd)?;
        let written = self.device.write(&adding(fd, new));
        let source = &mut self.sources[place];
        let Err(error) = written else {
            *source = Source::new(fd, token, new);
            return Ok(());
        };
        let before = adding(fd, source.watch);
        let undone = if source.armed {
            self.device.write(&before)
        } else {
            self.device.write(&[removing(fd)])
        };
        match undone {
            Ok(()) => source.clean = true,
            Err(_) => self.mark_dirty(fd),
        }
        Err(error.into())
    }

    fn unregister(&mut self, fd: RawSource, _token: Token, _watch: Watch) -> io::Result<()> {
        let place = self.place(fd)?;
        // A fired source is no longer in the set, or is removed before the next wait.
        if self.sources[place].armed {
            match self.device.write(&[removing(fd)]) {
                // The device itself was closed, and the set is gone.
                Ok(()) | Err(Errno::EBADF) => {}
                Err(error) => {
                    self.mark_dirty(fd);
                    return Err(error.into());
                }
            }
        }
        self.remove(fd);
        Ok(())
    }

    #[inline]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let before = events.len();
        self.turn = self.turn.wrapping_add(1);
        // If this fails, do not wait: disarmed sources are still in the set.
        self.sync().or_else(|error| {
            // There may be memory for smaller writes.
            let each = may_concern_a_source(error) || error == Errno::ENOMEM;
            if each { self.sync_each() } else { Err(error) }
        })?;
        let timeout = self.retry_failing(events, timeout);
        match self.wait_for_all(events, timeout) {
            Err(error) if may_concern_a_source(error) && !self.sources.is_empty() => {
                self.isolate_failing(events);
                let rest = self.wait_for_all(events, Some(Duration::ZERO));
                match rest.err() {
                    Some(error) if events.len() == before => Err(error.into()),
                    _ => Ok(()),
                }
            }
            // Reported events must not be lost: the next wait returns the error.
            Err(error) if events.len() == before => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.make_and_wait(changes, events, timeout)
    }

    fn owns(&self, fd: RawSource) -> bool {
        fd == self.device.as_fd().as_raw_fd()
    }

    fn after_fork(&mut self) -> io::Result<()> {
        *self = Self::new()?;
        Ok(())
    }
}

/// Python's `fileno()`. Another selector cannot watch it: it is always reported as an ERROR.
impl AsFd for Devpoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
