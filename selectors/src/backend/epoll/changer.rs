//! epoll_ctl(2) while another thread is in epoll_wait(2).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use selectors_sys::epoll as sys;

use super::{add, control, delete};
use crate::backend::{BorrowedSource, Changer, RawSource};
use crate::{Token, Watch};

/// A duplicate of the instance's descriptor.
#[derive(Debug)]
pub(super) struct EpollChanger(pub(super) OwnedFd);

impl Changer for EpollChanger {
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<bool> {
        match add(&self.0, source.as_raw_fd(), token, watch) {
            // It is always ready, which the backend sees to.
            Err(Errno::EPERM) => Ok(false),
            // See `Epoll::register`.
            Err(Errno::EEXIST) => {
                delete(&self.0, source.as_raw_fd())?;
                add(&self.0, source.as_raw_fd(), token, watch)?;
                Ok(true)
            }
            answer => Ok(answer.map(|()| true)?),
        }
    }

    fn modify(&mut self, fd: RawSource, token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        Ok(control(&self.0, sys::EPOLL_CTL_MOD, fd, token, new)?)
    }

    fn unregister(&mut self, fd: RawSource, _token: Token, _watch: Watch) -> io::Result<()> {
        Ok(delete(&self.0, fd)?)
    }
}
