//! Two connected sockets on a system without socketpair(2): over the loopback interface.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

pub(super) use std::net::TcpStream as Stream;

/// How many connections of other processes are rejected before giving up.
const STRANGERS: usize = 100;

/// Two sockets that are connected to each other. Any process can connect to the listener, so each end
/// must have the other's address as its peer.
pub(super) fn pair() -> io::Result<(Stream, Stream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let writer = Stream::connect(listener.local_addr()?)?;
    for _ in 0..STRANGERS {
        let (reader, peer) = listener.accept()?;
        if peer == writer.local_addr()? && reader.local_addr()? == writer.peer_addr()? {
            // Otherwise a second wake would be delayed until the first is acknowledged.
            writer.set_nodelay(true)?;
            // Child processes inherit an accepted socket, but not a clone.
            return Ok((reader.try_clone()?, writer));
        }
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}
