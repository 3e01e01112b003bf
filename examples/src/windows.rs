//! What is particular to Windows.

use std::os::windows::io::{AsSocket, BorrowedSocket};

use crate::echo::Source;

impl AsSocket for Source {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        match self {
            Self::Listener(listener) => listener.as_socket(),
            Self::Client(client) => client.stream().as_socket(),
        }
    }
}
