use selectors::{DefaultSelector, Interest};
use std::io::{self, ErrorKind::{ConnectionAborted, WouldBlock}, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

enum Source { Listener(TcpListener), Client(TcpStream) }

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self { Source::Listener(l) => l.as_fd(), Source::Client(c) => c.as_fd() }
    }
}

fn main() -> io::Result<()> {
    let mut selector = DefaultSelector::new()?;
    let listener = TcpListener::bind("127.0.0.1:1234")?;
    listener.set_nonblocking(true)?;
    let listener = selector.register(Source::Listener(listener), Interest::READ, Vec::new())?;
    let mut timeout = None;
    loop {
        let events = selector.select(timeout.take())?;
        selector.modify(listener, Interest::READ)?;
        for event in events {
            let Some(key) = selector.get_mut(event.token()) else { continue };
            match key.fileobj {
                Source::Listener(socket) => match socket.accept() {
                    Ok((client, _)) => {
                        client.set_nonblocking(true)?;
                        selector.register(Source::Client(client), Interest::READ, Vec::new())?;
                    }
                    Err(error) if matches!(error.kind(), WouldBlock | ConnectionAborted) => {}
                    // Too many open files: park the listener for one short wait.
                    Err(_) => {
                        selector.modify(listener, Interest::empty())?;
                        timeout = Some(Duration::from_millis(100));
                    }
                },
                Source::Client(client) => match echo(client, key.data) {
                    Ok(interest) => selector.modify(event.token(), interest)?,
                    Err(_gone) => drop(selector.unregister(event.token())?),
                },
            }
        }
    }
}

/// Reads if nothing is left to send, writes what was read, and returns what to wait for.
fn echo(client: &mut TcpStream, unsent: &mut Vec<u8>) -> io::Result<Interest> {
    if unsent.is_empty() {
        let mut buffer = [0; 4096];
        let count = client.read(&mut buffer)?;
        if count == 0 { return Err(io::ErrorKind::UnexpectedEof.into()) }
        unsent.extend(&buffer[..count]);
    }
    match client.write(unsent) {
        Ok(count) => drop(unsent.drain(..count)),
        Err(error) if error.kind() == WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(if unsent.is_empty() { Interest::READ } else { Interest::WRITE })
}
