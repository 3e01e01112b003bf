//! The descriptor of a queue, and kevent(2).

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::kqueue as sys;

use crate::backend::file::close_on_exec;
use crate::backend::fork;
use crate::timeout::seconds_and_nanos;

/// A queue. A child of fork(2) does not inherit it: its number is free there, or refers to another
/// file. A child therefore neither uses nor closes it.
#[derive(Debug)]
pub(super) struct Queue {
    fd: ManuallyDrop<OwnedFd>,
    generation: u32,
    /// The descriptor of the beacon, or -1: see [`Kqueue`](super::Kqueue).
    beacon: AtomicI32,
}

impl Queue {
    /// Creates a queue, close-on-exec.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes nothing and returns a descriptor or -1.
        let fd = Errno::result(unsafe { sys::kqueue() })?;
        // SAFETY: a new descriptor, owned by nothing else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // A fork in another thread in between does no harm: the child has no queue.
        close_on_exec(fd.as_fd())?;
        let (fd, beacon) = (ManuallyDrop::new(fd), AtomicI32::new(-1));
        Ok(Self { fd, generation: fork::watch(), beacon })
    }

    pub(super) fn set_beacon(&self, fd: Option<RawFd>) {
        self.beacon.store(fd.unwrap_or(-1), Ordering::Relaxed);
    }

    /// Returns true if `fd` is the beacon, whose filter must not change. Its source was closed then.
    pub(super) fn is_beacon(&self, fd: RawFd) -> bool {
        self.beacon.load(Ordering::Relaxed) == fd
    }

    fn is_inherited(&self) -> bool {
        !fork::is_ours(self.generation)
    }

    /// The descriptor. Fails with EBADF in a forked child.
    fn number(&self) -> nix::Result<RawFd> {
        if self.is_inherited() { Err(Errno::EBADF) } else { Ok(self.fd.as_raw_fd()) }
    }

    /// Applies changes in order, waits for events, and writes them to `room`. Does not wait if that is
    /// empty.
    #[inline]
    pub(super) fn wait(
        &self,
        changes: &[sys::kevent],
        room: &mut [sys::kevent],
        timeout: Option<Duration>,
    ) -> nix::Result<usize> {
        // NetBSD and OpenBSD return EINVAL for a time that is out of range, which this is not.
        let timeout = timeout.map(|timeout| {
            let (tv_sec, tv_nsec) = seconds_and_nanos(timeout);
            sys::timespec { tv_sec, tv_nsec }
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let (queue, size) = (self.number()?, to_count(room.len()));
        let (changes, count) = (changes.as_ptr(), to_count(changes.len()));
        let events = room.as_mut_ptr();
        // SAFETY: `changes` points to `count` elements and `events` to `size` others; `timeout`
        // is null or outlives the call.
        let found = unsafe { sys::kevent(queue, changes, count, events, size, timeout) };
        Ok(usize::try_from(Errno::result(found)?).unwrap_or(0))
    }

    /// Applies changes with `EV_RECEIPT`, overwrites them with their receipts, and returns the number of
    /// receipts.
    pub(super) fn submit(&self, changes: &mut [sys::kevent]) -> nix::Result<usize> {
        // Exactly one slot for each change: with fewer the kernel loses receipts, with more it adds
        // events.
        let (queue, count) = (self.number()?, to_count(changes.len()));
        let (list, now) = (changes.as_mut_ptr(), sys::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: `list` points to `count` elements, which the kernel reads before it writes
        // the receipts over them; `now` outlives the call.
        let receipts = unsafe { sys::kevent(queue, list, count, list, count, &raw const now) };
        Ok(usize::try_from(Errno::result(receipts)?).unwrap_or(0).min(changes.len()))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if !self.is_inherited() {
            // SAFETY: it is not used any more.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn to_count(length: usize) -> sys::Count {
    sys::Count::try_from(length).unwrap_or(sys::Count::MAX)
}
