//! Non-blocking connect.

use std::io;
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

#[cfg(unix)]
use crate::unix as system;
#[cfg(windows)]
use crate::windows as system;

/// Starts a non-blocking connect. When the stream becomes writable, [`connected`] returns the result.
///
/// # Errors
///
/// Those of socket(2), and those that connect(2) returns immediately.
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

/// Returns true if the system is out of descriptors or of memory for sockets: closing something may
/// help.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| system::SHORTAGES.contains(&code))
}

/// Returns true if the stream is connected, and false if the connect is still in progress.
///
/// # Errors
///
/// The error with which the connect failed.
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
