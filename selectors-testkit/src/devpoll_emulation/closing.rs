//! Which files are open no more, by any descriptor of any process: an epoll instance drops those.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

use super::device::Identity;

/// Knows of the sockets that it was shown whether they are still open.
#[derive(Debug, Default)]
pub(super) struct Sockets(Option<OwnedFd>);

impl Sockets {
    /// Takes note of a descriptor, if it is a socket's. Whether it is.
    pub(super) fn note(&mut self, fd: RawFd) -> bool {
        if self.0.is_none() {
            // SAFETY: takes a number and returns a descriptor or -1.
            let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
            // SAFETY: a new descriptor that is nobody else's.
            self.0 = (epoll >= 0).then(|| unsafe { OwnedFd::from_raw_fd(epoll) });
        }
        let Some(epoll) = &self.0 else { return false };
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: `event` outlives the call. What it has already is refused, which is as well.
        unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        super::files::is_socket(fd)
    }

    /// Whether a socket that it was shown is open under no number any more.
    pub(super) fn is_gone(&self, (device, inode): Identity) -> bool {
        let Some(epoll) = &self.0 else { return false };
        let path = format!("/proc/self/fdinfo/{}", epoll.as_raw_fd());
        let Ok(entries) = std::fs::read_to_string(path) else { return false };
        let mark = format!("ino:{inode:x} sdev:{device:x}");
        !entries.lines().any(|entry| entry.trim_end().ends_with(&mark))
    }
}
