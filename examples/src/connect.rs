//! Connecting without waiting for it.

use std::io;
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

#[cfg(unix)]
use crate::unix as system;
#[cfg(windows)]
use crate::windows as system;

/// Begins to connect. The stream becomes writable when [`connected`] knows how it went.
///
/// # Errors
///
/// Those of socket(2), and those of connect(2) that are known at once.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !system::in_progress(&error) => return Err(error),
        _ => {}
    }
    let _ = socket.set_tcp_nodelay(true);
    Ok(socket.into())
}

/// Whether this failed because the system is out of descriptors or of memory for sockets, so that
/// it may work when something was closed.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| system::SHORTAGES.contains(&code))
}

/// Whether the stream is connected by now.
///
/// # Errors
///
/// Why it never will be.
pub fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
