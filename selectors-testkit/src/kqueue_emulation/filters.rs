//! The filters of a queue, and changes to them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use selectors_sys::kqueue::{EV_ADD, EVFILT_READ, EVFILT_WRITE, Filter, NOTE_TRIGGER, kevent};

use super::Flavor;
use super::descriptor::{self, Kind};
use super::epoll::{control, watches};
use super::knote::Knote;
use super::queue::Queue;
use super::watch::{Timer, User, Watch};

#[derive(Default)]
pub(super) struct Filters {
    pub(super) watches: HashMap<RawFd, Watch>,
    pub(super) users: BTreeMap<usize, User>,
    pub(super) timers: BTreeMap<usize, Timer>,
    /// Ready filters for which the last list had no space.
    pub(super) overflow: VecDeque<(RawFd, Filter)>,
    /// The last serial number of a watch.
    serial: u32,
    /// Whether the beacon is watched for reading.
    pub(super) beacon: bool,
    /// Counts waits, to vary which filters are reported first, because lists may be short.
    pub(super) turn: usize,
}

impl Filters {
    /// Changes a filter of a descriptor.
    pub(super) fn watch(&mut self, epoll: RawFd, change: &kevent) -> Result<(), Errno> {
        let fd = RawFd::try_from(change.ident).map_err(|_| Errno::EBADF)?;
        if !self.is_current(epoll, fd) {
            self.watches.remove(&fd);
        }
        if !descriptor::is_open(fd) {
            return Err(Errno::EBADF);
        }
        let adds = change.flags & EV_ADD != 0;
        let watched = self.watches.contains_key(&fd);
        if !watched && !adds {
            return Err(Errno::ENOENT);
        }
        if !watched {
            if let Some(errno) = super::DEVICE_ERROR.get().filter(|_| descriptor::is_device(fd)) {
                return Err(Errno::from_raw(errno));
            }
            // FreeBSD 12.3: recorded; tty_kqops in tty.c for a device that is gone. XNU watches it and
            // reports the end-of-file.
            if Flavor::current() != Flavor::MacOs && descriptor::has_hung_up(fd) {
                return Err(Errno::ENXIO);
            }
            let kind = match descriptor::kind(fd) {
                Kind::Other if Queue::find(fd).is_some() => Kind::Queue,
                kind => kind,
            };
            // FreeBSD 12.3: recorded. XNU: kqueue_kqfilter().
            if kind == Kind::Queue && (change.filter == EVFILT_WRITE || fd == epoll) {
                return Err(Errno::EINVAL);
            }
            self.serial = self.serial.wrapping_add(1);
            let identity = (kind == Kind::File).then(|| descriptor::identity(fd)).flatten();
            let watch = Watch {
                kind,
                serial: self.serial,
                identity,
                read: None,
                write: None,
                forced: true,
            };
            watch.attach(epoll, fd)?;
            self.watches.insert(fd, watch);
        }
        let Some(watch) = self.watches.get_mut(&fd) else { return Err(Errno::ENOENT) };
        let is_dead = watch.kind == Kind::Pipe
            && change.filter == EVFILT_WRITE
            && watch.write.is_none()
            && adds
            && descriptor::is_dead_pipe(fd);
        let flavor = Flavor::current();
        let result = match flavor {
            Flavor::FreeBsd if is_dead => Err(Errno::EPIPE),
            Flavor::NetBsd if is_dead => Err(Errno::EBADF),
            _ => {
                let state = watch.state(fd, change.filter);
                let slot =
                    if change.filter == EVFILT_READ { &mut watch.read } else { &mut watch.write };
                let result = Knote::apply(slot, change, flavor);
                if let Some(knote) = slot.as_mut().filter(|knote| knote.wants(state, true)) {
                    knote.queue();
                }
                result
            }
        };
        self.update_epoll(epoll, fd);
        self.update_beacon(epoll);
        result
    }

    /// Returns true if a descriptor refers to the same file as when its filters were added.
    pub(super) fn is_current(&self, epoll: RawFd, fd: RawFd) -> bool {
        let Some(watch) = self.watches.get(&fd) else { return false };
        if watch.identity.is_some() {
            return descriptor::identity(fd) == watch.identity;
        }
        watches(epoll, fd)
    }

    /// Updates epoll's entry for a descriptor to its filters, which makes epoll check it again.
    pub(super) fn update_epoll(&mut self, epoll: RawFd, fd: RawFd) {
        let Some(watch) = self.watches.get_mut(&fd) else { return };
        if watch.identity.is_some() {
            if watch.is_empty() {
                self.watches.remove(&fd);
            }
            return;
        }
        if watch.is_empty() {
            self.watches.remove(&fd);
            let _ = control(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0);
            return;
        }
        watch.forced = true;
        let _ = control(epoll, libc::EPOLL_CTL_MOD, fd, watch.events(), watch.user_data(fd));
    }

    pub(super) fn user(&mut self, epoll: RawFd, change: &kevent) -> Result<(), Errno> {
        const OPERATION: u32 = 0xc000_0000;
        const FLAGS: u32 = 0x00ff_ffff;
        let user = self.users.entry(change.ident).or_insert(User {
            knote: None,
            triggered: false,
            fflags: 0,
        });
        let result = Knote::apply(&mut user.knote, change, Flavor::current());
        if user.knote.is_none() {
            self.users.remove(&change.ident);
        } else if result.is_ok() {
            let given = change.fflags & FLAGS;
            match change.fflags & OPERATION {
                0x4000_0000 => user.fflags &= given,
                0x8000_0000 => user.fflags |= given,
                OPERATION => user.fflags = given,
                _ => {}
            }
            user.triggered |= change.fflags & NOTE_TRIGGER != 0;
        }
        self.update_beacon(epoll);
        result
    }

    pub(super) fn time(&mut self, epoll: RawFd, change: &kevent) -> Result<(), Errno> {
        let count = u64::try_from(change.data).map_err(|_| Errno::EINVAL)?;
        // NOTE_SECONDS, NOTE_USECONDS and NOTE_NSECONDS of libkqueue.
        let period = match change.fflags {
            0 => Duration::from_millis(count),
            1 => Duration::from_secs(count),
            2 => Duration::from_micros(count),
            4 => Duration::from_nanos(count),
            _ => return Err(Errno::EINVAL),
        };
        let period = period.max(Duration::from_nanos(1));
        let adds = change.flags & EV_ADD != 0;
        let next = Instant::now().checked_add(period).ok_or(Errno::EINVAL)?;
        let timer = self.timers.entry(change.ident).or_insert(Timer { knote: None, next, period });
        let result = Knote::apply(&mut timer.knote, change, Flavor::current());
        if timer.knote.is_none() {
            self.timers.remove(&change.ident);
        } else if result.is_ok() && adds {
            (timer.next, timer.period) = (next, period);
        }
        // A waiting thread must compute its timeout again.
        self.set_beacon(epoll, true);
        result
    }
}
