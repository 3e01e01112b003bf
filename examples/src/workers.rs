//! An echo server with a selector for each core, whose workers hand connections to each other.
//!
//! Each worker waits with its own [`SharedSelector`]. An overloaded worker hands a connection to the one
//! with the fewest, by registering it with that worker's selector, also while that one waits: no queue and
//! no waker are needed.

#![expect(missing_debug_implementations, reason = "nobody prints an example")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use selectors::{BackendKind, Events, Interest, Registrar, SharedSelector, Source, Waker};

use crate::acceptor::{PAUSE, accept, listen};

/// The number of connections by which one worker may exceed another.
const UNFAIR: usize = 2;

/// The data of a source.
#[derive(Clone)]
enum Watched {
    Listener,
    Client(Arc<Client>),
}

/// A connection, served by one worker at a time.
#[derive(Default)]
struct Client(Mutex<State>);

#[derive(Default)]
struct State {
    /// `None` after it was closed or handed to another worker.
    source: Option<Source<TcpStream, Watched>>,
    unsent: Vec<u8>,
}

impl Client {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a worker that the others use.
struct Worker {
    registrar: Registrar<Watched>,
    clients: AtomicUsize,
}

/// The counters so far.
#[derive(Debug, Default)]
struct Counters {
    stopped: AtomicBool,
    accepted: AtomicUsize,
    handed_over: AtomicUsize,
}

/// The server, before it runs.
pub struct Server {
    selectors: Vec<SharedSelector<Watched>>,
    workers: Vec<Worker>,
    /// Registered with the first selector.
    listener: Source<TcpListener, Watched>,
    counters: Arc<Counters>,
}

/// Stops a server.
pub struct Stopper {
    wakers: Vec<Waker>,
    counters: Arc<Counters>,
}

/// The counters of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Accepted connections.
    pub accepted: usize,
    /// Connections handed from one worker to another.
    pub handed_over: usize,
}

impl Stopper {
    /// Ends [`Server::run`].
    ///
    /// # Errors
    ///
    /// Those of waking.
    pub fn stop(&self) -> io::Result<()> {
        self.counters.stopped.store(true, Ordering::Release);
        self.wakers.iter().try_for_each(|waker| Ok(waker.wake()?))
    }
}

impl Server {
    /// Creates a server with this many workers, which already listens.
    ///
    /// # Errors
    ///
    /// Those of listening and of creating selectors.
    pub fn bind(address: &str, backend: BackendKind, workers: usize) -> io::Result<Self> {
        let listener = listen(address)?;
        let selectors: Result<Vec<_>, _> =
            (0..workers.max(1)).map(|_| SharedSelector::of_kind(backend)).collect();
        let selectors = selectors?;
        let worker = |selector: &SharedSelector<Watched>| Worker {
            registrar: selector.registrar(),
            clients: AtomicUsize::new(0),
        };
        let workers: Vec<_> = selectors.iter().map(worker).collect();
        let listener =
            workers[0].registrar.register(listener, Interest::READ, Watched::Listener)?;
        Ok(Self { selectors, workers, listener, counters: Arc::default() })
    }

    /// The address on which it listens.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns a handle with which any thread can stop the server.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        let wakers = self.selectors.iter().map(SharedSelector::waker).collect();
        Stopper { wakers, counters: Arc::clone(&self.counters) }
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    ///
    /// Those of waiting.
    pub fn run(self) -> io::Result<Summary> {
        let stopper = self.stopper();
        let Self { selectors, workers, listener, counters } = self;
        let pool = Pool { workers, listener, counters: &counters };
        thread::scope(|scope| {
            let (pool, stopper) = (&pool, &stopper);
            let work = |(own, mut selector): (usize, SharedSelector<Watched>)| {
                scope.spawn(move || {
                    let result = pool.work(own, &mut selector);
                    // A failing worker stops the others, too.
                    result.and(stopper.stop())
                })
            };
            let threads: Vec<_> = selectors.into_iter().enumerate().map(work).collect();
            let panicked = |_| Err(io::Error::other("a worker panicked"));
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
        })?;
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let (accepted, handed_over) = (count(&counters.accepted), count(&counters.handed_over));
        Ok(Summary { accepted, handed_over })
    }
}

/// The state shared by all workers.
struct Pool<'a> {
    workers: Vec<Worker>,
    listener: Source<TcpListener, Watched>,
    counters: &'a Counters,
}

impl Pool<'_> {
    fn work(&self, own: usize, selector: &mut SharedSelector<Watched>) -> io::Result<()> {
        let mut events = Events::new();
        let mut buffer = vec![0; 16 * 1024];
        // When to accept again after a failure.
        let mut retry = None;
        while !self.counters.stopped.load(Ordering::Acquire) {
            selector.select_into_until(&mut events, retry)?;
            if retry.is_some_and(|retry| retry <= Instant::now()) {
                retry = None;
                self.listener.modify(Interest::READ)?;
            }
            for event in &events {
                match selector.get(event.token()) {
                    Some(Watched::Listener) => retry = self.accept(own)?,
                    Some(Watched::Client(client)) => self.serve(own, client, &mut buffer),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// Accepts a connection. After a failure, for example because descriptors ran out, returns when to try
    /// again.
    fn accept(&self, own: usize) -> io::Result<Option<Instant>> {
        if self.admit(own).is_ok() {
            return Ok(None);
        }
        self.listener.park()?;
        Ok(Some(Instant::now() + PAUSE))
    }

    fn admit(&self, own: usize) -> io::Result<()> {
        let Some((stream, _peer)) = accept(&*self.listener)? else { return Ok(()) };
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::default());
        self.adopt(own, &client, &mut client.state(), stream)
    }

    /// Hands a connection to a worker, which may be waiting, or be the caller.
    fn adopt(
        &self,
        worker: usize,
        client: &Arc<Client>,
        state: &mut State,
        stream: TcpStream,
    ) -> io::Result<()> {
        let Worker { registrar, clients } = &self.workers[worker];
        // The worker may receive an event before this returns: it then waits for the lock.
        let watched = Watched::Client(Arc::clone(client));
        state.source = Some(registrar.register(stream, wanted(&state.unsent), watched)?);
        clients.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn serve(&self, own: usize, client: &Arc<Client>, buffer: &mut [u8]) {
        let mut state = client.state();
        let alive = state.echo(buffer).unwrap_or(false);
        let least = (0..self.workers.len()).min_by_key(|&worker| self.clients(worker));
        let least = least.unwrap_or(own);
        if alive && self.clients(own) <= self.clients(least) + UNFAIR {
            return;
        }
        let Some(source) = state.source.take() else { return };
        self.workers[own].clients.fetch_sub(1, Ordering::Relaxed);
        if alive {
            self.counters.handed_over.fetch_add(1, Ordering::Relaxed);
            // A connection that cannot be registered is closed.
            let _ = self.adopt(least, client, &mut state, source.into_inner());
        }
    }

    fn clients(&self, worker: usize) -> usize {
        self.workers[worker].clients.load(Ordering::Relaxed)
    }
}

impl State {
    /// Reads and sends back. Returns false if the connection has ended.
    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(source) = &self.source else { return Ok(true) };
        let mut stream: &TcpStream = source;
        if self.unsent.is_empty() {
            match stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.unsent.extend_from_slice(&buffer[..count]),
                Err(error) if is_temporary(&error) => {}
                Err(error) => return Err(error),
            }
        }
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if is_temporary(&error) => break,
                Err(error) => return Err(error),
            }
        }
        source.modify(wanted(&self.unsent))?;
        Ok(true)
    }
}

fn wanted(unsent: &[u8]) -> Interest {
    if unsent.is_empty() { Interest::READ } else { Interest::WRITE }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
