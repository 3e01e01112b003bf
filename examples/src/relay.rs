//! One end of a forwarded connection: reads into the bounded buffer of the other end, and writes
//! what is in its own.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use selectors::Interest;

/// How much is read at a time.
pub const CHUNK: usize = 32 * 1024;
/// How much may wait to be written to one end: no more is read while more than half is used.
const LIMIT: usize = 2 * CHUNK;

/// One end.
#[derive(Debug)]
pub struct End {
    stream: TcpStream,
    /// What is still to be written here, bounded by [`LIMIT`].
    output: VecDeque<u8>,
    /// Whether nothing more comes from here.
    finished: bool,
    /// Whether nothing more goes there.
    closed: bool,
}

impl End {
    /// A connection that is open both ways, and does not block.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, output: VecDeque::new(), finished: false, closed: false }
    }

    /// The connection.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether all is done in both directions.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.finished && self.closed
    }

    /// Reads once, at most [`CHUNK`], for the other end, if that has room.
    ///
    /// # Errors
    ///
    /// Those of the connection, which is of no more use.
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

    /// Writes once, and passes on that the other end has finished when all is written.
    ///
    /// # Errors
    ///
    /// Those of the connection, which is of no more use.
    pub fn write(&mut self, from: &Self) -> io::Result<()> {
        write_some(&mut self.stream, &mut self.output)?;
        if self.output.is_empty() && from.finished && !self.closed {
            self.stream.shutdown(Shutdown::Write)?;
            self.closed = true;
        }
        Ok(())
    }

    /// What to wait for here: nothing while the other end has to catch up.
    #[must_use]
    pub fn interest(&self, to: &Self) -> Interest {
        let read = !self.finished && to.output.len() <= LIMIT - CHUNK;
        Interest::READ.when(read) | Interest::WRITE.when(!self.output.is_empty())
    }
}

/// `None` where the call would have to wait.
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

/// Writes once of `output`, if there is any, what the connection takes.
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
