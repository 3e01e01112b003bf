//! Detects sockets that no descriptor of any process refers to any more: an epoll instance drops those.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

use super::device::Identity;

/// The sockets that are tracked.
#[derive(Debug, Default)]
pub(super) struct Sockets(Option<OwnedFd>);

impl Sockets {
    /// Tracks a socket. Returns false for another file.
    pub(super) fn track(&mut self, fd: RawFd) -> bool {
        if self.0.is_none() {
            // SAFETY: takes an integer and returns a descriptor or -1.
            let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
            // SAFETY: a new descriptor, owned by nothing else.
            self.0 = (epoll >= 0).then(|| unsafe { OwnedFd::from_raw_fd(epoll) });
        }
        let Some(epoll) = &self.0 else { return false };
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: `event` outlives the call. EEXIST and EPERM do not matter.
        unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        super::files::is_socket(fd)
    }

    /// Returns true if no descriptor refers to a tracked socket any more.
    pub(super) fn is_gone(&self, (device, inode): Identity) -> bool {
        let Some(epoll) = &self.0 else { return false };
        let path = format!("/proc/self/fdinfo/{}", epoll.as_raw_fd());
        let Ok(entries) = std::fs::read_to_string(path) else { return false };
        let mark = format!("ino:{inode:x} sdev:{device:x}");
        !entries.lines().any(|entry| entry.trim_end().ends_with(&mark))
    }
}
