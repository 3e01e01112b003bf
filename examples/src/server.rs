//! What servers have in common: a listener among the connections that it accepts.

use std::net::TcpListener;

/// What a server watches.
#[derive(Debug)]
pub enum Source<C> {
    /// The socket that connections arrive at.
    Listener(TcpListener),
    /// One connection and its state.
    Client(C),
}

impl<C> Source<C> {
    /// The connection, if it is one.
    pub fn client_mut(&mut self) -> Option<&mut C> {
        match self {
            Self::Client(client) => Some(client),
            Self::Listener(_) => None,
        }
    }
}
