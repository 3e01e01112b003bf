//! One end of a forwarded connection: reads into the bounded buffer of the other end, and writes from its
//! own.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use selectors::Interest;

/// The number of bytes read at a time.
pub const CHUNK: usize = 32 * 1024;
/// The limit of a buffer. Reading pauses while more than half of it is used.
const LIMIT: usize = 2 * CHUNK;

/// One end.
#[derive(Debug)]
pub struct End {
    stream: TcpStream,
    /// The bytes still to be written here, bounded by [`LIMIT`].
    output: VecDeque<u8>,
    /// True after end-of-file from here.
    finished: bool,
    /// True after the sending half was shut down.
    closed: bool,
}

impl End {
    /// One end, from a non-blocking connection.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, output: VecDeque::new(), finished: false, closed: false }
    }

    /// The connection.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns true if both directions are finished.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.finished && self.closed
    }

    /// Reads once, at most [`CHUNK`], into the buffer of the other end, if it has room.
    ///
    /// # Errors
    ///
    /// Those of the connection, which must then be closed.
    pub fn read(&mut self, to: &mut Self, buffer: &mut [u8]) -> io::Result<()> {
        if self.finished || to.output.len() > LIMIT - CHUNK {
            return Ok(());
        }
        match ready(self.stream.read(&mut *buffer))? {
            Some(0) => self.finished = true,
            Some(count) => to.output.extend(&buffer[..count]),
            None => {}
        }
        Ok(())
    }

    /// Writes once. When everything is written and the other end is at end-of-file, shuts down the sending
    /// half.
    ///
    /// # Errors
    ///
    /// Those of the connection, which must then be closed.
    pub fn write(&mut self, from: &Self) -> io::Result<()> {
        write_some(&mut self.stream, &mut self.output)?;
        if self.output.is_empty() && from.finished && !self.closed {
            self.stream.shutdown(Shutdown::Write)?;
            self.closed = true;
        }
        Ok(())
    }

    /// The interest here: empty while the buffer of the other end is full.
    #[must_use]
    pub fn interest(&self, to: &Self) -> Interest {
        let read = !self.finished && to.output.len() <= LIMIT - CHUNK;
        Interest::READ.when(read) | Interest::WRITE.when(!self.output.is_empty())
    }
}

/// Turns `WouldBlock` into `None`.
///
/// # Errors
///
/// All others.
pub fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Writes once from `output`, if it is not empty.
///
/// # Errors
///
/// Those of the connection.
pub fn write_some(stream: &mut TcpStream, output: &mut VecDeque<u8>) -> io::Result<()> {
    let (next, _) = output.as_slices();
    if !next.is_empty() {
        let count = ready(stream.write(next))?.unwrap_or(0);
        output.drain(..count);
    }
    Ok(())
}
