//! The things that have filters: descriptors, user events and timers.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use selectors_sys::kqueue::{EVFILT_READ, EVFILT_WRITE, Filter};

use super::Flavor;
use super::descriptor::{self, Kind, State};
use super::epoll::{control, to_bits};
use super::knote::Knote;
use super::queue::Queue;

/// The filters of one descriptor.
pub(super) struct Watch {
    pub(super) kind: Kind,
    pub(super) serial: u32,
    /// The file, if epoll cannot watch it.
    pub(super) identity: Option<(libc::dev_t, libc::ino_t)>,
    pub(super) read: Option<Knote>,
    pub(super) write: Option<Knote>,
    /// Whether the emulation has made epoll check it again.
    pub(super) forced: bool,
}

pub(super) struct User {
    pub(super) knote: Option<Knote>,
    pub(super) triggered: bool,
    pub(super) fflags: u32,
}

pub(super) struct Timer {
    pub(super) knote: Option<Knote>,
    pub(super) next: Instant,
    pub(super) period: Duration,
}

impl Watch {
    pub(super) fn is_empty(&self) -> bool {
        self.read.is_none() && self.write.is_none()
    }

    /// Returns true if it makes the queue readable, ready or not: `kqueue_poll()` in `kern_event.c` counts
    /// queued filters without checking them (FreeBSD 12.3: recorded; XNU: `kqueue_select()`).
    pub(super) fn is_queued(&self) -> bool {
        [&self.read, &self.write].into_iter().flatten().any(Knote::is_queued)
    }

    pub(super) fn knote(&self, filter: Filter) -> Option<&Knote> {
        if filter == EVFILT_READ { self.read.as_ref() } else { self.write.as_ref() }
    }

    pub(super) fn state(&self, fd: RawFd, filter: Filter) -> State {
        if filter == EVFILT_WRITE {
            return descriptor::writable(fd, self.kind, Flavor::current());
        }
        let mut state = descriptor::readable(fd, self.kind, Flavor::current());
        if self.kind == Kind::Queue && state.ready {
            let ready = Queue::find(fd).map_or(0, |queue| queue.count_ready());
            state.data = isize::try_from(ready.max(1)).unwrap_or(isize::MAX);
        }
        state
    }

    /// Adds a descriptor without filters to epoll.
    pub(super) fn attach(&self, epoll: RawFd, fd: RawFd) -> Result<(), Errno> {
        if self.identity.is_some() {
            return Ok(());
        }
        match control(epoll, libc::EPOLL_CTL_ADD, fd, self.events(), self.user_data(fd)) {
            // A left-over entry of the same file with the same descriptor.
            Err(Errno::EEXIST) => {
                control(epoll, libc::EPOLL_CTL_MOD, fd, self.events(), self.user_data(fd))
            }
            // Directories and some devices. FreeBSD 12.3: recorded of /dev/null. XNU:
            // filt_specattach() in spec_vnops.c, vn_kqfilter() in vfs_vnops.c.
            Err(Errno::EPERM) if Flavor::current() == Flavor::FreeBsd => Err(Errno::ENODEV),
            Err(Errno::EPERM | Errno::ELOOP) => Err(Errno::EINVAL),
            result => result,
        }
    }

    pub(super) fn events(&self) -> u32 {
        let mut events = libc::EPOLLET;
        if self.read.as_ref().is_some_and(Knote::is_enabled) {
            events |= libc::EPOLLIN | libc::EPOLLRDHUP;
        }
        if self.write.as_ref().is_some_and(Knote::is_enabled) {
            events |= libc::EPOLLOUT;
        }
        to_bits(events)
    }

    pub(super) fn user_data(&self, fd: RawFd) -> u64 {
        u64::from(self.serial) << 32 | u64::from(to_bits(fd))
    }
}

impl User {
    pub(super) fn state(&self) -> State {
        State { ready: self.triggered, fflags: self.fflags, ..State::default() }
    }
}

impl Timer {
    /// Ready if it has expired. `data` is how often, since it was last reported.
    pub(super) fn state(&self, now: Instant) -> State {
        let Some(late) = now.checked_duration_since(self.next) else { return State::default() };
        let once = self.knote.as_ref().is_some_and(Knote::fires_once);
        let passed = if once { 1 } else { 1 + late.as_nanos() / self.period.as_nanos() };
        State {
            ready: true,
            data: isize::try_from(passed).unwrap_or(isize::MAX),
            ..State::default()
        }
    }
}
