//! Accepting connections in a selector's loop: a bounded number at a time, with a limit on the total, and
//! with a pause when the system is out of descriptors.
//!
//! ```
//! use selectors::{DefaultSelector, Events, Interest};
//! use selectors_examples::acceptor::{Acceptor, listen};
//! use std::net::TcpStream;
//! use std::os::fd::OwnedFd;
//!
//! # fn main() -> std::io::Result<()> {
//! let mut selector = DefaultSelector::new()?;
//! let listener = listen("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let listener = selector.register(OwnedFd::from(listener), Interest::READ, ())?;
//! let mut acceptor = Acceptor::new(listener);
//!
//! let client = TcpStream::connect(address)?;
//! let mut events = Events::new();
//! while selector.len() == 1 {
//!     selector.select_into_until(&mut events, acceptor.deadline())?;
//!     acceptor.expire(&mut selector)?;
//!     for event in &events {
//!         if event.token() == listener {
//!             // At most 100 clients at a time.
//!             acceptor.admit(&mut selector, 100, |stream| Ok(OwnedFd::from(stream)))?;
//!         }
//!     }
//! }
//! // When a connection is closed, there is room again.
//! acceptor.resume(&mut selector)?;
//! # Ok(())
//! # }
//! ```

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use selectors::backend::AsSource;
use selectors::{Backend, Error, Interest, Selector, Token};
use socket2::SockRef;

/// The number of connections to accept before other sources have their turn.
pub const ROUND: usize = 64;

/// The requested length of the queue of pending connections, which the system may limit.
const QUEUE: i32 = 4096;

/// The pause after a failed accept. It ends earlier if a connection is closed, which frees a descriptor.
pub const PAUSE: Duration = Duration::from_millis(250);

/// Creates a non-blocking listener, and raises the process's soft limit on descriptors to the hard limit:
/// the usual soft limit of 1,024 exists for programs that use `fd_set`.
///
/// # Errors
///
/// Those of binding, with the address in the message.
pub fn listen(address: &str) -> io::Result<TcpListener> {
    // If it fails, the acceptor pauses when descriptors run out.
    #[cfg(unix)]
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let listener = TcpListener::bind(address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })?;
    listener.set_nonblocking(true)?;
    // The standard library requests 128. When the queue overflows, clients get no answer and retry after
    // a second.
    let _ = SockRef::from(&listener).listen(QUEUE);
    Ok(listener)
}

/// Accepts connections from a listener that is registered with a selector, and parks the listener while
/// it cannot accept.
#[derive(Debug)]
pub struct Acceptor {
    listener: Token,
    parked: bool,
    /// The latest time to accept again after a failure.
    retry: Option<Instant>,
}

impl Acceptor {
    /// Accepts from the source with this token, which must be registered for [`Interest::READ`].
    #[must_use]
    pub fn new(listener: Token) -> Self {
        Self { listener, parked: false, retry: None }
    }

    /// The time at which to call [`expire`](Self::expire), if accepting has failed.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// Returns the next pending connection, made non-blocking, if there is one. If `room` is 0, parks the
    /// listener instead, until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// Those that concern the server and not one connection, most likely that no descriptors are left. The
    /// connection stays pending and every wait would report it, so the listener is parked for [`PAUSE`].
    pub fn accept<F: AsSource, T, B: Backend>(
        &mut self,
        selector: &mut Selector<F, T, B>,
        room: usize,
    ) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        if room == 0 {
            self.park(selector)?;
        }
        // The caller may not know yet that the listener was parked.
        let key = selector.get(self.listener).filter(|_| !self.parked);
        let Some(key) = key else { return Ok(None) };
        let accepted = accept(key.fileobj);
        if accepted.is_err() {
            self.pause(selector)?;
        }
        accepted
    }

    /// Accepts pending connections, at most [`ROUND`] and up to a total of `clients`, and registers each for
    /// [`Interest::READ`].
    ///
    /// # Errors
    ///
    /// Those of [`Selector::modify`]. A connection that cannot be watched is closed.
    pub fn admit<F: AsSource, B: Backend>(
        &mut self,
        selector: &mut Selector<F, (), B>,
        clients: usize,
        mut source: impl FnMut(TcpStream) -> io::Result<F>,
    ) -> Result<Vec<Token>, Error> {
        let mut admitted = Vec::new();
        for _ in 0..ROUND {
            let room = (clients + 1).saturating_sub(selector.len());
            let Ok(Some((stream, _))) = self.accept(selector, room) else { break };
            let registered = source(stream)
                .and_then(|source| Ok(selector.register(source, Interest::READ, ())?));
            match registered {
                Ok(token) => admitted.push(token),
                // For example out of memory: the other clients are still served.
                Err(_) => self.pause(selector)?,
            }
        }
        Ok(admitted)
    }

    /// Parks the listener for [`PAUSE`], for example because an accepted connection could not be served.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::modify`].
    pub fn pause<F, T, B: Backend>(
        &mut self,
        selector: &mut Selector<F, T, B>,
    ) -> Result<(), Error> {
        self.retry = Some(Instant::now() + PAUSE);
        self.park(selector)
    }

    /// Accepts again if [`PAUSE`] is over.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::modify`].
    pub fn expire<F, T, B: Backend>(
        &mut self,
        selector: &mut Selector<F, T, B>,
    ) -> Result<(), Error> {
        if self.retry.is_some_and(|retry| retry <= Instant::now()) {
            self.resume(selector)?;
        }
        Ok(())
    }

    /// Accepts again if the listener was parked. Call it when a connection was closed, which makes room. If
    /// the system refuses to watch the listener, it is tried again after [`PAUSE`].
    ///
    /// # Errors
    ///
    /// Those of [`Selector::modify`], except errors of the system.
    pub fn resume<F, T, B: Backend>(
        &mut self,
        selector: &mut Selector<F, T, B>,
    ) -> Result<(), Error> {
        self.retry = None;
        if self.parked {
            match selector.modify(self.listener, Interest::READ) {
                Ok(()) => self.parked = false,
                Err(Error::Os { .. }) => self.retry = Some(Instant::now() + PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn park<F, T, B: Backend>(&mut self, selector: &mut Selector<F, T, B>) -> Result<(), Error> {
        self.parked = true;
        selector.modify(self.listener, Interest::empty())
    }
}

/// The next pending connection, made non-blocking, if there is one.
///
/// # Errors
///
/// Those that concern the server and not one connection.
pub fn accept(listener: &impl AsSource) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    let listener = SockRef::from(listener);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                // A connection without an address was reset before it was accepted.
                let Some(peer) = peer.as_socket() else { continue };
                stream.set_nonblocking(true)?;
                // Nagle's algorithm would delay the second of two small writes. An error does no harm.
                let _ = stream.set_tcp_nodelay(true);
                return Ok(Some((stream.into(), peer)));
            }
            Err(error) if error.kind() == WouldBlock => return Ok(None),
            // The connection was closed before it was accepted: accept(2).
            Err(error)
                if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selectors::DefaultSelector;
    use selectors_testkit::scripted::Scripted;

    const LONG: Option<Duration> = Some(Duration::from_secs(30));

    /// A listener at which three connections are pending.
    fn three_pending() -> (DefaultSelector<TcpListener>, Acceptor, [TcpStream; 3]) {
        let mut selector = DefaultSelector::new().unwrap();
        let listener = listen("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = selector.register(listener, Interest::READ, ()).unwrap();
        let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        (selector, Acceptor::new(listener), clients)
    }

    #[test]
    fn without_room_the_listener_is_parked_until_there_is_some() {
        let (mut selector, mut acceptor, clients) = three_pending();
        let mut accepted = Vec::new();
        for room in [2, 1, 0, 1] {
            accepted.extend(acceptor.accept(&mut selector, room).unwrap());
        }
        assert_eq!(accepted.len(), 2);
        assert!(acceptor.deadline().is_none());
        assert!(selector.select(Some(Duration::ZERO)).unwrap().is_empty(), "it is parked");
        acceptor.expire(&mut selector).unwrap();
        assert!(selector.select(Some(Duration::ZERO)).unwrap().is_empty(), "nothing has expired");
        acceptor.resume(&mut selector).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1);
        accepted.extend(acceptor.accept(&mut selector, 1).unwrap());
        for (client, (_, peer)) in clients.iter().zip(&accepted) {
            assert_eq!(client.local_addr().unwrap(), *peer);
        }
        assert!(acceptor.accept(&mut selector, 1).unwrap().is_none());
    }

    #[test]
    fn so_many_clients_are_admitted_and_no_more() {
        let mut selector = DefaultSelector::new().unwrap();
        let listener = listen("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener =
            selector.register(socket2::Socket::from(listener), Interest::READ, ()).unwrap();
        let mut acceptor = Acceptor::new(listener);
        let _clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        let source = |stream| Ok(socket2::Socket::from(stream));
        let admitted = acceptor.admit(&mut selector, 2, source).unwrap();
        assert_eq!(admitted.len(), 2);
        assert!(selector.select(Some(Duration::ZERO)).unwrap().is_empty(), "it is parked");
        selector.unregister(admitted[0]).unwrap();
        acceptor.resume(&mut selector).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1);
        assert_eq!(acceptor.admit(&mut selector, 2, source).unwrap().len(), 1);
    }

    #[test]
    fn a_round_ends_however_many_are_waiting() {
        let mut selector = DefaultSelector::new().unwrap();
        let listener = listen("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let source = |stream| Ok(socket2::Socket::from(stream));
        let listener = selector.register(listener.into(), Interest::READ, ()).unwrap();
        let mut acceptor = Acceptor::new(listener);
        let _clients: Vec<_> = (0..=ROUND).map(|_| TcpStream::connect(address).unwrap()).collect();
        for expected in [ROUND, 1] {
            assert_eq!(selector.select(LONG).unwrap()[0].token(), listener);
            let admitted = acceptor.admit(&mut selector, 1000, source).unwrap();
            assert_eq!(admitted.len(), expected);
        }
    }

    #[test]
    fn a_listener_that_the_system_refuses_to_watch_is_tried_again() {
        let (backend, script) = Scripted::new();
        let mut selector = Selector::with_backend(backend);
        let listener = listen("127.0.0.1:0").unwrap();
        let listener = selector.register(listener, Interest::READ, ()).unwrap();
        let mut acceptor = Acceptor::new(listener);
        acceptor.accept(&mut selector, 0).unwrap();
        script.refuse(ErrorKind::StorageFull.into());
        acceptor.resume(&mut selector).unwrap();
        assert!(acceptor.deadline().is_some());
        acceptor.resume(&mut selector).unwrap();
        assert!(acceptor.deadline().is_none());
        assert_eq!(selector.get(listener).unwrap().events, Interest::READ);
        selector.unregister(listener).unwrap();
        acceptor.parked = true;
        assert!(acceptor.resume(&mut selector).is_err(), "the listener is gone");
    }

    #[test]
    fn a_pause_ends_by_itself_or_when_there_is_room() {
        let (mut selector, mut acceptor, _clients) = three_pending();
        for by_itself in [true, false] {
            acceptor.pause(&mut selector).unwrap();
            assert!(acceptor.accept(&mut selector, 1).unwrap().is_none());
            let deadline = acceptor.deadline().expect("it is paused");
            assert!(selector.select(Some(Duration::ZERO)).unwrap().is_empty());
            if by_itself {
                selector.select_until(Some(deadline)).unwrap();
                acceptor.expire(&mut selector).unwrap();
            } else {
                acceptor.resume(&mut selector).unwrap();
            }
            assert!(acceptor.deadline().is_none());
            assert_eq!(selector.select(LONG).unwrap().len(), 1);
        }
    }
}
