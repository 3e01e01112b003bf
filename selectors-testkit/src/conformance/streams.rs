//! The streams that many cases try in turn.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::fixtures::{tcp_pair, unix_pair};

/// A stream socket of either family.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(std::os::unix::net::UnixStream),
    Tcp(std::net::TcpStream),
}

/// A connected pair of each family, with its name.
pub(crate) fn stream_pairs() -> io::Result<[(&'static str, Stream, Stream); 2]> {
    let (ours, theirs) = unix_pair()?;
    let (ours_tcp, theirs_tcp) = tcp_pair()?;
    Ok([
        ("unix", Stream::Unix(ours), Stream::Unix(theirs)),
        ("TCP", Stream::Tcp(ours_tcp), Stream::Tcp(theirs_tcp)),
    ])
}

/// Whether poll(2) finds `fd` ready for `flags` within `timeout` milliseconds: what a backend's
/// answer can be held against where bytes are moved by a network that takes its time.
pub(crate) fn is_ready(fd: impl AsFd, flags: PollFlags, timeout: u16) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), flags)];
    Ok(poll(&mut fds, PollTimeout::from(timeout))? != 0)
}

impl Stream {
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&*stream).read(buffer),
            Stream::Tcp(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&*stream).write(bytes),
            Stream::Tcp(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
