//! What is particular to Windows.

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
