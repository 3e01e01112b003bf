//! A queue.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use selectors::backend::seconds_and_nanos;
use selectors_sys::kqueue::{EVFILT_READ, EVFILT_TIMER, EVFILT_USER, EVFILT_WRITE, kevent};

use super::Flavor;
use super::epoll::{BEACON, beacon, control, watches};
use super::filters::Filters;
use super::process::{close_in_children, queues};
use super::watch::Watch;

pub(super) struct Queue {
    epoll: RawFd,
    filters: Mutex<Filters>,
}

/// A lock guard. While it exists, all signals are blocked, because a signal handler may call the emulation
/// as well.
struct Locked<'a, T> {
    /// Dropped first.
    guard: MutexGuard<'a, T>,
    _signals: Blocked,
}

fn lock<T>(mutex: &Mutex<T>) -> Locked<'_, T> {
    let signals = Blocked::new();
    Locked { guard: mutex.lock().unwrap_or_else(PoisonError::into_inner), _signals: signals }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// The signals that a thread had blocked before it blocked all.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn new() -> Self {
        // SAFETY: a set consists of integers.
        let (mut all, mut before) = unsafe { mem::zeroed::<(libc::sigset_t, libc::sigset_t)>() };
        // SAFETY: `all` is ours to be written.
        unsafe { libc::sigfillset(&raw mut all) };
        // SAFETY: both outlive the call.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
        Self(before)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set outlives the call.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

impl Queue {
    pub(super) fn create() -> Result<RawFd, Errno> {
        // SAFETY: takes a number and returns a descriptor or -1.
        let epoll = Errno::result(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: a new descriptor, owned by nothing else.
        let owned = unsafe { OwnedFd::from_raw_fd(epoll) };
        control(epoll, libc::EPOLL_CTL_ADD, beacon(), 0, BEACON)?;
        let queue = Self { epoll, filters: Mutex::default() };
        lock(&queues().by_descriptor).insert(epoll, Arc::new(queue));
        close_in_children(epoll);
        Ok(owned.into_raw_fd())
    }

    /// The queue with this descriptor, unless it was closed or belongs to another process.
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

    /// Waits until the deadline for events, and writes at most `room` of them.
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
            // Not epoll_wait(2), which would take events from other threads.
            poll_until(self.epoll, until.map(|until| until.saturating_duration_since(now)))?;
        }
    }

    /// The number of ready filters, which a queue that watches this one reports.
    pub(super) fn count_ready(&self) -> usize {
        let filters = lock(&self.filters);
        let ready = |&(&fd, watch): &(&RawFd, &Watch)| {
            [EVFILT_READ, EVFILT_WRITE].map(|filter| {
                let state = watch.state(fd, filter);
                watch.knote(filter).is_some_and(|knote| knote.wants(state, true))
            })
        };
        let descriptors = filters.watches.iter().flat_map(|watch| ready(&watch));
        descriptors.filter(|&ready| ready).count() + filters.ready_outside_epoll().len()
    }
}

fn poll_until(fd: RawFd, timeout: Option<Duration>) -> Result<(), Errno> {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A longer timeout is cut short; the caller waits again.
    let time = timeout.map(|timeout| {
        let (tv_sec, tv_nsec) = seconds_and_nanos(timeout);
        libc::timespec { tv_sec, tv_nsec }
    });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `one` is ours to be written, `time` is null or outlives the call.
    Errno::result(unsafe { libc::ppoll(&raw mut one, 1, time, ptr::null()) }).map(drop)
}
