//! epoll(7): Linux and Android.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use selectors_sys::epoll as sys;

use super::always::AlwaysReady;
use super::{Backend, BorrowedSource, Capabilities, RawSource, Registered};
use crate::timeout::{millis_rounded_up, seconds_and_nanos};
use crate::{Event, Events, Interest, Mode, Readiness, Result, Selector, Token, Watch};

/// A selector over epoll(7): Linux and Android.
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

/// What the beacon's events carry: see [`Epoll::beacon`].
const BEACON: Token = Token::reserved(1);

/// epoll(7).
///
/// # Implementation notes
///
/// - The kernel carries the token, so an event finds its source without a look-up by number.
/// - The kernel writes into the caller's [`Events`], as many as there is room for: 64 at least,
///   and twice what the last wait found.
/// - A timeout of whole milliseconds goes through epoll_wait(2), a finer one through
///   epoll_pwait2(2), and where the kernel or a sandbox refuses that one (ENOSYS, EPERM), which
///   is tried when a program makes its first instance, through the former, rounded up.
/// - What epoll refuses to watch with EPERM (regular files, directories, `/dev/null`) is always
///   ready. While there is such a source, each wait asks poll(2) whether it is still open.
/// - A descriptor that was closed while registered and lives on in a duplicate keeps being
///   reported by the kernel. When that is noticed, the epoll instance is replaced by a new one
///   with the same descriptor number. If it was registered with another selector, it has to
///   be registered there again; edge-triggered sources that are ready are reported once more.
#[derive(Debug)]
pub struct Epoll {
    instance: OwnedFd,
    /// How many events the next wait is to have room for: twice as many as the last one found.
    room: usize,
    /// Whether epoll_pwait2(2) may be called.
    nanoseconds: bool,
    always: AlwaysReady,
    /// Readable for as long as an always-ready source is to be reported, and watched, so that
    /// waits end at once, also those of an epoll instance that watches this one.
    beacon: Option<EventFd>,
    /// One-shot sources that had fired when the instance was replaced: the new one does not
    /// know them, since epoll has no way to add a source that is silent.
    left_out: Vec<RawSource>,
}

impl Epoll {
    /// A new epoll instance, close-on-exec.
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
    pub fn new() -> io::Result<Self> {
        let instance = create()?;
        Ok(Self {
            nanoseconds: has_epoll_pwait2(&instance),
            instance,
            room: Events::LEAST_ROOM,
            always: AlwaysReady::default(),
            beacon: None,
            left_out: Vec::new(),
        })
    }

    /// Watches or stops watching the beacon, as the always-ready sources need.
    fn keep_beacon(&mut self) -> io::Result<()> {
        match (self.always.is_armed(), self.beacon.take()) {
            (true, None) => {
                let beacon = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC)?;
                let watch = Watch::new(Interest::READ, Mode::Level);
                control(&self.instance, sys::EPOLL_CTL_ADD, beacon.as_raw_fd(), BEACON, watch)?;
                self.beacon = Some(beacon);
            }
            (false, Some(beacon)) => {
                // Closing is not enough where a forked child holds a copy.
                delete(&self.instance, beacon.as_raw_fd())?;
            }
            (_, beacon) => self.beacon = beacon,
        }
        Ok(())
    }

    /// Whether there is a source that the kernel does not have, or that may be mistaken for what
    /// it has beside them.
    #[inline]
    fn keeps_some(&self) -> bool {
        !self.always.is_empty() || self.beacon.is_some() || !self.left_out.is_empty()
    }

    /// Modifies a source that may be kept here, or is to be exclusive or no longer.
    #[cold]
    fn modify_kept(
        &mut self,
        fd: RawSource,
        token: Token,
        old: Watch,
        new: Watch,
    ) -> io::Result<()> {
        if self.always.modify(fd, token, new) {
            return self.keep_beacon().inspect_err(|_| {
                self.always.modify(fd, token, old);
            });
        }
        if self.is_beacon(fd) {
            return Err(Errno::EBADF.into());
        }
        if let Some(place) = self.left_out.iter().position(|&left_out| left_out == fd) {
            control(&self.instance, sys::EPOLL_CTL_ADD, fd, token, new)?;
            self.left_out.swap_remove(place);
            return Ok(());
        }
        if old.mode != Mode::Exclusive && new.mode != Mode::Exclusive {
            return Ok(control(&self.instance, sys::EPOLL_CTL_MOD, fd, token, new)?);
        }
        delete_raw(&self.instance, fd)?;
        Ok(control(&self.instance, sys::EPOLL_CTL_ADD, fd, token, new).inspect_err(|_| {
            // It was there a moment ago; if it is gone, so is the old watch.
            let _ = control(&self.instance, sys::EPOLL_CTL_ADD, fd, token, old);
        })?)
    }

    /// Forgets a source that may be kept here. Whether the kernel need not hear of it.
    #[cold]
    fn forget_kept(&mut self, fd: RawSource, token: Token) -> io::Result<bool> {
        if self.always.remove(fd, token) {
            return self.keep_beacon().map(|()| true);
        }
        self.left_out.retain(|&left_out| left_out != fd);
        Ok(self.is_beacon(fd))
    }

    /// Whether a source was closed and its number has become the beacon's, which is to stay
    /// watched as it is.
    fn is_beacon(&self, fd: RawSource) -> bool {
        self.beacon.as_ref().is_some_and(|beacon| beacon.as_raw_fd() == fd)
    }

    /// Puts the always-ready sources in the place of the beacon.
    #[cold]
    fn report_always_ready(&mut self, events: &mut Events) -> io::Result<()> {
        events.list.retain(|event| event.token() != BEACON);
        self.always.report(events);
        self.keep_beacon()
    }

    /// One waiting call, which appends to `list`. Returns the number of its events.
    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn wait_once(
        &mut self,
        list: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> nix::Result<usize> {
        list.reserve(self.room);
        let spare = list.spare_capacity_mut();
        let room = i32::try_from(spare.len()).unwrap_or(i32::MAX);
        // An `Event` is an `epoll_event`: see `Record`.
        let spare = spare.as_mut_ptr().cast();
        let epoll = self.instance.as_raw_fd();
        if let Some(fine) = timeout.filter(|timeout| timeout.subsec_nanos() % 1_000_000 != 0) {
            if self.nanoseconds {
                let (tv_sec, tv_nsec) = seconds_and_nanos(fine);
                let timeout = sys::KernelTimespec { tv_sec, tv_nsec };
                // SAFETY: `spare` points to `room` elements that we own, `timeout` outlives the
                // call.
                let answer = unsafe { sys::epoll_pwait2(epoll, spare, room, &raw const timeout) };
                match count(answer) {
                    Err(Errno::ENOSYS | Errno::EPERM) => self.nanoseconds = false,
                    count => return count,
                }
            }
        }
        // SAFETY: `spare` points to `room` elements that we own.
        count(unsafe { sys::epoll_wait(epoll, spare, room, millis_rounded_up(timeout)) })
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
            timeout_grain: if self.nanoseconds {
                Duration::from_nanos(1)
            } else {
                Duration::from_millis(1)
            },
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
        match control(&self.instance, sys::EPOLL_CTL_ADD, fd, token, watch) {
            // The kernel would not watch it because it never blocks.
            Err(Errno::EPERM) => {
                self.always.insert(fd, token, watch);
                self.keep_beacon().inspect_err(|_| {
                    self.always.remove(fd, token);
                })
            }
            // An earlier registration of the same open file under the same number, whose
            // descriptor was closed behind our back and has come back.
            Err(Errno::EEXIST) => {
                delete(&self.instance, fd)?;
                Ok(control(&self.instance, sys::EPOLL_CTL_ADD, fd, token, watch)?)
            }
            answer => Ok(answer?),
        }
    }

    #[inline]
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        // EPOLL_CTL_MOD answers EINVAL to EPOLLEXCLUSIVE, old or new: epoll_ctl(2).
        let exclusive = old.mode == Mode::Exclusive || new.mode == Mode::Exclusive;
        if exclusive || self.keeps_some() {
            return self.modify_kept(fd, token, old, new);
        }
        Ok(control(&self.instance, sys::EPOLL_CTL_MOD, fd, token, new)?)
    }

    #[inline]
    fn unregister(&mut self, fd: RawSource, token: Token, _watch: Watch) -> io::Result<()> {
        if self.keeps_some() && self.forget_kept(fd, token)? {
            return Ok(());
        }
        delete(&self.instance, fd)
    }

    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let count = self.wait_once(&mut events.list, timeout)?;
        // SAFETY: the kernel has written that many, and there was room for them.
        unsafe { events.list.set_len(events.list.len() + count) };
        self.room = Events::LEAST_ROOM.max(2 * count);
        if self.beacon.is_some() { self.report_always_ready(events) } else { Ok(()) }
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        Some(self.instance.as_fd())
    }

    fn rebuild(&mut self, sources: &[Registered]) -> io::Result<()> {
        let new = create()?;
        let mut left_out = Vec::new();
        for source in sources {
            if self.always.contains(source.fd, source.token) {
                continue;
            }
            if !source.armed {
                left_out.push(source.fd);
                continue;
            }
            match control(&new, sys::EPOLL_CTL_ADD, source.fd, source.token, source.watch) {
                // EBADF, or EPERM if the number is another file's: it was closed as well.
                Ok(()) | Err(Errno::EBADF | Errno::EPERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(beacon) = &self.beacon {
            let watch = Watch::new(Interest::READ, Mode::Level);
            control(&new, sys::EPOLL_CTL_ADD, beacon.as_raw_fd(), BEACON, watch)?;
        }
        let (new, old) = (new.as_raw_fd(), self.instance.as_raw_fd());
        // SAFETY: both are open, and ours; the old number means the new instance from now on.
        Errno::result(unsafe { sys::dup3(new, old, sys::EPOLL_CLOEXEC) })?;
        self.left_out = left_out;
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}

fn create() -> io::Result<OwnedFd> {
    // SAFETY: takes a number and returns a descriptor or -1.
    let fd = Errno::result(unsafe { sys::epoll_create1(sys::EPOLL_CLOEXEC) })?;
    // SAFETY: a new descriptor that is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether epoll_pwait2(2) is there and allowed, which is tried once.
fn has_epoll_pwait2(instance: &OwnedFd) -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let mut event = sys::epoll_event { events: 0, u64: 0 };
        let now = sys::KernelTimespec::default();
        let mut probe = || {
            // SAFETY: there is room for one event, and `now` outlives the call.
            unsafe { sys::epoll_pwait2(instance.as_raw_fd(), &raw mut event, 1, &raw const now) }
        };
        sys::HAS_EPOLL_PWAIT2 && count(probe()).is_ok()
    })
}

/// What a call answers that does not fail: how many events it has found, where it waits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "errors are small")]
fn count(answer: isize) -> nix::Result<usize> {
    usize::try_from(answer).map_err(|_| Errno::from_raw(-answer as i32))
}

#[inline]
fn control(
    epoll: &OwnedFd,
    operation: i32,
    fd: RawSource,
    token: Token,
    watch: Watch,
) -> nix::Result<()> {
    let mut event = sys::epoll_event { events: to_epoll(watch), u64: token.to_bits() };
    // SAFETY: `event` outlives the call; the kernel checks the numbers.
    let answer = unsafe { sys::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) };
    count(answer).map(drop)
}

/// Stops watching `fd`, which need not be watched any more.
#[inline]
fn delete(epoll: &OwnedFd, fd: RawSource) -> io::Result<()> {
    match delete_raw(epoll, fd) {
        // It was closed, and the number is free, or another file's, or one's that cannot be
        // watched.
        Ok(()) | Err(Errno::EBADF | Errno::ENOENT | Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[inline]
fn delete_raw(epoll: &OwnedFd, fd: RawSource) -> nix::Result<()> {
    let no_event = ptr::null_mut();
    // SAFETY: deleting reads no event since Linux 2.6.9; the kernel checks the numbers.
    let answer = unsafe { sys::epoll_ctl(epoll.as_raw_fd(), sys::EPOLL_CTL_DEL, fd, no_event) };
    count(answer).map(drop)
}

#[expect(clippy::cast_sign_loss, reason = "the kernel declares the same bits unsigned")]
fn to_epoll(watch: Watch) -> u32 {
    let mut flags = match watch.mode {
        Mode::Level => 0,
        Mode::OneShot => sys::EPOLLONESHOT,
        Mode::Edge => sys::EPOLLET,
        Mode::Exclusive => sys::EPOLLEXCLUSIVE,
    };
    if watch.interest.contains(Interest::READ) {
        flags |= sys::EPOLLIN;
        // The kernel answers EINVAL to EPOLLEXCLUSIVE with EPOLLRDHUP.
        if watch.mode != Mode::Exclusive {
            flags |= sys::EPOLLRDHUP;
        }
    }
    if watch.interest.contains(Interest::WRITE) {
        flags |= sys::EPOLLOUT;
    }
    if watch.interest.contains(Interest::PRIORITY) {
        flags |= sys::EPOLLPRI;
    }
    flags as u32
}

// What the kernel says is told as it says it: see `Readiness`.
const _: () = {
    assert!(Readiness::READ.bits() == sys::EPOLLIN as u32);
    assert!(Readiness::WRITE.bits() == sys::EPOLLOUT as u32);
    assert!(Readiness::PRIORITY.bits() == sys::EPOLLPRI as u32);
    assert!(Readiness::ERROR.bits() == sys::EPOLLERR as u32);
    assert!(Readiness::HANGUP.bits() == sys::EPOLLHUP as u32);
    assert!(Readiness::READ_CLOSED.bits() == sys::EPOLLRDHUP as u32);
};
