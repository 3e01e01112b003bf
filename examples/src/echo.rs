//! The echo server of Python's `selectors` documentation, done properly.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use selectors::{AnySelector, BackendKind, Events, Interest, Token, Waker};

/// The most that is kept for a client that sends and does not read.
const BACKLOG: usize = 64 * 1024;

/// How long to wait with accepting when the system is out of descriptors, at the most.
const PAUSE: Duration = Duration::from_millis(250);

/// What the server watches.
#[derive(Debug)]
pub enum Source {
    /// The socket that connections arrive at.
    Listener(TcpListener),
    /// One connection.
    Client(Client),
}

/// A connection, and what is still to be sent back over it.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    unsent: Vec<u8>,
    /// Whether the client has shut down its sending half.
    finished: bool,
    echoed: u64,
}

/// What a client is to be watched for next, unless it is done.
pub type Next = Option<Interest>;

impl Client {
    /// A client that has sent nothing yet.
    #[must_use]
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        Self { stream, peer, unsent: Vec::new(), finished: false, echoed: 0 }
    }

    /// The connection.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once, if there is something to read and room for it, and sends what it can.
    ///
    /// # Errors
    ///
    /// Those of the connection, which is done then.
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
        Ok(match (self.unsent.is_empty(), self.wants_more()) {
            (true, true) => Some(Interest::READ),
            (true, false) => None,
            (false, true) => Some(Interest::READ | Interest::WRITE),
            (false, false) => Some(Interest::WRITE),
        })
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

/// What a server did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many connections it accepted.
    pub connections: u64,
    /// How many bytes it sent back.
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
    selector: AnySelector<Source>,
    address: SocketAddr,
    listener: Token,
    /// When to accept again at the latest, while there are no descriptors left to accept with.
    retry: Option<Instant>,
    stop: Arc<AtomicBool>,
    summary: Summary,
}

/// Ends a server from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Stopper {
    /// Makes [`Server::run`] return.
    ///
    /// # Errors
    ///
    /// Those of [`Waker::wake`].
    pub fn stop(&self) -> io::Result<()> {
        self.stop.store(true, Ordering::Release);
        Ok(self.waker.wake()?)
    }
}

impl Server {
    /// A server that listens at `address`.
    ///
    /// # Errors
    ///
    /// Those of binding the address and of making a selector of this kind.
    pub fn bind(address: &str, backend: BackendKind) -> io::Result<Self> {
        let mut selector = AnySelector::new(backend)?;
        let cannot = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        };
        let listener = TcpListener::bind(address).map_err(cannot)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = selector.register(Source::Listener(listener), Interest::READ, ())?;
        Ok(Self {
            selector,
            address,
            listener,
            retry: None,
            stop: Arc::default(),
            summary: Summary::default(),
        })
    }

    /// Where it listens, with the port that the system chose if none was given.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::waker`](selectors::Selector::waker).
    pub fn stopper(&mut self) -> io::Result<Stopper> {
        Ok(Stopper { stop: Arc::clone(&self.stop), waker: self.selector.waker()? })
    }

    /// Serves until it is stopped, telling `log` who comes and goes.
    ///
    /// # Errors
    ///
    /// Those of the selector. What happens to a client ends that client alone.
    pub fn run(&mut self, mut log: impl FnMut(fmt::Arguments<'_>)) -> io::Result<Summary> {
        let mut events = Events::new();
        let mut buffer = vec![0; 16 * 1024];
        while !self.stop.load(Ordering::Acquire) {
            self.selector.select_into_until(&mut events, self.retry)?;
            if self.retry.is_some_and(|retry| retry <= Instant::now()) {
                self.resume()?;
            }
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

    /// Accepts whoever is waiting.
    fn accept(&mut self, log: &mut impl FnMut(fmt::Arguments<'_>)) -> io::Result<()> {
        loop {
            let Some(key) = self.selector.get(self.listener) else { return Ok(()) };
            let Source::Listener(listener) = key.fileobj else { return Ok(()) };
            let accepted = listener.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((stream, peer))
            });
            match accepted {
                Ok((stream, peer)) => {
                    let client = Source::Client(Client::new(stream, peer));
                    match self.selector.register(client, Interest::READ, ()) {
                        Ok(_) => {
                            self.summary.connections += 1;
                            log(format_args!("accepted {peer}"));
                        }
                        // Out of watches or memory, say: the others are served on.
                        Err(error) => log(format_args!("cannot serve {peer}: {error}")),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    // Most likely out of descriptors, and the connection stays pending: watching
                    // on would report it for ever.
                    log(format_args!("cannot accept: {error}"));
                    self.retry = Some(Instant::now() + PAUSE);
                    return Ok(self.selector.modify(self.listener, Interest::empty())?);
                }
            }
        }
    }

    /// Accepts again, if that was paused.
    fn resume(&mut self) -> io::Result<()> {
        if self.retry.take().is_some() {
            self.selector.modify(self.listener, Interest::READ)?;
        }
        Ok(())
    }

    /// Watches a client for what it needs next, or lets it go.
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
        self.resume()
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Whether accepting failed for this one connection: accept(2).
fn is_the_clients(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
