//! The channel beneath a waker: two connected sockets.

use std::io::{self, ErrorKind, Read, Write};

use super::pair::{Stream, pair};
use super::{BorrowedSource, source};

/// Two connected sockets. The reading end lives as long as the writing end, so that waking a
/// selector that is gone raises no SIGPIPE.
#[derive(Debug)]
pub(crate) struct Channel {
    reader: Stream,
    writer: Stream,
}

impl Channel {
    /// It holds a few kilobytes.
    pub(crate) const FILLS: bool = true;

    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { reader, writer })
    }

    pub(crate) fn source(&self) -> BorrowedSource<'_> {
        source(&self.reader)
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
