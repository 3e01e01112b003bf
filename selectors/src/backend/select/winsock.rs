//! Winsock's select: Windows.

use std::ffi::c_int;
use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use selectors_sys::select as sys;

use super::{Backend, BorrowedSource, Capabilities, RawSource, raw};
use crate::index::DescriptorIndex;
use crate::timeout::{Deadline, seconds_and_micros_rounded_up};
use crate::{Event, Events, Interest, Mode, Readiness, Result, Selector, Token, Watch};

/// A selector over select: for sockets on Windows, for every descriptor on Unix.
#[doc(alias = "select")]
pub type SelectSelector<F, T = ()> = Selector<F, T, Select>;

impl<F, T> SelectSelector<F, T> {
    /// A selector over select. Python's `SelectSelector()`.
    ///
    /// # Errors
    ///
    /// Those of WSAStartup.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SelectSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SelectSelector<TcpStream> = SelectSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Result<Self> {
        Selector::open(Select::new)
    }
}

/// How many failed calls a wait makes while other threads close sockets.
const TRIES: usize = 64;

/// The longest sleep without sockets to wait for.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Winsock's select, with sets of any length.
///
/// # Implementation notes
///
/// - The sets have room for as many sockets as there are sources, not for `FD_SETSIZE`. The cost of a
///   wait grows with the number of sources.
/// - A refused connect is reported only in the set for exceptions. That set therefore contains every
///   socket that is not connected, whatever its interest, and those with an interest in PRIORITY. A
///   refused connect is reported as READ and WRITE, not as ERROR: select reports no other error, such
///   as a reset, so the hint is not declared.
/// - Urgent data is PRIORITY; with `SO_OOBINLINE` it is ordinary data.
/// - Without sockets select fails (WSAEINVAL), so the thread sleeps instead. A waker has a socket.
/// - One closed socket makes select fail (WSAENOTSOCK). The backend finds it, reports it as an ERROR,
///   and omits it from another call for the others.
/// - Timeouts have microseconds, but end with a tick of the system's timer: every 15.6 ms, or as fine
///   as every millisecond if a program has requested that.
#[derive(Debug, Default)]
pub struct Select {
    sources: Vec<Source>,
    index: DescriptorIndex,
    sets: Sets,
}

#[derive(Debug)]
struct Source {
    socket: RawSource,
    token: Token,
    watch: Watch,
    /// Whether it is armed: false for a fired one-shot source.
    armed: bool,
    /// Whether it is known to be connected, so that no refused connect can occur.
    connected: bool,
}

impl Select {
    /// Creates a backend without sources.
    ///
    /// # Errors
    ///
    /// Those of WSAStartup.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Select};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(!Select::new()?.capabilities().hangup);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> io::Result<Self> {
        start()?;
        Ok(Self::default())
    }

    fn place(&self, socket: RawSource) -> io::Result<usize> {
        self.index.get(socket).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Waits once. May return early without events.
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.sets.clear();
        for source in self.sources.iter().filter(|source| source.armed) {
            self.sets.add(source);
        }
        if self.sets.is_empty() {
            // Only the timeout can end this: a waker would be a source.
            thread::sleep(timeout.unwrap_or(DAY).min(DAY));
            return Ok(());
        }
        let (first, mut timeout, mut tries) = (events.len(), timeout, 0);
        while let Err(error) = self.sets.select(timeout) {
            if self.report_closed(events) {
                timeout = Some(Duration::ZERO);
            }
            tries += 1;
            // A source that is reported twice is merged. Other threads may go on closing sockets.
            if tries == TRIES && events.len() == first {
                return Err(error);
            }
            if tries == TRIES || self.sets.is_empty() {
                return Ok(());
            }
        }
        self.report(events);
        Ok(())
    }

    /// Appends an event for every socket in a set.
    fn report(&mut self, events: &mut Events) {
        let Self { sources, index, sets } = self;
        let mut report = |set: &Set, readiness: fn(&mut Source) -> Option<Readiness>| {
            for &socket in set.sockets() {
                let place = index.get(from_socket(socket));
                let Some(source) = place.and_then(|place| sources.get_mut(place)) else { continue };
                if let Some(readiness) = readiness(source) {
                    source.report(readiness, events);
                }
            }
        };
        report(&sets.read, |_| Some(Readiness::READ));
        report(&sets.write, |_| Some(Readiness::WRITE));
        report(&sets.except, Source::exception);
    }

    /// Reports the sockets that are not open, and fills the sets with the others. Returns true if any was
    /// reported.
    fn report_closed(&mut self, events: &mut Events) -> bool {
        self.sets.clear();
        let mut found = false;
        for source in self.sources.iter_mut().filter(|source| source.armed) {
            if check_open(source.socket).is_ok() {
                self.sets.add(source);
            } else {
                found = true;
                source.report(Readiness::ERROR, events);
            }
        }
        found
    }
}

impl Source {
    fn report(&mut self, readiness: Readiness, events: &mut Events) {
        events.push(Event::new(self.token, readiness));
        self.armed = self.watch.mode != Mode::OneShot;
    }

    /// The readiness of a source in the set for exceptions, if it is in the interest.
    fn exception(&mut self) -> Option<Readiness> {
        self.connected = is_connected(self.socket);
        let interest = self.watch.interest;
        if !self.connected && interest.intersects(Interest::READ | Interest::WRITE) {
            // A refused connect ends the wait whatever the interest is.
            return Some(Readiness::READ | Readiness::WRITE);
        }
        // Urgent data. A connected source is in that set only for PRIORITY.
        interest.contains(Interest::PRIORITY).then_some(Readiness::PRIORITY)
    }
}

impl Backend for Select {
    fn capabilities(&self) -> Capabilities {
        Capabilities { priority: true, separate_directions: true, ..Capabilities::default() }
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        // `Select::default()` has not called it.
        start()?;
        let socket = raw(source);
        check_open(socket)?;
        let connected = is_connected(socket);
        self.index.insert(socket, self.sources.len());
        self.sources.push(Source { socket, token, watch, armed: true, connected });
        Ok(())
    }

    fn modify(
        &mut self,
        socket: RawSource,
        token: Token,
        _old: Watch,
        new: Watch,
    ) -> io::Result<()> {
        let place = self.place(socket)?;
        let connected = self.sources[place].connected || is_connected(socket);
        self.sources[place] = Source { socket, token, watch: new, armed: true, connected };
        Ok(())
    }

    fn unregister(&mut self, socket: RawSource, _token: Token, _watch: Watch) -> io::Result<()> {
        let place = self.place(socket)?;
        self.index.remove(socket);
        self.sources.swap_remove(place);
        if let Some(moved) = self.sources.get(place) {
            self.index.insert(moved.socket, place);
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let before = events.len();
        let after = |timeout| Deadline::after(timeout, Instant::now());
        let deadline = timeout.map_or(Deadline::Never, after);
        let mut left = timeout;
        // A wait may end early because of urgent data outside the interest, or because the system's timer
        // is ahead of its clock.
        loop {
            self.wait_once(events, left)?;
            left = deadline.remaining(Instant::now);
            if events.len() > before || left.is_none_or(|left| left.is_zero()) {
                return Ok(());
            }
        }
    }
}

/// The sets that are passed to select and that it returns.
#[derive(Debug, Default)]
struct Sets {
    read: Set,
    write: Set,
    except: Set,
}

impl Sets {
    fn clear(&mut self) {
        for set in [&mut self.read, &mut self.write, &mut self.except] {
            set.clear();
        }
    }

    fn is_empty(&self) -> bool {
        [&self.read, &self.write, &self.except].iter().all(|set| set.sockets().is_empty())
    }

    /// Adds a source to the sets of its interest.
    fn add(&mut self, source: &Source) {
        let socket = to_socket(source.socket);
        let interest = source.watch.interest;
        if interest.contains(Interest::READ) {
            self.read.insert(socket);
        }
        if interest.contains(Interest::WRITE) {
            self.write.insert(socket);
        }
        if interest.contains(Interest::PRIORITY) || !source.connected {
            self.except.insert(socket);
        }
    }

    /// select. At least one set must not be empty.
    fn select(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| {
            let (tv_sec, tv_usec) = seconds_and_micros_rounded_up(timeout);
            sys::timeval { tv_sec, tv_usec }
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let read = self.read.as_mut_ptr();
        let write = self.write.as_mut_ptr();
        let except = self.except.as_mut_ptr();
        // SAFETY: each set is a count and at least that many sockets; `timeout` is null or outlives the
        // call.
        let count = unsafe { sys::select(0, read, write, except, timeout) };
        if count == 0 {
            // It is not documented that the sets are empty after a timeout.
            self.clear();
        }
        check(count)
    }
}

/// An `fd_set` of any length: the count, followed by that many sockets.
#[derive(Debug)]
struct Set(Vec<sys::SOCKET>);

impl Default for Set {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Set {
    fn clear(&mut self) {
        self.0.truncate(1);
        self.0[0] = 0;
    }

    fn insert(&mut self, socket: sys::SOCKET) {
        self.0.push(socket);
        self.0[0] += 1;
    }

    fn sockets(&self) -> &[sys::SOCKET] {
        let (count, sockets) = (self.0[0], &self.0[1..]);
        &sockets[..count.min(sockets.len())]
    }

    fn as_mut_ptr(&mut self) -> *mut sys::fd_set {
        self.0.as_mut_ptr().cast()
    }
}

/// Initializes Winsock for this process. The standard library does so only when it creates a socket.
fn start() -> io::Result<()> {
    static STARTED: OnceLock<c_int> = OnceLock::new();
    let started = *STARTED.get_or_init(|| {
        let mut data = sys::WSADATA { opaque: [0; 408] };
        // SAFETY: `data` is ours and writable.
        unsafe { sys::WSAStartup(sys::VERSION, &raw mut data) }
    });
    if started == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(started)) }
}

/// Fails if the socket is not open.
pub(in crate::backend) fn check_open(socket: RawSource) -> io::Result<()> {
    option(socket, sys::SO_TYPE).map(drop)
}

/// Returns true if the socket is connected. `SO_ERROR` is not queried because that would clear it.
fn is_connected(socket: RawSource) -> bool {
    option(socket, sys::SO_CONNECT_TIME).is_ok_and(|seconds| seconds != u32::MAX)
}

/// The value of a 32-bit option of a socket.
fn option(socket: RawSource, name: c_int) -> io::Result<u32> {
    let socket = to_socket(socket);
    let mut value = 0_u32;
    let mut bytes = 4;
    let (to, len) = ((&raw mut value).cast(), &raw mut bytes);
    // SAFETY: `to` has room for `len` bytes, and both are ours and writable.
    let outcome = unsafe { sys::getsockopt(socket, sys::SOL_SOCKET, name, to, len) };
    check(outcome).map(|()| value)
}

fn check(outcome: c_int) -> io::Result<()> {
    if outcome == sys::SOCKET_ERROR {
        return Err(io::Error::from_raw_os_error(sys::WSAGetLastError()));
    }
    Ok(())
}

/// A socket for Winsock's functions.
#[expect(clippy::cast_possible_truncation, reason = "the same number in another type")]
fn to_socket(socket: RawSource) -> sys::SOCKET {
    socket as sys::SOCKET
}

/// A socket of the standard library.
fn from_socket(socket: sys::SOCKET) -> RawSource {
    socket as RawSource
}
