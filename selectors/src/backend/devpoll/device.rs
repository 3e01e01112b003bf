//! The device, and the entries that are written to it.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use selectors_sys::devpoll as sys;

use super::FLAGS;
use crate::Watch;
use crate::backend::RawSource;

/// After so many writes in succession that took no entry, the call fails.
const MAX_EMPTY_WRITES: usize = 16;

/// An open device.
#[derive(Debug)]
pub(super) struct Device(RawSource);

impl Device {
    pub(super) fn open() -> nix::Result<Self> {
        let flags = sys::O_RDWR | sys::O_CLOEXEC;
        // SAFETY: the path is a string that outlives the call.
        let fd = unsafe { sys::open(sys::DEV_POLL.as_ptr(), flags) };
        Errno::result(fd).map(Self)
    }

    /// Writes all entries to the device, in order. If this fails, some may have been applied.
    pub(super) fn write(&self, mut entries: &[sys::pollfd]) -> nix::Result<()> {
        let mut most = entries.len();
        let mut empty_writes = 0;
        while !entries.is_empty() {
            let part = &entries[..most.min(entries.len())];
            // SAFETY: `part` is readable for its size.
            let bytes = unsafe { sys::write(self.0, part.as_ptr().cast(), size_of_val(part)) };
            let taken = match Errno::result(bytes) {
                // A signal while another process was writing.
                Err(Errno::EINTR) => continue,
                // More entries than RLIMIT_NOFILE.
                Err(Errno::EINVAL) if part.len() > 1 => {
                    most = part.len() / 2;
                    continue;
                }
                // An incomplete entry was not applied.
                bytes => usize::try_from(bytes?).unwrap_or(0) / size_of::<sys::pollfd>(),
            };
            empty_writes = if taken == 0 { empty_writes + 1 } else { 0 };
            if empty_writes == MAX_EMPTY_WRITES {
                return Err(Errno::EIO);
            }
            entries = &entries[taken.min(part.len())..];
        }
        Ok(())
    }

    /// Waits, and returns the number of entries that were written to `buffer`.
    pub(super) fn poll(&self, buffer: &mut [sys::pollfd], timeout: i32) -> nix::Result<usize> {
        // SAFETY: all fields are integers and pointers, for which zero is a value.
        let mut dvpoll: sys::dvpoll = unsafe { mem::zeroed() };
        dvpoll.dp_fds = buffer.as_mut_ptr();
        // Not 0, with which the call would only sleep.
        dvpoll.dp_nfds = sys::nfds_t::try_from(buffer.len()).map_err(|_| Errno::EINVAL)?;
        dvpoll.dp_timeout = timeout;
        let argument = (&raw mut dvpoll).cast::<std::ffi::c_void>();
        // SAFETY: `dvpoll` outlives the call, and `dp_fds` points to `dp_nfds` writable entries.
        let count = unsafe { sys::ioctl(self.0, sys::DP_POLL, argument) };
        Ok(usize::try_from(Errno::result(count)?).unwrap_or(0).min(buffer.len()))
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open as long as `self`, which is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: it is our own, and not used again.
        unsafe { sys::close(self.0) };
    }
}

/// A buffer for so many entries.
pub(super) fn buffer(entries: usize) -> Vec<sys::pollfd> {
    vec![sys::pollfd { fd: -1, events: 0, revents: 0 }; entries]
}

/// The entry that removes a descriptor from the set.
pub(super) fn removing(fd: RawSource) -> sys::pollfd {
    sys::pollfd { fd, events: sys::POLLREMOVE, revents: 0 }
}

/// The entries that replace the events of a descriptor in the set. The number is added before it is
/// removed, because removing has no effect if its file was closed, and then its old events would remain.
pub(super) fn adding(fd: RawSource, watch: Watch) -> [sys::pollfd; 3] {
    let added = sys::pollfd { fd, events: FLAGS.of(watch.interest), revents: 0 };
    [added, removing(fd), added]
}
