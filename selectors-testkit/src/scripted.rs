//! A backend that does what a test tells it, to try an event loop without a kernel.
//!
//! [`Scripted`] is a [`Backend`] whose every wait plays the next step of a [`Script`]: some
//! sources become ready, the timeout passes, a signal interrupts, the kernel fails. Its clock is
//! part of the script as well: time passes when a step says so, so a test of an hour's idle
//! timeout takes no time, and always goes the same way.
//!
//! Sources are named by their file objects, which need a descriptor but no peer: an end of a
//! socket pair will do, and lets the test read what the program has written. A source that the
//! program makes itself, such as a connection that it accepts, is named by the order in which it was
//! registered: [`Script::ready_nth`].
//!
//! Timers are part of the script if the program takes the time from
//! [`Selector::now`](selectors::Selector::now) and not from [`Instant::now`].
//!
//! # Examples
//!
//! A loop that greets who connects and hangs up after a minute of silence, and the test of its
//! logic:
//!
//! ```
//! use selectors::{Backend, Interest, Readiness, Selector};
//! use selectors_testkit::scripted::{Call, Scripted};
//! use std::io::{self, Read, Write};
//! use std::os::unix::net::UnixStream;
//! use std::time::Duration;
//!
//! const MINUTE: Duration = Duration::from_secs(60);
//!
//! /// The program: echoes what comes, and ends after a minute in which nothing came.
//! fn serve<B: Backend>(selector: &mut Selector<UnixStream, (), B>) -> io::Result<usize> {
//!     let mut echoed = 0;
//!     loop {
//!         let events = selector.select(Some(MINUTE))?;
//!         if events.is_empty() {
//!             return Ok(echoed);
//!         }
//!         for event in events {
//!             let Some(key) = selector.get_mut(event.token()) else { continue };
//!             let mut buffer = [0; 16];
//!             let count = key.fileobj.read(&mut buffer)?;
//!             key.fileobj.write_all(&buffer[..count])?;
//!             echoed += count;
//!         }
//!     }
//! }
//!
//! # fn main() -> io::Result<()> {
//! let (ours, mut theirs) = UnixStream::pair()?;
//! theirs.write_all(b"hello")?;
//!
//! let (backend, script) = Scripted::new();
//! script.ready(&ours, Readiness::READ);
//! script.interrupted(MINUTE / 2); // a signal after half a minute: the wait goes on
//! script.timeout();
//!
//! let mut selector = Selector::with_backend(backend);
//! selector.register(ours, Interest::READ, ())?;
//! let begin = script.now();
//! assert_eq!(serve(&mut selector)?, 5);
//! assert_eq!(script.now() - begin, MINUTE, "of the script's time, and none of ours");
//! let waits = script.calls().into_iter().filter_map(|call| match call {
//!     Call::Wait { timeout } => timeout,
//!     _ => None,
//! });
//! assert_eq!(waits.collect::<Vec<_>>(), [MINUTE, MINUTE, MINUTE / 2]);
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selectors::backend::{AsSource, BorrowedSource, Capabilities, RawSource, Trigger};
use selectors::{Backend, Event, Events, Readiness, Token, Waker, Watch};

use crate::fixtures::number_of;

/// What a wait takes at the least while time passes.
const LOOK: Duration = Duration::from_micros(1);

/// A call that was made of a [`Scripted`] backend.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// A source was registered, or refused by the script.
    Register {
        /// Its descriptor.
        fd: RawSource,
        /// What for.
        watch: Watch,
    },
    /// A source was modified, or the script refused it.
    Modify {
        /// Its descriptor.
        fd: RawSource,
        /// What for from now on.
        watch: Watch,
    },
    /// A source was unregistered.
    Unregister {
        /// Its descriptor.
        fd: RawSource,
    },
    /// A step of the script was asked for.
    Wait {
        /// For how long at the most.
        timeout: Option<Duration>,
    },
}

/// How a script names a source.
#[derive(Debug, Clone, Copy)]
enum Named {
    /// By its descriptor.
    Descriptor(RawSource),
    /// By how many were registered before it.
    Nth(usize),
}

#[derive(Debug)]
enum Step {
    Ready(Vec<(Named, Readiness)>),
    Timeout,
    Interrupted(Duration),
    Fail(io::Error),
    Pass(Duration),
    Wake(Waker),
}

#[derive(Debug)]
struct State {
    steps: VecDeque<Step>,
    refusals: VecDeque<io::Error>,
    watched: BTreeMap<RawSource, Token>,
    /// Each source once, in the order in which they were registered.
    registered: Vec<Token>,
    calls: Vec<Call>,
    now: Instant,
    waker: Option<Token>,
    woken: bool,
}

/// A backend that plays a [`Script`]: see the [module's documentation](self).
#[derive(Debug)]
pub struct Scripted {
    state: Arc<Mutex<State>>,
    capabilities: Capabilities,
}

/// What a [`Scripted`] backend is to do, and what was asked of it. Clones share one script.
///
/// Each wait plays one step, those of [`pass`](Self::pass) aside. When no step is left, a wait
/// fails with [`io::ErrorKind::UnexpectedEof`] instead of waiting for ever.
#[derive(Debug, Clone)]
pub struct Script {
    state: Arc<Mutex<State>>,
}

impl Scripted {
    /// A backend and its script, with every capability.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Selector;
    /// use selectors_testkit::scripted::Scripted;
    /// use std::fs::File;
    /// use std::time::Duration;
    ///
    /// let (backend, script) = Scripted::new();
    /// let mut selector: Selector<File, (), Scripted> = Selector::with_backend(backend);
    /// script.timeout();
    /// assert!(selector.select(Some(Duration::from_secs(3600))).unwrap().is_empty());
    /// assert!(selector.select(None).is_err(), "the script has ended");
    /// ```
    #[must_use]
    pub fn new() -> (Self, Script) {
        let mut capabilities = Capabilities::default();
        capabilities.edge = true;
        capabilities.exclusive = true;
        capabilities.priority = true;
        capabilities.read_closed = true;
        capabilities.hangup = true;
        capabilities.error = true;
        capabilities.write_hangup = true;
        capabilities.timeout_grain = Duration::from_nanos(1);
        Self::with_capabilities(capabilities)
    }

    /// A backend and its script, with these capabilities and no others. `nesting` is none that
    /// it can have.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Capabilities, Interest, Mode, Selector};
    /// use selectors_testkit::scripted::Scripted;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (backend, _script) = Scripted::with_capabilities(Capabilities::default());
    /// let mut selector = Selector::with_backend(backend);
    /// let file = selectors_testkit::fixtures::null_device()?;
    /// assert!(selector.register_with(file, Interest::READ, (), Mode::Edge).is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_capabilities(mut capabilities: Capabilities) -> (Self, Script) {
        capabilities.nesting = false;
        let state = Arc::new(Mutex::new(State {
            steps: VecDeque::new(),
            refusals: VecDeque::new(),
            watched: BTreeMap::new(),
            registered: Vec::new(),
            calls: Vec::new(),
            now: Instant::now(),
            waker: None,
            woken: false,
        }));
        let script = Script { state: Arc::clone(&state) };
        (Self { state, capabilities }, script)
    }
}

impl Script {
    /// Next, this source is ready. Steps that say so in a row are one each: for several sources
    /// at once there is [`all_ready`](Self::all_ready).
    ///
    /// A source that is not registered when its step is played makes the wait fail with
    /// [`io::ErrorKind::NotFound`].
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Readiness, Selector};
    /// use selectors_testkit::{fixtures::pair, scripted::Scripted};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = pair()?;
    /// let (backend, script) = Scripted::new();
    /// let mut selector = Selector::with_backend(backend);
    /// selector.register(&ours, Interest::READ, ())?;
    /// script.ready(&ours, Readiness::READ | Readiness::READ_CLOSED);
    /// assert!(selector.select(None)?[0].readiness().contains(Readiness::READ_CLOSED));
    /// # Ok(())
    /// # }
    /// ```
    pub fn ready<S: AsSource + ?Sized>(&self, source: &S, readiness: Readiness) {
        self.all_ready([(source, readiness)]);
    }

    /// Next, these sources are ready, in this order.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Readiness, Selector};
    /// use selectors_testkit::{fixtures::unix_pair, scripted::Scripted};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (one, two) = unix_pair()?;
    /// let (backend, script) = Scripted::new();
    /// script.all_ready([(&two, Readiness::READ), (&one, Readiness::HANGUP)]);
    /// let mut selector = Selector::with_backend(backend);
    /// selector.register(one, Interest::READ, 1)?;
    /// selector.register(two, Interest::READ, 2)?;
    /// let events = selector.select(None)?;
    /// let data: Vec<_> = events.iter().map(|e| *selector.get(e.token()).unwrap().data).collect();
    /// assert_eq!(data, [2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn all_ready<'a, S: AsSource + ?Sized + 'a>(
        &self,
        sources: impl IntoIterator<Item = (&'a S, Readiness)>,
    ) {
        let named = |source| Named::Descriptor(number_of(source));
        let sources = sources.into_iter().map(|(source, readiness)| (named(source), readiness));
        self.push(Step::Ready(sources.collect()));
    }

    /// Next, the source that was registered as the `index`-th, counted from zero, is ready: for one
    /// that the program itself makes, so that the test does not have it. Every source counts once,
    /// also after it was unregistered; one whose registration was refused does not.
    ///
    /// If it is not registered when its step is played, the wait fails with
    /// [`io::ErrorKind::NotFound`].
    ///
    /// # Examples
    ///
    /// A loop that accepts, reduced to two rounds:
    ///
    /// ```
    /// use selectors::{Interest, Readiness, Selector};
    /// use selectors_testkit::scripted::Scripted;
    /// use std::net::{TcpListener, TcpStream};
    /// use std::os::fd::OwnedFd;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let _client = TcpStream::connect(listener.local_addr()?)?;
    /// let (backend, script) = Scripted::new();
    /// script.ready_nth(0, Readiness::READ); // the listener
    /// script.ready_nth(1, Readiness::READ); // the connection
    ///
    /// let mut selector: Selector<OwnedFd, &str, _> = Selector::with_backend(backend);
    /// selector.register(listener.try_clone()?.into(), Interest::READ, "listener")?;
    /// for expected in ["listener", "connection"] {
    ///     let events = selector.select(None)?;
    ///     let key = selector.get(events[0].token()).unwrap();
    ///     assert_eq!(*key.data, expected);
    ///     if *key.data == "listener" {
    ///         let (connection, _) = listener.accept()?;
    ///         selector.register(connection.into(), Interest::READ, "connection")?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn ready_nth(&self, index: usize, readiness: Readiness) {
        self.all_ready_nth([(index, readiness)]);
    }

    /// Next, the sources that were registered as these are ready, in this order: see
    /// [`ready_nth`](Self::ready_nth).
    pub fn all_ready_nth(&self, sources: impl IntoIterator<Item = (usize, Readiness)>) {
        let sources = sources.into_iter().map(|(nth, readiness)| (Named::Nth(nth), readiness));
        self.push(Step::Ready(sources.collect()));
    }

    /// Next, the timeout passes. A wait without one fails with [`io::ErrorKind::TimedOut`]: it
    /// would last for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Selector;
    /// use selectors_testkit::scripted::Scripted;
    /// use std::{net::TcpStream, time::Duration};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// const HOUR: Duration = Duration::from_secs(3600);
    /// let (backend, script) = Scripted::new();
    /// let mut selector: Selector<TcpStream, (), Scripted> = Selector::with_backend(backend);
    /// let start = selector.now();
    /// script.timeout();
    /// assert!(selector.select(Some(HOUR))?.is_empty());
    /// assert_eq!(selector.now() - start, HOUR);
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(&self) {
        self.push(Step::Timeout);
    }

    /// Next, a signal interrupts the wait after this long.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Selector;
    /// use selectors_testkit::scripted::Scripted;
    /// use std::{net::TcpStream, time::Duration};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (backend, script) = Scripted::new();
    /// let mut selector: Selector<TcpStream, (), Scripted> = Selector::with_backend(backend);
    /// selector.set_interruptible(true);
    /// script.interrupted(Duration::from_secs(1));
    /// assert!(selector.select(None)?.interrupted());
    /// # Ok(())
    /// # }
    /// ```
    pub fn interrupted(&self, after: Duration) {
        self.push(Step::Interrupted(after));
    }

    /// Next, the kernel fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Selector;
    /// use selectors_testkit::scripted::Scripted;
    /// use std::{io::ErrorKind, net::TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (backend, script) = Scripted::new();
    /// let mut selector: Selector<TcpStream, (), Scripted> = Selector::with_backend(backend);
    /// script.fail(ErrorKind::OutOfMemory.into());
    /// assert!(selector.select(None).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail(&self, error: io::Error) {
        self.push(Step::Fail(error));
    }

    /// Next, another thread wakes the selector through this waker of it. With the waker of another
    /// selector the wait fails with [`io::ErrorKind::NotFound`].
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Selector;
    /// use selectors_testkit::scripted::Scripted;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (backend, script) = Scripted::new();
    /// let mut selector: Selector<TcpStream, (), Scripted> = Selector::with_backend(backend);
    /// let waker = selector.waker()?;
    /// script.wake(&waker);
    /// assert!(selector.select(None)?.woken());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wake(&self, waker: &Waker) {
        self.push(Step::Wake(waker.clone()));
    }

    /// Before the next step, this long passes. A wait whose timeout passes meanwhile ends with
    /// nothing, and what is left of the time is for the waits that follow. A wait whose timeout
    /// is zero takes a microsecond of it, so that time also passes for a selector that spins.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Readiness, Selector};
    /// use selectors_testkit::{fixtures::pair, scripted::Scripted};
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = pair()?;
    /// let (backend, script) = Scripted::new();
    /// script.pass(Duration::from_secs(15));
    /// script.ready(&ours, Readiness::READ);
    /// let mut selector = Selector::with_backend(backend);
    /// selector.register(ours, Interest::READ, ())?;
    /// let ten = Some(Duration::from_secs(10));
    /// assert_eq!(selector.select(ten)?.len(), 0);
    /// assert_eq!(selector.select(ten)?.len(), 1, "after five seconds more");
    /// # Ok(())
    /// # }
    /// ```
    pub fn pass(&self, time: Duration) {
        self.push(Step::Pass(time));
    }

    /// The next register or modify is refused with this error. Several are played in turn.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Selector};
    /// use selectors_testkit::{fixtures::null_device, scripted::Scripted};
    /// use std::io;
    ///
    /// # fn main() -> io::Result<()> {
    /// let (backend, script) = Scripted::new();
    /// script.refuse(io::ErrorKind::OutOfMemory.into());
    /// let mut selector = Selector::with_backend(backend);
    /// let refused = selector.register(null_device()?, Interest::READ, "data").unwrap_err();
    /// assert_eq!(refused.data, "data");
    /// # Ok(())
    /// # }
    /// ```
    pub fn refuse(&self, error: io::Error) {
        self.lock().refusals.push_back(error);
    }

    /// The script's clock, which advances only by steps of the script.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// What was asked of the backend, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Mode, Selector, Watch};
    /// use selectors_testkit::{fixtures::{number_of, pair}, scripted::{Call, Scripted}};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = pair()?;
    /// let (backend, script) = Scripted::new();
    /// let mut selector = Selector::with_backend(backend);
    /// let token = selector.register(&ours, Interest::READ, ())?;
    /// selector.unregister(token)?;
    /// let fd = number_of(&ours);
    /// let watch = Watch::new(Interest::READ, Mode::Level);
    /// assert_eq!(script.calls(), [Call::Register { fd, watch }, Call::Unregister { fd }]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// How many steps are left to be played.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.lock().steps.len()
    }

    fn push(&self, step: Step) {
        self.lock().steps.push_back(step);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A test that fails while it holds the script has failed anyway.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn refusal(&mut self) -> io::Result<()> {
        self.refusals.pop_front().map_or(Ok(()), Err)
    }

    fn token_of(&self, named: Named) -> io::Result<Token> {
        let token = match named {
            Named::Descriptor(fd) => self.watched.get(&fd),
            Named::Nth(index) => (self.registered.get(index))
                .filter(|token| self.watched.values().any(|watched| watched == *token)),
        };
        token.copied().ok_or_else(|| {
            let source = match named {
                Named::Descriptor(fd) => format!("descriptor {fd}"),
                Named::Nth(index) => format!("the source that was registered as number {index}"),
            };
            let message = format!("{source} is ready in the script and not registered");
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }

    fn play(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        if std::mem::take(&mut self.woken) {
            events.extend(self.waker.map(|waker| Event::new(waker, Readiness::READ)));
            return Ok(());
        }
        let mut left = timeout;
        while let Some(Step::Pass(time)) = self.steps.front_mut() {
            let passed = left.map_or(*time, |left| left.max(LOOK).min(*time));
            self.now += passed;
            *time -= passed;
            if !time.is_zero() {
                return Ok(());
            }
            left = left.map(|left| left.saturating_sub(passed));
            self.steps.pop_front();
        }
        match self.steps.pop_front() {
            Some(Step::Ready(sources)) => {
                let ready: io::Result<Vec<Event>> = sources
                    .into_iter()
                    .map(|(named, readiness)| Ok(Event::new(self.token_of(named)?, readiness)))
                    .collect();
                events.extend(ready?);
                Ok(())
            }
            Some(Step::Timeout) => {
                self.now += left.ok_or(io::ErrorKind::TimedOut)?;
                Ok(())
            }
            Some(Step::Interrupted(after)) => {
                self.now += after;
                Err(io::ErrorKind::Interrupted.into())
            }
            Some(Step::Fail(error)) => Err(error),
            // After some time has passed: the selector waits again, and is woken then.
            Some(step @ Step::Wake(_)) => {
                self.steps.push_front(step);
                Ok(())
            }
            Some(Step::Pass(_)) | None => {
                let message = "the script has ended";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
            }
        }
    }
}

impl Backend for Scripted {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let fd = number_of(&source);
        let mut state = lock(&self.state);
        state.calls.push(Call::Register { fd, watch });
        state.refusal()?;
        state.watched.insert(fd, token);
        // A parked source is registered again.
        if !state.registered.contains(&token) {
            state.registered.push(token);
        }
        Ok(())
    }

    fn modify(&mut self, fd: RawSource, _token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.calls.push(Call::Modify { fd, watch: new });
        state.refusal()
    }

    fn unregister(&mut self, fd: RawSource, _token: Token, _watch: Watch) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.calls.push(Call::Unregister { fd });
        state.watched.remove(&fd);
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.calls.push(Call::Wait { timeout });
        if let Some(Step::Wake(waker)) = state.steps.front() {
            let waker = waker.clone();
            state.steps.pop_front();
            // Waking takes the lock.
            drop(state);
            waker.wake()?;
            state = lock(&self.state);
            if !state.woken {
                let message = "the waker in the script is that of another selector";
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
        }
        state.play(events, timeout)
    }

    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        lock(&self.state).waker = Some(token);
        let state = Arc::clone(&self.state);
        Ok(Some(Box::new(move || {
            lock(&state).woken = true;
            Ok(())
        })))
    }

    fn now(&self) -> Instant {
        lock(&self.state).now
    }
}
