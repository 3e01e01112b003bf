//! epoll_ctl(2) while another thread is in epoll_wait(2).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use selectors_sys::epoll as sys;

use super::calls::{add, control, delete};
use crate::backend::{BorrowedSource, Changer, RawSource};
use crate::{Token, Watch};

#[derive(Debug)]
pub(in crate::backend) struct EpollChanger {
    /// A duplicate of the instance's descriptor.
    pub(super) instance: OwnedFd,
    /// The descriptor of the backend's beacon, or -1.
    pub(super) beacon: Arc<AtomicI32>,
}

impl EpollChanger {
    /// Returns true if `fd` is the beacon, whose registration must not change. Its source was closed
    /// then.
    #[inline]
    fn is_beacon(&self, fd: RawSource) -> bool {
        self.beacon.load(Ordering::Relaxed) == fd
    }
}

#[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
impl Changer for EpollChanger {
    #[inline(always)]
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<bool> {
        match add(&self.instance, source.as_raw_fd(), token, watch) {
            Ok(()) => Ok(true),
            // It is always ready, or a descriptor of the backend, or was closed while registered: the
            // backend decides.
            Err(Errno::EPERM | Errno::EEXIST | Errno::EINVAL | Errno::ELOOP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[inline(always)]
    fn modify(&mut self, fd: RawSource, token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        if self.is_beacon(fd) {
            return Err(Errno::EBADF.into());
        }
        Ok(control(&self.instance, sys::EPOLL_CTL_MOD, fd, token, new)?)
    }

    #[inline(always)]
    fn unregister(&mut self, fd: RawSource, _token: Token, _watch: Watch) -> io::Result<()> {
        if self.is_beacon(fd) {
            return Ok(());
        }
        Ok(delete(&self.instance, fd)?)
    }
}
