//! An open device, and what it is asked.

use std::ffi::c_void;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use selectors_sys::devpoll::{self as sys, DP_ISPOLLED, DP_POLL, O_CLOEXEC, O_RDWR, pollfd};

/// An open device. Its descriptor belongs to nobody else.
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
        let answer = unsafe { sys::write(self.0, entries.as_ptr().cast(), bytes) };
        Ok(usize::try_from(Errno::result(answer)?).unwrap())
    }

    /// Writes `entries`, and expects all of them to be taken.
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
        // SAFETY: there is room for what is ready, which the caller sees to.
        let count = unsafe { sys::ioctl(self.0, DP_POLL, (&raw mut dvpoll).cast::<c_void>()) };
        Ok(usize::try_from(Errno::result(count)?).unwrap())
    }

    /// What is ready, and for what.
    pub(super) fn poll(&self, room: usize, timeout: i32) -> nix::Result<Vec<(RawFd, i16)>> {
        let mut buffer = vec![entry(-1, 0); room];
        let count = self.poll_into(&mut buffer, room, timeout)?;
        Ok(buffer[..count].iter().map(|entry| (entry.fd, entry.revents)).collect())
    }

    pub(super) fn ready(&self) -> Vec<(RawFd, i16)> {
        self.poll(16, 0).unwrap()
    }

    /// The events that a number is in the set for.
    pub(super) fn is_polled(&self, fd: RawFd) -> Option<i16> {
        let mut asked = entry(fd, 0);
        // SAFETY: `asked` is ours to be written.
        let answer = unsafe { sys::ioctl(self.0, DP_ISPOLLED, (&raw mut asked).cast::<c_void>()) };
        assert_eq!(asked.fd, fd);
        (Errno::result(answer).unwrap() == 1).then_some(asked.revents)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: ours, and not used any more.
        unsafe { sys::close(self.0) };
    }
}

pub(super) fn entry(fd: RawFd, events: i16) -> pollfd {
    pollfd { fd, events, revents: 0 }
}
