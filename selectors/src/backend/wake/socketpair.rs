//! The channel beneath a waker: a socket pair.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Two connected sockets. The reading end lives as long as the writing end, so that waking a
/// selector that is gone raises no SIGPIPE.
#[derive(Debug)]
pub(crate) struct Channel {
    reader: UnixStream,
    writer: UnixStream,
}

impl Channel {
    /// It holds a few kilobytes.
    pub(crate) const FILLS: bool = true;

    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { reader, writer })
    }

    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    pub(crate) fn notify(&self) -> io::Result<()> {
        match (&self.writer).write(&[1]) {
            Ok(_) => Ok(()),
            // Full: what is unread already wakes.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.reader).read(&mut bytes), Ok(count) if count == bytes.len()) {}
    }
}
