//! What is particular to Unix.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use crate::server::Source;

impl<C: AsRef<TcpStream>> AsFd for Source<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Client(client) => client.as_ref().as_fd(),
        }
    }
}

/// Whether connect(2) goes on in the background.
pub(crate) fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// What socket(2) and connect(2) return when there is too little of something for the moment.
pub(crate) const SHORTAGES: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

/// How much every system writes to a pipe at once: `_POSIX_PIPE_BUF` of `<limits.h>`.
const POSIX_PIPE_BUF: usize = 512;

/// Writes what a pipe is sure to take without blocking when a selector reports it as writable: it
/// need not be non-blocking, which would concern everybody who has it open. What nobody reads any
/// more is lost.
pub fn write_some(mut to: &File, from: &mut Vec<u8>) {
    let some = from.len().min(POSIX_PIPE_BUF);
    let count = match to.write(&from[..some]) {
        Ok(count) => count,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
        Err(_) => some,
    };
    from.drain(..count);
}
