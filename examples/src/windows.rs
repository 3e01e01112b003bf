//! What is particular to Windows.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::windows::io::{AsSocket, BorrowedSocket};

use crate::echo::Source;
use crate::server;

impl AsSocket for Source {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        match self {
            Self::Listener(listener) => listener.as_socket(),
            Self::Client(client) => client.stream().as_socket(),
        }
    }
}

impl<C: AsRef<TcpStream>> AsSocket for server::Source<C> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        match self {
            Self::Listener(listener) => listener.as_socket(),
            Self::Client(client) => client.as_ref().as_socket(),
        }
    }
}

/// Whether connect goes on in the background.
pub(crate) fn in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}
