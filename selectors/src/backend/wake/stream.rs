//! The channel of a waker: two connected sockets.

use std::io::{self, ErrorKind, Read, Write};

use super::kept::Kept;
use super::pair::{Stream, pair};
use super::{BorrowedSource, is_open, raw, source};

/// Two connected sockets. The reading end lives as long as the writing end, so that waking a
/// selector that is gone raises no SIGPIPE.
#[derive(Debug)]
pub(crate) struct Channel {
    reader: Kept<Stream>,
    writer: Kept<Stream>,
}

impl Channel {
    /// The socket buffer holds a few kilobytes.
    pub(crate) const FILLS: bool = true;

    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { reader: Kept::new(reader), writer: Kept::new(writer) })
    }

    pub(crate) fn source(&self) -> BorrowedSource<'_> {
        source(&*self.reader)
    }

    pub(crate) fn notify(&self) -> io::Result<()> {
        match (&*self.writer).write(&[1]) {
            Ok(_) => Ok(()),
            // Full: the unread bytes wake already.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Has no descriptor closed that foreign code has closed.
    pub(crate) fn check_lost(&self) {
        for stream in [&self.reader, &self.writer] {
            if !is_open(raw(source(&**stream))) {
                stream.lose();
            }
        }
    }

    /// Reads all unread bytes.
    ///
    /// # Errors
    ///
    /// The channel is broken: foreign code closed one of its sockets, or shut it down.
    pub(crate) fn drain(&self) -> io::Result<()> {
        let mut bytes = [0; 64];
        loop {
            match (&*self.reader).read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
