//! What servers have in common: a listener among the connections that it accepts.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};

/// What a server watches.
#[derive(Debug)]
pub enum Source<C> {
    /// The socket that connections arrive at.
    Listener(TcpListener),
    /// One connection and its state.
    Client(C),
}

/// A listener that does not block.
///
/// # Errors
///
/// Those of binding, with the address.
pub fn listen(address: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The next pending connection, made non-blocking, if there is one.
///
/// # Errors
///
/// Those that concern the server and not one connection, most likely that there are no
/// descriptors left. The connection stays pending: wait a moment before watching again.
pub fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                // What is written in two pieces goes out at once. Without it, it is only slower.
                let _ = stream.set_nodelay(true);
                return Ok(Some(stream));
            }
            Err(error) if error.kind() == WouldBlock => return Ok(None),
            // It went away before it was accepted: accept(2).
            Err(error)
                if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}
