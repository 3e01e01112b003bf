//! The sources of a server: a listener, and the connections that it accepted.

use std::net::TcpListener;

/// A source of a server.
#[derive(Debug)]
pub enum Source<C> {
    /// The listening socket.
    Listener(TcpListener),
    /// A connection and its state.
    Client(C),
}

impl<C> Source<C> {
    /// The connection, if this is one.
    pub fn client_mut(&mut self) -> Option<&mut C> {
        match self {
            Self::Client(client) => Some(client),
            Self::Listener(_) => None,
        }
    }
}
