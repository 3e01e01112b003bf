//! An open device and its calls.

use std::ffi::c_void;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use selectors_sys::devpoll::{self as sys, DP_ISPOLLED, DP_POLL, O_CLOEXEC, O_RDWR, pollfd};

/// An open device, which owns its descriptor.
pub(super) struct Device(pub(super) RawFd);

impl Device {
    pub(super) fn open() -> Self {
        // SAFETY: the path is a string that outlives the call.
        let fd = unsafe { sys::open(sys::DEV_POLL.as_ptr(), O_RDWR | O_CLOEXEC) };
        Self(Errno::result(fd).unwrap())
    }

    pub(super) fn write_bytes(&self, entries: &[pollfd], bytes: usize) -> nix::Result<usize> {
        assert!(bytes <= size_of_val(entries));
        // SAFETY: `entries` are at least as long.
        let result = unsafe { sys::write(self.0, entries.as_ptr().cast(), bytes) };
        Ok(usize::try_from(Errno::result(result)?).unwrap())
    }

    /// Writes `entries`, and expects that all are accepted.
    pub(super) fn write(&self, entries: &[(RawFd, i16)]) -> nix::Result<()> {
        let entries: Vec<_> = entries.iter().map(|&(fd, events)| entry(fd, events)).collect();
        let bytes = size_of_val(entries.as_slice());
        assert_eq!(self.write_bytes(&entries, bytes)?, bytes);
        Ok(())
    }

    pub(super) fn add(&self, fd: impl AsFd, events: i16) {
        self.write(&[(fd.as_fd().as_raw_fd(), events)]).unwrap();
    }

    pub(super) fn poll_into(
        &self,
        buffer: &mut [pollfd],
        room: usize,
        timeout: i32,
    ) -> nix::Result<usize> {
        // SAFETY: all fields are integers and pointers, for which zero is a value.
        let mut dvpoll: sys::dvpoll = unsafe { mem::zeroed() };
        dvpoll.dp_fds = buffer.as_mut_ptr();
        dvpoll.dp_nfds = sys::nfds_t::try_from(room).unwrap();
        dvpoll.dp_timeout = timeout;
        // SAFETY: the caller passes a buffer with space for all ready entries.
        let count = unsafe { sys::ioctl(self.0, DP_POLL, (&raw mut dvpoll).cast::<c_void>()) };
        Ok(usize::try_from(Errno::result(count)?).unwrap())
    }

    /// `DP_POLL`: the ready descriptors and their `revents`.
    pub(super) fn poll(&self, room: usize, timeout: i32) -> nix::Result<Vec<(RawFd, i16)>> {
        let mut buffer = vec![entry(-1, 0); room];
        let count = self.poll_into(&mut buffer, room, timeout)?;
        Ok(buffer[..count].iter().map(|entry| (entry.fd, entry.revents)).collect())
    }

    pub(super) fn ready(&self) -> Vec<(RawFd, i16)> {
        self.poll(16, 0).unwrap()
    }

    /// `DP_ISPOLLED`: the events of a descriptor in the set.
    pub(super) fn is_polled(&self, fd: RawFd) -> Option<i16> {
        let mut polled = entry(fd, 0);
        // SAFETY: `polled` is writable.
        let result = unsafe { sys::ioctl(self.0, DP_ISPOLLED, (&raw mut polled).cast::<c_void>()) };
        assert_eq!(polled.fd, fd);
        (Errno::result(result).unwrap() == 1).then_some(polled.revents)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: it is our own, and not used again.
        unsafe { sys::close(self.0) };
    }
}

pub(super) fn entry(fd: RawFd, events: i16) -> pollfd {
    pollfd { fd, events, revents: 0 }
}
