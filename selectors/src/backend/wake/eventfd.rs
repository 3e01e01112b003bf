//! The channel of a waker: eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use selectors_sys::descriptor::S_IFMT;

use super::file::fstat;
use super::kept::Kept;

/// A counter that other threads increment.
#[derive(Debug)]
pub(crate) struct Channel(Kept<EventFd>);

impl Channel {
    /// Filling the counter would take 2⁶⁴ wakes, or a write by foreign code.
    pub(crate) const FILLS: bool = false;

    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Kept::new(EventFd::from_flags(flags)?)))
    }

    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn notify(&self) -> io::Result<()> {
        match self.0.write(1) {
            Ok(_) => Ok(()),
            // Full: empty it, because only a change of the counter is an edge.
            Err(Errno::EAGAIN) => {
                self.drain()?;
                self.0.write(1)?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Has the descriptor not closed if foreign code has closed it.
    pub(crate) fn check_lost(&self) {
        let is_other = match fstat(self.source()) {
            // An eventfd has no type.
            Ok(stat) => stat.st_mode & S_IFMT != 0,
            // EOVERFLOW: a file too large for a 32-bit process.
            Err(error) => matches!(error, Errno::EBADF | Errno::EOVERFLOW),
        };
        if is_other {
            self.0.lose();
        }
    }

    /// Resets the counter.
    ///
    /// # Errors
    ///
    /// The channel is broken: its descriptor was closed by foreign code.
    pub(crate) fn drain(&self) -> io::Result<()> {
        match self.0.read() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
