//! Two connected sockets on a system without socketpair(2): over the loopback interface.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

pub(super) use std::net::TcpStream as Stream;

/// How many strangers may come first.
const STRANGERS: usize = 100;

/// Two sockets that are connected to each other and to nobody else. Any process can connect
/// while the listener is there, so each end has to find its own address at the other.
pub(super) fn pair() -> io::Result<(Stream, Stream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let writer = Stream::connect(listener.local_addr()?)?;
    for _ in 0..STRANGERS {
        let (reader, peer) = listener.accept()?;
        if peer == writer.local_addr()? && reader.local_addr()? == writer.peer_addr()? {
            // Or a second wake would wait until the first was acknowledged.
            writer.set_nodelay(true)?;
            // An accepted socket is inherited by child processes. A clone is not.
            return Ok((reader.try_clone()?, writer));
        }
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}
