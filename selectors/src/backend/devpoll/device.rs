//! The device, and the entries that are written to it.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use selectors_sys::devpoll as sys;

use super::FLAGS;
use crate::Watch;
use crate::backend::RawSource;

/// How often a write may take nothing before that is an error.
const FRUITLESS: usize = 16;

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

    /// Changes the set by all of `entries`, in their order. If it fails, some may have been taken.
    pub(super) fn write(&self, mut entries: &[sys::pollfd]) -> nix::Result<()> {
        let mut most = entries.len();
        let mut fruitless = 0;
        while !entries.is_empty() {
            let part = &entries[..most.min(entries.len())];
            // SAFETY: `part` is readable for as many bytes as it is long.
            let bytes = unsafe { sys::write(self.0, part.as_ptr().cast(), size_of_val(part)) };
            let taken = match Errno::result(bytes) {
                // A signal, while it was another writer's turn.
                Err(Errno::EINTR) => continue,
                // More than RLIMIT_NOFILE.
                Err(Errno::EINVAL) if part.len() > 1 => {
                    most = part.len() / 2;
                    continue;
                }
                // An entry that was cut has not been taken.
                answer => usize::try_from(answer?).unwrap_or(0) / size_of::<sys::pollfd>(),
            };
            fruitless = if taken == 0 { fruitless + 1 } else { 0 };
            if fruitless == FRUITLESS {
                return Err(Errno::EIO);
            }
            entries = &entries[taken.min(part.len())..];
        }
        Ok(())
    }

    /// Waits, and returns how many entries it has filled in.
    pub(super) fn poll(&self, buffer: &mut [sys::pollfd], timeout: i32) -> nix::Result<usize> {
        // SAFETY: all fields are integers and pointers, for which zero is a value.
        let mut dvpoll: sys::dvpoll = unsafe { mem::zeroed() };
        dvpoll.dp_fds = buffer.as_mut_ptr();
        // Never 0: the call would only sleep.
        dvpoll.dp_nfds = sys::nfds_t::try_from(buffer.len()).map_err(|_| Errno::EINVAL)?;
        dvpoll.dp_timeout = timeout;
        let argument = (&raw mut dvpoll).cast::<std::ffi::c_void>();
        // SAFETY: `dvpoll` outlives the call, and its pointer has the room that it states.
        let count = unsafe { sys::ioctl(self.0, sys::DP_POLL, argument) };
        Ok(usize::try_from(Errno::result(count)?).unwrap_or(0).min(buffer.len()))
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open for as long as the device is there, which is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: ours, and not used any more.
        unsafe { sys::close(self.0) };
    }
}

pub(super) fn room(entries: usize) -> Vec<sys::pollfd> {
    vec![sys::pollfd { fd: -1, events: 0, revents: 0 }; entries]
}

pub(super) fn removing(fd: RawSource) -> sys::pollfd {
    sys::pollfd { fd, events: sys::POLLREMOVE, revents: 0 }
}

/// Has the set watch for this and nothing else. Removing alone does not clear the events of a
/// number that was closed when it was last added, since there is nothing to be removed: so it is
/// added before.
pub(super) fn adding(fd: RawSource, watch: Watch) -> [sys::pollfd; 3] {
    let added = sys::pollfd { fd, events: FLAGS.of(watch.interest), revents: 0 };
    [added, removing(fd), added]
}
