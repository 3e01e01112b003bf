//! epoll(7): Linux and Android.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::EventFd;
use selectors_sys::epoll as sys;

use super::always::AlwaysReady;
use super::lost::Lost;
use super::select::Sets;
use super::{AnyChanger, Backend, BorrowedSource, Capabilities, RawSource, Registered};
use crate::timeout::{millis_rounded_up, nanos_below_millis};
use crate::{Event, Events, Interest, Mode, Result, Selector, Token, Watch};

mod calls;
mod changer;
mod exchange;
mod rebuild;
mod special;

use calls::{add, control, create, delete, is_full, wait, wait_for_rest};
pub(super) use changer::EpollChanger;

/// A selector over epoll(7): Linux and Android.
///
/// # Examples
///
/// ```
/// use selectors::{EpollSelector, Interest, Mode};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = EpollSelector::new()?;
/// selector.register_with(ours, Interest::WRITE, (), Mode::Edge)?;
/// assert_eq!(selector.select(None)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "epoll")]
pub type EpollSelector<F, T = ()> = Selector<F, T, Epoll>;

impl<F, T> EpollSelector<F, T> {
    /// A selector over epoll(7). Python's `EpollSelector()`.
    ///
    /// # Errors
    ///
    /// Those of epoll_create1(2): too many open files.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::EpollSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: EpollSelector<TcpStream> = EpollSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Selector::open(Epoll::new)
    }
}

/// The token of the beacon: see [`Epoll::beacon`].
const BEACON: Token = Token::reserved(1);

/// In place of the number of a beacon, if there is none.
const NO_BEACON: RawSource = -1;

/// epoll(7).
///
/// # Implementation notes
///
/// - The user data of an event is the token, so no descriptor is looked up.
/// - The kernel writes directly into the caller's [`Events`], with room for at least 64, and for twice
///   as many as the last wait that returned any. If they fill the list, more calls fetch the rest.
/// - A timeout of whole milliseconds is that of epoll_wait(2). A finer one is that of a select(2) on
///   the instance, followed by an epoll_wait(2) that does not block: epoll_pwait2(2) would save a call,
///   but older kernels lack it, and some sandboxes kill its caller.
/// - Files that epoll refuses to watch with EPERM (regular files, directories, `/dev/null`) are
///   always ready; other files are refused with it (a sandbox may return that error). Each wait checks
///   with fstat(2) that the descriptor still refers to the same file. An eventfd that is always
///   readable ends the waits while such a file is to be reported. If there is no free descriptor for
///   the eventfd, those waits do not block, and another selector sees the file after the next wait that
///   can create the eventfd.
/// - [`Mode::Exclusive`] is set and unset by deleting and adding the source, as epoll_ctl(2)
///   requires. If the kernel has no memory to add it again, each wait tries again, and reports the
///   source as an ERROR until it succeeds: one-shot and edge-triggered sources once.
/// - If a descriptor was closed while registered and has a duplicate, the kernel keeps reporting it
///   after it was unregistered. The sources then move to a new epoll instance. If that fails, later
///   waits try again, and each pauses for up to a millisecond before.
/// - [`AsFd`] returns the descriptor of a second instance, created at the first use. It watches the one
///   with the sources, so that the latter can be replaced. Without a free descriptor for it at the first
///   use, or if it would be nested too deep, it is the descriptor of that one, which is then never
///   replaced. Linux limits how deep instances can be nested: of selectors, three.
///
/// # Examples
///
/// ```
/// use selectors::backend::{Backend, Epoll};
///
/// # fn main() -> std::io::Result<()> {
/// let capabilities = Epoll::new()?.capabilities();
/// assert!(capabilities.edge && capabilities.exclusive);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Epoll {
    instance: OwnedFd,
    /// The instance that other selectors watch: created when its descriptor is first requested.
    /// `None` if it could not be created: they watch `instance`, which is then never replaced.
    front: OnceLock<Option<OwnedFd>>,
    /// The free capacity with which the next wait starts: twice the number of events of the last wait
    /// that returned any.
    room: usize,
    always: AlwaysReady,
    /// Sources that the kernel does not watch because it could not add them again: see
    /// [`exchange`](Self::exchange).
    lost: Lost,
    /// An eventfd that is always readable. It is watched for READ while a source that the kernel does not
    /// watch is to be reported, so that waits end at once, including those of another epoll
    /// instance that watches this one. If there is one, it is created before a source can be lost, and
    /// watched for nothing until it is needed, because EPOLL_CTL_MOD needs no memory.
    beacon: Option<EventFd>,
    /// The descriptor of the beacon, or [`NO_BEACON`], for the changer. Created with the changer.
    beacon_number: OnceLock<Arc<AtomicI32>>,
    /// Whether the beacon is watched for READ.
    beaconing: bool,
    /// Whether there may be a special source, which the kernel does not watch or whose descriptor may
    /// have become one of our own. Never false again.
    has_special: bool,
    /// Whether a wait has to update the beacon or to report special sources.
    checks_special: bool,
    /// The sets for waits with fine timeouts, made by the first one.
    fine: Option<Box<Sets>>,
}

impl Epoll {
    /// Creates an epoll instance, close-on-exec.
    ///
    /// # Errors
    ///
    /// Those of epoll_create1(2): too many open files.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Epoll};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(Epoll::new()?.capabilities().edge);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            instance: create()?,
            front: OnceLock::new(),
            room: Events::MIN_CAPACITY,
            always: AlwaysReady::default(),
            lost: Lost::default(),
            beacon: None,
            beacon_number: OnceLock::new(),
            beaconing: false,
            has_special: false,
            checks_special: false,
            fine: None,
        })
    }

    /// The descriptor that other selectors watch.
    fn front(&self) -> BorrowedFd<'_> {
        let front = self.front.get_or_init(|| make_front(&self.instance).ok());
        front.as_ref().unwrap_or(&self.instance).as_fd()
    }

    /// Waits for what the kernel watches.
    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let mut count = match timeout {
            Some(fine) if nanos_below_millis(fine) != 0 => {
                self.wait_fine(&mut events.list, fine)?
            }
            _ => wait(&self.instance, &mut events.list, self.room, millis_rounded_up(timeout))?,
        };
        if count == 0 {
            return Ok(());
        }
        if is_full(&events.list) {
            // Level-triggered sources that were reported are reported again.
            events.mark_repeats();
            // If it fails, a later wait reports the rest.
            let _ = wait_for_rest(&self.instance, &mut events.list);
            count = events.list.len();
        }
        self.room = Events::MIN_CAPACITY.max(2 * count);
        Ok(())
    }

    /// Waits at the resolution of select(2), and then fetches the events.
    #[cold]
    fn wait_fine(&mut self, list: &mut Vec<Event>, timeout: Duration) -> nix::Result<usize> {
        let number = self.instance.as_raw_fd();
        let fine = self.fine.get_or_insert_default();
        fine.set(number, Interest::READ);
        match fine.select(Some(timeout)) {
            Ok(0) => Ok(0),
            Ok(_) => wait(&self.instance, list, self.room, 0),
            Err(Errno::EINTR) => Err(Errno::EINTR),
            // No memory for the sets, or a sandbox refuses the call: wait by the millisecond.
            Err(_) => wait(&self.instance, list, self.room, millis_rounded_up(Some(timeout))),
        }
    }
}

impl Backend for Epoll {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            edge: true,
            exclusive: true,
            priority: true,
            read_closed: true,
            hangup: true,
            error: true,
            write_hangup: true,
            nesting: true,
            constant_wait: true,
            timeout_resolution: Duration::from_micros(1),
            ..Capabilities::default()
        }
    }

    #[inline]
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let fd = source.as_raw_fd();
        match add(&self.instance, fd, token, watch) {
            Ok(()) => Ok(()),
            Err(error) => self.register_special(fd, token, watch, error),
        }
    }

    #[inline]
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        // EPOLL_CTL_MOD fails with EINVAL for EPOLLEXCLUSIVE, old or new: epoll_ctl(2).
        let exclusive = old.mode == Mode::Exclusive || new.mode == Mode::Exclusive;
        if self.has_special || exclusive {
            return self.modify_special(fd, token, old, new);
        }
        Ok(control(&self.instance, sys::EPOLL_CTL_MOD, fd, token, new)?)
    }

    #[inline]
    fn unregister(&mut self, fd: RawSource, token: Token, _watch: Watch) -> io::Result<()> {
        if self.has_special && self.unregister_special(fd, token) {
            return Ok(());
        }
        Ok(delete(&self.instance, fd)?)
    }

    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        if self.checks_special {
            return self.wait_special(events, timeout);
        }
        self.wait_once(events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        Some(self.front())
    }

    #[inline]
    fn owns(&self, fd: RawSource) -> bool {
        let is = |own: &OwnedFd| own.as_raw_fd() == fd;
        is(&self.instance)
            || self.front.get().and_then(Option::as_ref).is_some_and(is)
            || self.beacon.as_ref().is_some_and(|beacon| beacon.as_raw_fd() == fd)
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        let instance = self.instance.try_clone()?;
        let number = self.beacon.as_ref().map_or(NO_BEACON, EventFd::as_raw_fd);
        let beacon = self.beacon_number.get_or_init(|| Arc::new(AtomicI32::new(number)));
        let changer = EpollChanger { instance, beacon: Arc::clone(beacon) };
        Ok(Some(AnyChanger::native(changer)))
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        self.replace_instance(sources, events)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        let mut new = Self::new()?;
        // The descriptor that may be registered with another selector keeps its number.
        match self.front.get() {
            Some(Some(front)) => replace(front, &make_front(&new.instance)?)?,
            Some(None) => {
                replace(&self.instance, &new.instance)?;
                mem::swap(&mut self.instance, &mut new.instance);
            }
            None => {}
        }
        new.front = mem::take(&mut self.front);
        *self = new;
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.front()
    }
}

/// How the beacon is watched while it is needed, and how the front watches the instance.
const ALWAYS: Watch = Watch::new(Interest::READ, Mode::Level);

/// How the beacon is watched while it is not needed.
const NEVER: Watch = Watch::new(Interest::empty(), Mode::Level);

/// Makes the descriptor `old` refer to what `new` does.
fn replace(old: &OwnedFd, new: &OwnedFd) -> nix::Result<()> {
    let (old, new) = (old.as_raw_fd(), new.as_raw_fd());
    // SAFETY: both are open, and ours.
    Errno::result(unsafe { sys::dup3(new, old, sys::EPOLL_CLOEXEC) }).map(drop)
}

/// Creates an instance that is readable when `instance` is.
fn make_front(instance: &OwnedFd) -> nix::Result<OwnedFd> {
    let front = create()?;
    add(&front, instance.as_raw_fd(), BEACON, ALWAYS)?;
    Ok(front)
}
