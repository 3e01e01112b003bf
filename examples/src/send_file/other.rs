//! read and write, on systems without Linux's sendfile(2).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;

/// Sends at most `count` bytes from a file's current position, and advances it by the bytes sent.
///
/// # Errors
///
/// Those of reading the file and of writing; `WouldBlock` if the connection accepts nothing.
pub fn send_file(mut stream: &TcpStream, file: &mut File, count: usize) -> io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let room = buffer.len().min(count);
    let start = file.stream_position()?;
    let count = file.read(&mut buffer[..room])?;
    let sent = stream.write(&buffer[..count]);
    file.seek(SeekFrom::Start(start + sent.as_ref().map_or(0, |sent| *sent as u64)))?;
    sent
}
