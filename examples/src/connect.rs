//! Connecting without waiting for it.

use std::io;
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

#[cfg(unix)]
use crate::unix::in_progress;
#[cfg(windows)]
use crate::windows::in_progress;

/// Begins to connect. The stream becomes writable when [`connected`] knows how it went.
///
/// # Errors
///
/// Those of socket(2), and those of connect(2) that are known at once.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !in_progress(&error) => return Err(error),
        _ => {}
    }
    let _ = socket.set_tcp_nodelay(true);
    Ok(socket.into())
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
