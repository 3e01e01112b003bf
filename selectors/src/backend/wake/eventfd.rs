//! The channel beneath a waker: eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// A counter that another thread can raise.
#[derive(Debug)]
pub(crate) struct Channel(EventFd);

impl Channel {
    /// It would take 2⁶⁴ wakes, or a stranger.
    pub(crate) const FILLS: bool = false;

    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_flags(flags)?))
    }

    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn notify(&self) -> io::Result<()> {
        match self.0.write(1) {
            Ok(_) => Ok(()),
            // Full, so that it must be emptied before there can be an edge.
            Err(Errno::EAGAIN) => {
                self.drain()?;
                self.0.write(1)?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what was sent.
    ///
    /// # Errors
    ///
    /// The channel is broken: somebody closed its descriptor.
    pub(crate) fn drain(&self) -> io::Result<()> {
        match self.0.read() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
