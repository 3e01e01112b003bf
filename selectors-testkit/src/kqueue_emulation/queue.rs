//! A queue: its filters, and what it says of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use selectors::backend::seconds_and_nanos;
use selectors_sys::kqueue::{
    EV_ADD, EVFILT_READ, EVFILT_TIMER, EVFILT_USER, EVFILT_WRITE, Filter, NOTE_TRIGGER, kevent,
};

use super::Flavor;
use super::descriptor::{self, Kind, State};
use super::knote::{After, Knote};
use super::process::{note, queues};

/// The beacon's mark in epoll events: no descriptor has this number.
const BEACON: u64 = u64::MAX;

pub(super) struct Queue {
    epoll: RawFd,
    filters: Mutex<Filters>,
}

#[derive(Default)]
struct Filters {
    watches: HashMap<RawFd, Watch>,
    users: BTreeMap<usize, User>,
    timers: BTreeMap<usize, Timer>,
    /// Filters that were ready when the list was full.
    owed: VecDeque<(RawFd, Filter)>,
    /// Makes the serial numbers of watches.
    serial: u32,
    /// Whether the beacon is on.
    beacon: bool,
    /// Which side goes first, and which filter of ours: lists may be short.
    turn: usize,
}

/// The filters of one descriptor.
struct Watch {
    kind: Kind,
    serial: u32,
    /// Of a file that epoll does not watch.
    identity: Option<(libc::dev_t, libc::ino_t)>,
    read: Option<Knote>,
    write: Option<Knote>,
    /// Whether epoll was made to look again.
    forced: bool,
}

struct User {
    knote: Option<Knote>,
    triggered: bool,
    fflags: u32,
}

struct Timer {
    knote: Option<Knote>,
    next: Instant,
    period: Duration,
}

/// Readable for ever, for all queues to watch.
pub(super) fn beacon() -> RawFd {
    static BEACON: OnceLock<OwnedFd> = OnceLock::new();
    BEACON
        .get_or_init(|| {
            // SAFETY: takes numbers and returns a descriptor or -1.
            let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC) };
            assert!(fd >= 0, "no descriptor is left for the emulation of kqueue");
            // SAFETY: a new descriptor that is nobody else's.
            unsafe { OwnedFd::from_raw_fd(fd) }
        })
        .as_raw_fd()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn control(epoll: RawFd, operation: i32, fd: RawFd, events: u32, mark: u64) -> Result<(), Errno> {
    let mut event = libc::epoll_event { events, u64: mark };
    // SAFETY: `event` outlives the call.
    Errno::result(unsafe { libc::epoll_ctl(epoll, operation, fd, &raw mut event) }).map(drop)
}

/// Whether an epoll instance has an entry for this descriptor and the file that it means now.
pub(super) fn watches(epoll: RawFd, fd: RawFd) -> bool {
    if let Err(error) = control(epoll, libc::EPOLL_CTL_ADD, fd, 0, BEACON) {
        return error == Errno::EEXIST;
    }
    // It had none.
    let _ = control(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0);
    false
}

impl Queue {
    pub(super) fn create() -> Result<RawFd, Errno> {
        // SAFETY: takes a number and returns a descriptor or -1.
        let epoll = Errno::result(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: a new descriptor that is nobody else's.
        let owned = unsafe { OwnedFd::from_raw_fd(epoll) };
        control(epoll, libc::EPOLL_CTL_ADD, beacon(), 0, BEACON)?;
        let queue = Self { epoll, filters: Mutex::default() };
        lock(&queues().by_descriptor).insert(epoll, Arc::new(queue));
        note(epoll);
        Ok(owned.into_raw_fd())
    }

    /// The queue that has this descriptor, unless it was closed or is another process's.
    pub(super) fn find(fd: RawFd) -> Option<Arc<Self>> {
        let queue = lock(&queues().by_descriptor).get(&fd).cloned()?;
        watches(fd, beacon()).then_some(queue)
    }

    pub(super) fn apply(&self, change: &kevent) -> Result<(), Errno> {
        let mut filters = lock(&self.filters);
        match change.filter {
            EVFILT_READ | EVFILT_WRITE => filters.watch(self.epoll, change),
            EVFILT_TIMER => filters.time(self.epoll, change),
            EVFILT_USER if Flavor::current() != Flavor::NetBsd => filters.user(self.epoll, change),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Waits until the deadline for something to report, and reports at most `room` events.
    pub(super) fn wait(
        &self,
        room: usize,
        deadline: Option<Instant>,
        mut write: impl FnMut(usize, kevent),
    ) -> Result<usize, Errno> {
        let mut count = 0;
        loop {
            let mut filters = lock(&self.filters);
            filters.collect(self.epoll, room, &mut |event| {
                write(count, event);
                count += 1;
            });
            let timer = filters.next_timer();
            drop(filters);
            let now = Instant::now();
            if count > 0 || deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(count);
            }
            let until = deadline.into_iter().chain(timer).min();
            // Not epoll_wait(2), which would take what is ready from other threads.
            poll_until(self.epoll, until.map(|until| until.saturating_duration_since(now)))?;
        }
    }

    /// How many filters are ready: what a queue that watches this one reports.
    fn count_ready(&self) -> usize {
        let filters = lock(&self.filters);
        let ready = |&(&fd, watch): &(&RawFd, &Watch)| {
            [EVFILT_READ, EVFILT_WRITE].map(|filter| {
                let state = watch.state(fd, filter);
                watch.knote(filter).is_some_and(|knote| knote.wants(state, true))
            })
        };
        let descriptors = filters.watches.iter().flat_map(|watch| ready(&watch));
        descriptors.filter(|&ready| ready).count() + filters.own_ready().len()
    }
}

fn poll_until(fd: RawFd, timeout: Option<Duration>) -> Result<(), Errno> {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // Longer ones are cut short, and begun again.
    let time = timeout.map(|timeout| {
        let (tv_sec, tv_nsec) = seconds_and_nanos(timeout);
        libc::timespec { tv_sec, tv_nsec }
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `one` is ours to be written, `time` is null or outlives the call.
    Errno::result(unsafe { libc::ppoll(&raw mut one, 1, time, std::ptr::null()) }).map(drop)
}

impl Filters {
    /// Changes a filter of a descriptor.
    fn watch(&mut self, epoll: RawFd, change: &kevent) -> Result<(), Errno> {
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
            if let Some(errno) = super::DEVICES_ARE.get().filter(|_| descriptor::is_device(fd)) {
                return Err(Errno::from_raw(errno));
            }
            // FreeBSD 12.3: recorded; tty_kqops in tty.c of a device that is gone. XNU watches it
            // and reports its end.
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
        let dead = watch.kind == Kind::Pipe
            && change.filter == EVFILT_WRITE
            && watch.write.is_none()
            && adds
            && descriptor::is_dead_pipe(fd);
        let flavor = Flavor::current();
        let result = match flavor {
            Flavor::FreeBsd if dead => Err(Errno::EPIPE),
            Flavor::NetBsd if dead => Err(Errno::EBADF),
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
        self.keep(epoll, fd);
        self.keep_beacon(epoll);
        result
    }

    /// Whether a number still means the file that it meant when its filters were added.
    fn is_current(&self, epoll: RawFd, fd: RawFd) -> bool {
        let Some(watch) = self.watches.get(&fd) else { return false };
        if watch.identity.is_some() {
            return descriptor::identity(fd) == watch.identity;
        }
        watches(epoll, fd)
    }

    /// Has epoll watch for what the filters of a descriptor need, from now on, and look again.
    fn keep(&mut self, epoll: RawFd, fd: RawFd) {
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
        let _ = control(epoll, libc::EPOLL_CTL_MOD, fd, watch.events(), watch.mark(fd));
    }

    fn user(&mut self, epoll: RawFd, change: &kevent) -> Result<(), Errno> {
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
        self.keep_beacon(epoll);
        result
    }

    fn time(&mut self, epoll: RawFd, change: &kevent) -> Result<(), Errno> {
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
        // Whoever waits has to look at the clock again.
        self.set_beacon(epoll, true);
        result
    }

    fn next_timer(&self) -> Option<Instant> {
        let enabled = |timer: &&Timer| timer.knote.as_ref().is_some_and(Knote::is_enabled);
        self.timers.values().filter(enabled).map(|timer| timer.next).min()
    }

    /// What epoll knows nothing of: which filters of it are ready.
    fn own_ready(&self) -> Vec<(usize, Filter)> {
        let mut ready = Vec::new();
        for (&ident, user) in &self.users {
            if user.knote.as_ref().is_some_and(|knote| knote.wants(user.state(), false)) {
                ready.push((ident, EVFILT_USER));
            }
        }
        let now = Instant::now();
        for (&ident, timer) in &self.timers {
            if timer.knote.as_ref().is_some_and(|knote| knote.wants(timer.state(now), false)) {
                ready.push((ident, EVFILT_TIMER));
            }
        }
        for (&fd, watch) in &self.watches {
            for filter in [EVFILT_READ, EVFILT_WRITE] {
                let Some(knote) = watch.knote(filter) else { continue };
                let file = watch.identity.is_some();
                let pipe = matches!(watch.kind, Kind::Pipe | Kind::Fifo);
                let pipe = pipe && filter == EVFILT_READ && knote.clears();
                if !(file || pipe) {
                    continue;
                }
                let state = watch.state(fd, filter);
                let read_in_part =
                    knote.last.is_some_and(|last| 0 < state.data && state.data < last.data);
                if (file || read_in_part) && knote.wants(state, true) {
                    ready.push((ident(fd), filter));
                }
            }
        }
        ready
    }

    fn knote(&mut self, fd: RawFd, filter: Filter) -> Option<&mut Knote> {
        let watch = self.watches.get_mut(&fd)?;
        if filter == EVFILT_READ { watch.read.as_mut() } else { watch.write.as_mut() }
    }

    /// Takes what is queued from the queue: which filters are reported without being asked.
    fn dequeue(&mut self) -> Vec<(RawFd, Filter)> {
        let mut unasked = Vec::new();
        for (&fd, watch) in &mut self.watches {
            for (filter, knote) in
                [(EVFILT_READ, &mut watch.read), (EVFILT_WRITE, &mut watch.write)]
            {
                if knote.as_mut().is_some_and(|knote| knote.dequeue(Flavor::current())) {
                    unasked.push((fd, filter));
                }
            }
        }
        unasked
    }

    /// Reports what is ready, up to `room` events.
    fn collect(&mut self, epoll: RawFd, room: usize, report: &mut impl FnMut(kevent)) {
        let mut left = room;
        self.set_beacon(epoll, false);
        let unasked = self.dequeue();
        while let Some((fd, filter)) = self.owed.pop_front() {
            if left == 0 {
                self.owed.push_front((fd, filter));
                break;
            }
            self.report(epoll, ident(fd), filter, true, &mut left, report);
        }
        self.turn = self.turn.wrapping_add(1);
        let epoll_first = self.turn % 2 == 0;
        if epoll_first {
            self.collect_from_epoll(epoll, &mut left, report);
        }
        for (fd, filter) in unasked {
            if left > 0 {
                self.report(epoll, ident(fd), filter, false, &mut left, report);
            } else if let Some(knote) = self.knote(fd, filter) {
                knote.queue();
            }
        }
        let mut own = self.own_ready();
        if !own.is_empty() {
            let first = self.turn / 2 % own.len();
            own.rotate_left(first);
        }
        for (ident, filter) in own {
            if left > 0 {
                self.report(epoll, ident, filter, true, &mut left, report);
            }
        }
        if !epoll_first {
            self.collect_from_epoll(epoll, &mut left, report);
        }
        self.keep_beacon(epoll);
    }

    fn collect_from_epoll(
        &mut self,
        epoll: RawFd,
        left: &mut usize,
        report: &mut impl FnMut(kevent),
    ) {
        let mut buffer = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // Level-triggered filters come back at once: none is to be taken twice.
        let mut seen = std::collections::HashSet::new();
        while *left > 0 {
            let room = i32::try_from(buffer.len().min(*left)).unwrap_or(1);
            // SAFETY: `buffer` is ours to be written, and longer than `room`.
            let count = unsafe { libc::epoll_wait(epoll, buffer.as_mut_ptr(), room, 0) };
            let count = usize::try_from(count).unwrap_or(0);
            if count == 0 {
                return;
            }
            let mut again = Vec::new();
            for event in &buffer[..count] {
                let mark = event.u64;
                let fd = RawFd::try_from(mark & u64::from(u32::MAX)).unwrap_or(-1);
                let ours = self.watches.get(&fd).is_some_and(|watch| watch.mark(fd) == mark);
                if !ours {
                    continue;
                }
                if !self.is_current(epoll, fd) {
                    self.watches.remove(&fd);
                    continue;
                }
                if !seen.insert(fd) {
                    again.push(fd);
                    continue;
                }
                self.collect_descriptor(epoll, fd, left, report);
            }
            if !again.is_empty() {
                for fd in again {
                    self.keep(epoll, fd);
                }
                return;
            }
        }
    }

    /// Reports the filters of a descriptor that epoll has told of.
    fn collect_descriptor(
        &mut self,
        epoll: RawFd,
        fd: RawFd,
        left: &mut usize,
        report: &mut impl FnMut(kevent),
    ) {
        let Some(watch) = self.watches.get_mut(&fd) else { return };
        let forced = std::mem::take(&mut watch.forced);
        for filter in [EVFILT_READ, EVFILT_WRITE] {
            let Some(watch) = self.watches.get(&fd) else { return };
            let Some(knote) = watch.knote(filter) else { continue };
            if !knote.wants(watch.state(fd, filter), forced) {
                continue;
            }
            if *left == 0 {
                self.owed.push_back((fd, filter));
                continue;
            }
            self.report(epoll, ident(fd), filter, true, left, report);
        }
    }

    /// Reports one filter, if it is still there and, if it is asked, ready.
    fn report(
        &mut self,
        epoll: RawFd,
        ident: usize,
        filter: Filter,
        asked: bool,
        left: &mut usize,
        report: &mut impl FnMut(kevent),
    ) {
        let flavor = Flavor::current();
        if filter == EVFILT_USER {
            let Some(user) = self.users.get_mut(&ident) else { return };
            let state = user.state();
            let Some(knote) = &mut user.knote else { return };
            let (event, after) = knote.report(state, flavor);
            if knote.clears() {
                (user.triggered, user.fflags) = (false, 0);
            }
            if after == After::Gone {
                self.users.remove(&ident);
            }
            report(event);
        } else if filter == EVFILT_TIMER {
            let now = Instant::now();
            let Some(timer) = self.timers.get_mut(&ident) else { return };
            let state = timer.state(now);
            let Some(knote) = &mut timer.knote else { return };
            let (event, after) = knote.report(state, flavor);
            let passed = u32::try_from(state.data).unwrap_or(u32::MAX);
            timer.next += timer.period * passed;
            if after == After::Gone {
                self.timers.remove(&ident);
            }
            report(event);
        } else {
            let Ok(fd) = RawFd::try_from(ident) else { return };
            if !self.is_current(epoll, fd) {
                self.watches.remove(&fd);
                return;
            }
            let Some(watch) = self.watches.get_mut(&fd) else { return };
            let state = watch.state(fd, filter);
            let slot = if filter == EVFILT_READ { &mut watch.read } else { &mut watch.write };
            let reported = |knote: &&mut Knote| knote.is_enabled() && (state.ready || !asked);
            let Some(knote) = slot.as_mut().filter(reported) else { return };
            let (event, after) = knote.report(state, flavor);
            if after == After::Gone {
                *slot = None;
            }
            if after != After::Wait {
                self.keep(epoll, fd);
            }
            report(event);
        }
        *left -= 1;
    }

    /// Switches the beacon on while there is something to report that epoll knows nothing of.
    fn keep_beacon(&mut self, epoll: RawFd) {
        let queued = self.watches.values().any(Watch::is_queued);
        let on = queued || !self.owed.is_empty() || !self.own_ready().is_empty();
        self.set_beacon(epoll, on);
    }

    fn set_beacon(&mut self, epoll: RawFd, on: bool) {
        let events = if on { to_bits(libc::EPOLLIN) } else { 0 };
        if self.beacon != on {
            self.beacon = on;
            let _ = control(epoll, libc::EPOLL_CTL_MOD, beacon(), events, BEACON);
        }
    }
}

/// The C library declares the flags signed, the kernel unsigned.
fn to_bits(events: i32) -> u32 {
    u32::from_ne_bytes(events.to_ne_bytes())
}

fn ident(fd: RawFd) -> usize {
    usize::try_from(fd).unwrap_or(usize::MAX)
}

impl Watch {
    fn is_empty(&self) -> bool {
        self.read.is_none() && self.write.is_none()
    }

    /// Whether the queue is readable on its account, ready or not: `kqueue_poll()` in
    /// `kern_event.c` counts what is queued and asks none of it (FreeBSD 12.3: recorded; XNU:
    /// `kqueue_select()`).
    fn is_queued(&self) -> bool {
        [&self.read, &self.write].into_iter().flatten().any(Knote::is_queued)
    }

    fn knote(&self, filter: Filter) -> Option<&Knote> {
        if filter == EVFILT_READ { self.read.as_ref() } else { self.write.as_ref() }
    }

    fn state(&self, fd: RawFd, filter: Filter) -> State {
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

    /// Has epoll watch a descriptor that has no filter yet.
    fn attach(&self, epoll: RawFd, fd: RawFd) -> Result<(), Errno> {
        if self.identity.is_some() {
            return Ok(());
        }
        match control(epoll, libc::EPOLL_CTL_ADD, fd, self.events(), self.mark(fd)) {
            // What was left of the same file under the same number.
            Err(Errno::EEXIST) => {
                control(epoll, libc::EPOLL_CTL_MOD, fd, self.events(), self.mark(fd))
            }
            // Directories and some devices. FreeBSD 12.3: recorded of /dev/null. XNU:
            // filt_specattach() in spec_vnops.c, vn_kqfilter() in vfs_vnops.c.
            Err(Errno::EPERM) if Flavor::current() == Flavor::FreeBsd => Err(Errno::ENODEV),
            Err(Errno::EPERM | Errno::ELOOP) => Err(Errno::EINVAL),
            answer => answer,
        }
    }

    fn events(&self) -> u32 {
        let mut events = libc::EPOLLET;
        if self.read.as_ref().is_some_and(Knote::is_enabled) {
            events |= libc::EPOLLIN | libc::EPOLLRDHUP;
        }
        if self.write.as_ref().is_some_and(Knote::is_enabled) {
            events |= libc::EPOLLOUT;
        }
        to_bits(events)
    }

    fn mark(&self, fd: RawFd) -> u64 {
        u64::from(self.serial) << 32 | u64::from(to_bits(fd))
    }
}

impl User {
    fn state(&self) -> State {
        State { ready: self.triggered, fflags: self.fflags, ..State::default() }
    }
}

impl Timer {
    /// How often it has expired since it was reported.
    fn state(&self, now: Instant) -> State {
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
