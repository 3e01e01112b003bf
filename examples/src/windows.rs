//! Functions for Windows.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::windows::io::{AsSocket, BorrowedSocket};

use crate::server::Source;

impl<C: AsRef<TcpStream>> AsSocket for Source<C> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        match self {
            Self::Listener(listener) => listener.as_socket(),
            Self::Client(client) => client.as_ref().as_socket(),
        }
    }
}

/// Returns true if connect continues in the background.
pub(crate) fn in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// The errors for a temporary lack of resources: WSAEMFILE and WSAENOBUFS.
pub(crate) const SHORTAGES: [i32; 2] = [10_024, 10_055];
