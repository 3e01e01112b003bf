//! epoll(7): Linux and Android.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use selectors_sys::epoll as sys;

use super::always::AlwaysReady;
use super::lost::Lost;
use super::select::Sets;
use super::{Backend, BorrowedSource, Capabilities, Changer, RawSource, Registered};
use crate::timeout::millis_rounded_up;
use crate::{Event, Events, Interest, Mode, Readiness, Result, Selector, Token, Watch};

mod changer;
mod exchange;

use changer::EpollChanger;

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
///   and twice what the last wait that found any did. When they fill it, it is asked for the rest.
/// - A timeout of whole milliseconds goes to epoll_wait(2). A finer one goes to select(2) on the
///   instance, and epoll_wait(2) then collects: epoll_pwait2(2) would save a call, but older
///   kernels lack it, and sandboxes kill who calls it.
/// - What epoll refuses to watch with EPERM (regular files, directories, `/dev/null`) is always
///   ready. Each wait asks fstat(2) whether it is still the same file.
/// - [`Mode::Exclusive`] is set and taken back by deleting and adding the source, as epoll_ctl(2)
///   requires. If the kernel then has no memory to add it, neither as it is to be nor as it was,
///   each wait tries again, and reports the source as an ERROR for as long as that fails.
/// - A descriptor that was closed while registered and lives on in a duplicate keeps being
///   reported by the kernel, though it was unregistered. When that is noticed, the sources move to a
///   new epoll instance. If that fails, it is tried again in later waits, which meanwhile look once
///   a millisecond.
/// - The descriptor that [`AsFd`] gives is that of an instance of its own, which is made at the
///   first use and watches the one with the sources, so that the latter can be replaced.
#[derive(Debug)]
pub struct Epoll {
    instance: OwnedFd,
    /// What other selectors watch, once somebody has asked for it.
    front: OnceLock<OwnedFd>,
    /// How many events the next wait is to have room for: twice as many as the last one found that
    /// found any.
    room: usize,
    always: AlwaysReady,
    /// What is neither always ready nor watched: see [`exchange`](Self::exchange).
    lost: Lost,
    /// Always readable, and watched for READ for as long as there is something to report that the
    /// kernel does not report, so that waits end at once, also those of an epoll instance that
    /// watches this one. Made when the first such source may come and kept, watched for nothing
    /// meanwhile: to watch it for READ then takes no memory that could be lacking.
    beacon: Option<EventFd>,
    /// The beacon's number, for the changer: -1 without one. Made with the changer.
    beacon_number: OnceLock<Arc<AtomicI32>>,
    /// Whether the beacon is watched for READ.
    beaconing: bool,
    /// Whether the kernel may not have a source, or may have something else under its number: from
    /// the first source on of which that may be true.
    has_special: bool,
    /// Whether a wait has to see to the beacon, or to what the kernel does not report.
    sees_to_special: bool,
    /// Room for waits with fine timeouts.
    fine: Sets,
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
        Ok(Self {
            instance: create()?,
            front: OnceLock::new(),
            room: Events::LEAST_ROOM,
            always: AlwaysReady::default(),
            lost: Lost::default(),
            beacon: None,
            beacon_number: OnceLock::new(),
            beaconing: false,
            has_special: false,
            sees_to_special: false,
            fine: Sets::default(),
        })
    }

    /// What other selectors watch.
    fn front(&self) -> BorrowedFd<'_> {
        // Without a front the descriptor lasts until the instance is replaced.
        let front = self.front.get().or_else(|| {
            let made = make_front(&self.instance).ok()?;
            Some(self.front.get_or_init(|| made))
        });
        front.unwrap_or(&self.instance).as_fd()
    }

    /// Watches the beacon for READ or for nothing, as what the kernel does not report needs.
    fn keep_beacon(&mut self) -> nix::Result<()> {
        let needed = self.always.is_armed() || self.lost.is_armed();
        self.has_special |= needed;
        self.sees_to_special = needed || self.beaconing;
        if needed != self.beaconing {
            let watch = if needed { ALWAYS } else { NEVER };
            match &self.beacon {
                Some(beacon) => {
                    let number = beacon.as_raw_fd();
                    control(&self.instance, sys::EPOLL_CTL_MOD, number, BEACON, watch)?;
                }
                None => self.make_beacon(watch)?,
            }
            self.beaconing = needed;
            self.sees_to_special = needed;
        }
        Ok(())
    }

    fn make_beacon(&mut self, watch: Watch) -> nix::Result<()> {
        let beacon = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC)?;
        add(&self.instance, beacon.as_raw_fd(), BEACON, watch)?;
        if let Some(number) = self.beacon_number.get() {
            number.store(beacon.as_raw_fd(), Ordering::Relaxed);
        }
        self.beacon = Some(beacon);
        self.has_special = true;
        Ok(())
    }

    /// Registers what the kernel refused, if there is a way.
    #[cold]
    fn register_special(
        &mut self,
        fd: RawSource,
        token: Token,
        watch: Watch,
        error: Errno,
    ) -> io::Result<()> {
        match error {
            // The kernel would not watch it because it never blocks.
            Errno::EPERM => {
                self.always.insert(fd, token, watch)?;
                self.has_special = true;
                Ok(self.keep_beacon().inspect_err(|_| {
                    self.always.remove(fd, token);
                })?)
            }
            // An earlier registration of the same open file under the same number, whose
            // descriptor was closed behind our back and has come back.
            Errno::EEXIST => {
                delete(&self.instance, fd)?;
                Ok(add(&self.instance, fd, token, watch)?)
            }
            error => Err(error.into()),
        }
    }

    /// Modifies a source that is not the kernel's, or is to be exclusive or no longer.
    #[cold]
    fn modify_special(
        &mut self,
        fd: RawSource,
        token: Token,
        old: Watch,
        new: Watch,
    ) -> io::Result<()> {
        if self.always.modify(fd, token, new) {
            return Ok(self.keep_beacon().inspect_err(|_| {
                self.always.modify(fd, token, old);
            })?);
        }
        if self.owns(fd) {
            // The source was closed, and its number has become one of ours.
            return Err(Errno::EBADF.into());
        }
        let exclusive = old.mode == Mode::Exclusive || new.mode == Mode::Exclusive;
        if !exclusive && !self.lost.contains(token) {
            return Ok(control(&self.instance, sys::EPOLL_CTL_MOD, fd, token, new)?);
        }
        Ok(self.exchange(fd, token, old, new)?)
    }

    /// Forgets a source that is not the kernel's. Whether the kernel does not have it.
    #[cold]
    fn unregister_special(&mut self, fd: RawSource, token: Token) -> bool {
        if self.always.remove(fd, token) || self.lost.remove(token) {
            // If the beacon stays, it ends one more wait, which tries again.
            let _ = self.keep_beacon();
            return true;
        }
        // The source was closed, and its number has become one of ours.
        self.owns(fd)
    }

    /// Puts what the kernel does not report in the place of the beacon.
    #[cold]
    fn report_special(&mut self, events: &mut Events) {
        events.list.retain(|event| event.token() != BEACON);
        self.always.report(events);
        if self.lost.is_armed() {
            self.restore(events);
        }
        // If the beacon stays, it ends one more wait, which tries again.
        let _ = self.keep_beacon();
    }

    /// Waits at a resolution that epoll_wait(2) does not have, and then collects.
    #[cold]
    fn wait_fine(&mut self, list: &mut Vec<Event>, timeout: Duration) -> nix::Result<usize> {
        let number = self.instance.as_raw_fd();
        self.fine.set(number, Interest::READ);
        match self.fine.select(Some(timeout)) {
            Ok(0) => Ok(0),
            Ok(_) => wait(&self.instance, list, self.room, 0),
            Err(Errno::EINTR) => Err(Errno::EINTR),
            // No memory for the sets, or a sandbox: by the millisecond, then.
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
            timeout_grain: Duration::from_micros(1),
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
        let before = events.list.len();
        let count = match timeout {
            Some(fine) if fine.subsec_nanos() % NANOS_PER_MILLI != 0 => {
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
            wait_for_rest(&self.instance, &mut events.list);
        }
        self.room = Events::LEAST_ROOM.max(2 * (events.list.len() - before));
        if self.sees_to_special {
            self.report_special(events);
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        Some(self.front())
    }

    #[inline]
    fn owns(&self, fd: RawSource) -> bool {
        let is = |own: &OwnedFd| own.as_raw_fd() == fd;
        is(&self.instance)
            || self.front.get().is_some_and(is)
            || self.beacon.as_ref().is_some_and(|beacon| beacon.as_raw_fd() == fd)
    }

    fn changer(&self) -> io::Result<Option<Box<dyn Changer>>> {
        let instance = self.instance.try_clone()?;
        let number = self.beacon.as_ref().map_or(-1, EventFd::as_raw_fd);
        let beacon = self.beacon_number.get_or_init(|| Arc::new(AtomicI32::new(number)));
        Ok(Some(Box::new(EpollChanger { instance, beacon: Arc::clone(beacon) })))
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        let new = create()?;
        let mut later = Vec::new();
        for source in sources {
            // The number of a source that was closed may be one of ours.
            if self.always.contains(source.fd, source.token) || self.owns(source.fd) {
                continue;
            }
            if source.watch.mode == Mode::Edge {
                self.copy(&new, source)?;
            } else {
                later.push(source);
            }
        }
        // A new instance begins by reporting what is ready. Of an edge-triggered source that is
        // an edge only if the old one has it as well, which is asked last: so none is lost.
        let mut edges = Vec::new();
        while wait(&new, &mut edges, Events::LEAST_ROOM, 0)? > 0 {}
        for source in later {
            self.copy(&new, source)?;
        }
        if let Some(beacon) = &self.beacon {
            let watch = if self.beaconing { ALWAYS } else { NEVER };
            add(&new, beacon.as_raw_fd(), BEACON, watch)?;
        }
        if let Some(front) = self.front.get() {
            add(front, new.as_raw_fd(), BEACON, ALWAYS)?;
            // Closing is not enough where a forked child has a copy.
            let _ = delete(front, self.instance.as_raw_fd());
        }
        let old = mem::replace(&mut self.instance, new);
        self.always.forget_fired();
        self.fine = Sets::default();
        wait_for_rest(&old, &mut events.list);
        Ok(())
    }

    fn after_fork(&mut self) -> io::Result<()> {
        let mut new = Self::new()?;
        if let Some(front) = self.front.get_mut() {
            // It keeps its number, by which another selector may be about to watch it.
            let fresh = make_front(&new.instance)?;
            let (fresh, front) = (fresh.as_raw_fd(), front.as_raw_fd());
            // SAFETY: both are open, and ours.
            Errno::result(unsafe { sys::dup3(fresh, front, sys::EPOLL_CLOEXEC) })?;
            new.front = mem::take(&mut self.front);
        }
        *self = new;
        Ok(())
    }
}

impl Epoll {
    /// Watches in the instance `new` what this one watches. A source that was closed, or whose
    /// number is another file's by now, is left out.
    fn copy(&self, new: &OwnedFd, source: Registered) -> nix::Result<()> {
        let nothing = sys::epoll_event { events: 0, u64: BEACON.to_bits() };
        // The kernel has it if it refuses to have it twice.
        match control_raw(&self.instance, sys::EPOLL_CTL_ADD, source.fd, nothing) {
            Err(Errno::EEXIST) => add(new, source.fd, source.token, source.watch),
            Ok(()) => delete(&self.instance, source.fd),
            // It is closed, or another file that cannot be watched.
            Err(Errno::EBADF | Errno::EPERM | Errno::ELOOP) => Ok(()),
            // No memory, or too many watches: it may be either.
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.front()
    }
}

const NANOS_PER_MILLI: u32 = 1_000_000;

/// How the beacon is watched, and the instance by its front.
const ALWAYS: Watch = Watch::new(Interest::READ, Mode::Level);

/// How the beacon is watched while it is not needed.
const NEVER: Watch = Watch::new(Interest::empty(), Mode::Level);

fn create() -> nix::Result<OwnedFd> {
    // SAFETY: takes a number and returns a descriptor or -1.
    let fd = Errno::result(unsafe { sys::epoll_create1(sys::EPOLL_CLOEXEC) })?;
    // SAFETY: a new descriptor that is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An instance that is readable when `instance` is.
fn make_front(instance: &OwnedFd) -> nix::Result<OwnedFd> {
    let front = create()?;
    add(&front, instance.as_raw_fd(), BEACON, ALWAYS)?;
    Ok(front)
}

/// The result of a call: how many events it has found, where it waits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "errors are small")]
fn count(result: isize) -> nix::Result<usize> {
    usize::try_from(result).map_err(|_| Errno::from_raw(-result as i32))
}

/// epoll_wait(2), which appends to `list` as much as there is room for, and that is `room` at
/// least: the number of events. `timeout` is in milliseconds.
#[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most i32::MAX")]
#[inline(always)]
fn wait(epoll: &OwnedFd, list: &mut Vec<Event>, room: usize, timeout: i32) -> nix::Result<usize> {
    list.reserve(room);
    let spare = list.spare_capacity_mut();
    let most = spare.len().min(sys::MAX_EVENTS as usize) as i32;
    // An `Event` is an `epoll_event`: see `Record`.
    let spare = spare.as_mut_ptr().cast();
    // SAFETY: `spare` points to at least `most` elements that we own.
    let count = count(unsafe { sys::epoll_wait(epoll.as_raw_fd(), spare, most, timeout) })?;
    // SAFETY: the kernel has written that many, and there was room for them.
    unsafe { list.set_len(list.len() + count) };
    Ok(count)
}

/// Whether the kernel may have had more to report than there was room for.
#[inline]
fn is_full(list: &Vec<Event>) -> bool {
    list.len() == list.capacity()
}

/// Appends what has not been collected yet, and perhaps some of what has.
#[cold]
fn wait_for_rest(epoll: &OwnedFd, list: &mut Vec<Event>) {
    loop {
        match wait(epoll, list, Events::LEAST_ROOM.max(2 * list.len()), 0) {
            Ok(_) if is_full(list) => {}
            Err(Errno::EINTR) => {}
            // If it failed, what was found is not lost, and a later wait reports the rest.
            _ => return,
        }
    }
}

#[inline]
fn control(
    epoll: &OwnedFd,
    operation: i32,
    fd: RawSource,
    token: Token,
    watch: Watch,
) -> nix::Result<()> {
    let event = sys::epoll_event { events: to_epoll(watch), u64: token.to_bits() };
    control_raw(epoll, operation, fd, event)
}

#[inline]
fn control_raw(
    epoll: &OwnedFd,
    operation: i32,
    fd: RawSource,
    mut event: sys::epoll_event,
) -> nix::Result<()> {
    // SAFETY: `event` outlives the call; the kernel checks the numbers.
    let result = unsafe { sys::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) };
    count(result).map(drop)
}

#[inline]
fn add(epoll: &OwnedFd, fd: RawSource, token: Token, watch: Watch) -> nix::Result<()> {
    control(epoll, sys::EPOLL_CTL_ADD, fd, token, watch)
}

/// Stops watching `fd`, which need not be watched any more.
#[inline]
fn delete(epoll: &OwnedFd, fd: RawSource) -> nix::Result<()> {
    match delete_raw(epoll, fd) {
        // It was closed, and the number is free, or another file's, or one's that cannot be
        // watched, or the instance's own.
        Err(Errno::EBADF | Errno::ENOENT | Errno::EPERM | Errno::EINVAL) => Ok(()),
        result => result,
    }
}

#[inline]
fn delete_raw(epoll: &OwnedFd, fd: RawSource) -> nix::Result<()> {
    let no_event = ptr::null_mut();
    // SAFETY: deleting reads no event since Linux 2.6.9; the kernel checks the numbers.
    let result = unsafe { sys::epoll_ctl(epoll.as_raw_fd(), sys::EPOLL_CTL_DEL, fd, no_event) };
    count(result).map(drop)
}

#[expect(clippy::cast_sign_loss, reason = "the kernel declares the same bits unsigned")]
#[inline]
fn to_epoll(Watch { interest, mode }: Watch) -> u32 {
    let mode_flags = match mode {
        Mode::Level => 0,
        Mode::OneShot => sys::EPOLLONESHOT,
        Mode::Edge => sys::EPOLLET,
        Mode::Exclusive => sys::EPOLLEXCLUSIVE,
    };
    // The kernel refuses EPOLLEXCLUSIVE with EPOLLRDHUP.
    let closed = interest.contains(Interest::READ) && mode != Mode::Exclusive;
    let closed_flags = if closed { sys::EPOLLRDHUP } else { 0 };
    // The bits of an interest are those of its readiness.
    u32::from(interest.bits()) | (mode_flags | closed_flags) as u32
}

// What the kernel reports is used as it is: see `Readiness`.
const _: () = {
    assert!(Readiness::READ.bits() == sys::EPOLLIN as u32);
    assert!(Readiness::WRITE.bits() == sys::EPOLLOUT as u32);
    assert!(Readiness::PRIORITY.bits() == sys::EPOLLPRI as u32);
    assert!(Readiness::ERROR.bits() == sys::EPOLLERR as u32);
    assert!(Readiness::HANGUP.bits() == sys::EPOLLHUP as u32);
    assert!(Readiness::READ_CLOSED.bits() == sys::EPOLLRDHUP as u32);
};
