//! sendfile(2) of Linux.

use std::fs::File;
use std::io;
use std::net::TcpStream;

use nix::sys::sendfile::sendfile;

/// Sends at most `count` bytes from a file's current position, and advances it by the bytes sent.
///
/// # Errors
///
/// Those of sendfile(2); `WouldBlock` if the connection accepts nothing.
pub fn send_file(stream: &TcpStream, file: &mut File, count: usize) -> io::Result<usize> {
    Ok(sendfile(stream, file, None, count)?)
}
