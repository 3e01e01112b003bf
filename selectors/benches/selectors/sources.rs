//! The sources that are watched: eventfds, which need only one descriptor each, and pipes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::pipe2;

/// Sources that can be made ready.
pub(crate) struct Counters(Vec<EventFd>);

impl Counters {
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let counters = (0..count).map(|_| Ok(EventFd::from_flags(flags)?));
        counters.collect::<io::Result<_>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }

    /// Makes `count` of them ready, evenly distributed.
    pub(crate) fn make_ready(&self, count: usize) -> io::Result<()> {
        for nth in 0..count {
            self.0[nth * self.0.len() / count].write(1)?;
        }
        Ok(())
    }
}

/// Reads a counter, which makes it idle.
pub(crate) fn drain(counter: BorrowedFd<'_>) -> io::Result<()> {
    nix::unistd::read(counter, &mut [0; 8])?;
    Ok(())
}

/// Sources that are never ready, whatever the interest: the reading ends of pipes.
pub(crate) struct Silent(Vec<(OwnedFd, OwnedFd)>);

impl Silent {
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let pipes = (0..count).map(|_| Ok(pipe2(OFlag::O_CLOEXEC)?));
        pipes.collect::<io::Result<_>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(reader, _)| reader.as_fd())
    }
}
