//! The echo server of Python's `selectors` documentation, with back-pressure.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use selectors::{AnySelector, BackendKind, Error, Events, Interest, Token, Waker};

use crate::acceptor::{Acceptor, ROUND, listen};
use crate::cli::Stop;
use crate::server::Source;

/// The limit of the buffer for a client that sends and does not read.
const BACKLOG: usize = 64 * 1024;

/// A connection, and the bytes still to be sent back.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    unsent: Vec<u8>,
    /// True after the client has shut down its sending half.
    finished: bool,
    echoed: u64,
}

impl AsRef<TcpStream> for Client {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

/// The next interest in a client, or `None` if it is done.
pub type Next = Option<Interest>;

impl Client {
    /// A new client.
    #[must_use]
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        Self { stream, peer, unsent: Vec::new(), finished: false, echoed: 0 }
    }

    /// Reads once if the client is readable and the buffer has room, and sends as much as it can.
    ///
    /// # Errors
    ///
    /// Those of the connection, which must then be closed.
    pub fn serve(&mut self, readable: bool, buffer: &mut [u8]) -> io::Result<Next> {
        if readable && self.wants_more() {
            match self.stream.read(buffer) {
                Ok(0) => self.finished = true,
                Ok(count) => self.unsent.extend_from_slice(&buffer[..count]),
                Err(error) if is_temporary(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.send()?;
        let read = Interest::READ.when(self.wants_more());
        let next = read | Interest::WRITE.when(!self.unsent.is_empty());
        Ok((!next.is_empty()).then_some(next))
    }

    fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let outcome = loop {
            if sent == self.unsent.len() {
                break Ok(());
            }
            match self.stream.write(&self.unsent[sent..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.unsent.drain(..sent);
        self.echoed += sent as u64;
        outcome
    }

    fn wants_more(&self) -> bool {
        !self.finished && self.unsent.len() < BACKLOG
    }
}

/// The counters of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Accepted connections.
    pub connections: u64,
    /// Bytes sent back.
    pub bytes: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "served {} connections, {} bytes", self.connections, self.bytes)
    }
}

/// An echo server over any backend.
#[derive(Debug)]
pub struct Server {
    selector: AnySelector<Source<Client>>,
    address: SocketAddr,
    acceptor: Acceptor,
    summary: Summary,
}

impl Server {
    /// Creates a server that listens on `address`.
    ///
    /// # Errors
    ///
    /// Those of binding the address and of creating a selector of this kind.
    pub fn bind(address: &str, backend: BackendKind) -> io::Result<Self> {
        let mut selector = AnySelector::new(backend)?;
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let listener = selector.register(Source::Listener(listener), Interest::READ, ())?;
        Ok(Self {
            selector,
            address,
            acceptor: Acceptor::new(listener),
            summary: Summary::default(),
        })
    }

    /// The address on which it listens, with the port that the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a waker that makes [`run`](Self::run) check `stop`.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::waker`](selectors::Selector::waker).
    pub fn waker(&self) -> Result<Waker, Error> {
        self.selector.waker()
    }

    /// Serves until `stop` is set. Logs connections that open and close.
    ///
    /// # Errors
    ///
    /// Those of the selector. An error of a connection closes only that connection.
    pub fn run(
        &mut self,
        stop: &Stop,
        mut log: impl FnMut(fmt::Arguments<'_>),
    ) -> io::Result<Summary> {
        let mut events = Events::new();
        let mut buffer = vec![0; 16 * 1024];
        while !stop.is_set() {
            self.selector.select_into_until(&mut events, self.acceptor.deadline())?;
            self.acceptor.expire(&mut self.selector)?;
            for event in &events {
                let token = event.token();
                match self.selector.get_mut(token).map(|key| key.fileobj) {
                    Some(Source::Client(client)) => {
                        let next = client.serve(event.is_readable(), &mut buffer);
                        self.go_on(token, next, &mut log)?;
                    }
                    Some(Source::Listener(_)) => self.accept(&mut log)?,
                    None => {}
                }
            }
        }
        let open = self.selector.iter().filter_map(|(_, key)| match key.fileobj {
            Source::Client(client) => Some(client.echoed),
            Source::Listener(_) => None,
        });
        self.summary.bytes += open.sum::<u64>();
        Ok(self.summary)
    }

    /// Accepts pending connections, a bounded number at a time.
    fn accept(&mut self, log: &mut impl FnMut(fmt::Arguments<'_>)) -> io::Result<()> {
        for _ in 0..ROUND {
            let (stream, peer) = match self.acceptor.accept(&mut self.selector, usize::MAX) {
                Ok(Some(accepted)) => accepted,
                Ok(None) => break,
                Err(error) => {
                    log(format_args!("cannot accept: {error}"));
                    break;
                }
            };
            let client = Source::Client(Client::new(stream, peer));
            match self.selector.register(client, Interest::READ, ()) {
                Ok(_) => {
                    self.summary.connections += 1;
                    log(format_args!("accepted {peer}"));
                }
                // For example out of memory: the other clients are still served.
                Err(error) => {
                    log(format_args!("cannot serve {peer}: {error}"));
                    return Ok(self.acceptor.pause(&mut self.selector)?);
                }
            }
        }
        Ok(())
    }

    /// Sets the next interest in a client, or closes it.
    fn go_on(
        &mut self,
        token: Token,
        next: io::Result<Next>,
        log: &mut impl FnMut(fmt::Arguments<'_>),
    ) -> io::Result<()> {
        if let Ok(Some(interest)) = next {
            return Ok(self.selector.modify(token, interest)?);
        }
        let (Source::Client(client), ()) = self.selector.unregister(token)? else {
            return Ok(());
        };
        self.summary.bytes += client.echoed;
        let (peer, echoed) = (client.peer, client.echoed);
        match next {
            Err(error) => log(format_args!("closed {peer}: {echoed} bytes echoed, {error}")),
            Ok(_) => log(format_args!("closed {peer}: {echoed} bytes echoed")),
        }
        Ok(self.acceptor.resume(&mut self.selector)?)
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
