//! A scripted backend, to test an event loop without a kernel.
//!
//! Each wait of [`Scripted`], a [`Backend`], plays the next step of a [`Script`]: sources become ready, the
//! timeout expires, a signal interrupts the wait, the kernel returns an error. The clock is virtual: time
//! passes only as the steps define, so a test of an idle timeout of an hour takes no time, and is
//! deterministic.
//!
//! Steps refer to sources by their file objects, which need a descriptor but no peer: with one end of a
//! socket pair, the test can read what the program has written. A source that the program creates itself,
//! such as an accepted connection, is referred to by the order of registration: [`Script::ready_nth`].
//!
//! A source that is ready in the script has to be watched for that. If it is not registered, parked,
//! watched for something else, or one-shot and not rearmed since it fired, a kernel would report
//! nothing, and the program might wait for ever: the wait fails with [`io::ErrorKind::NotFound`] and
//! the reason.
//!
//! Timers are part of the script if the program takes the time from
//! [`Selector::now`](selectors::Selector::now) and not from [`Instant::now`].
//!
//! # Examples
//!
//! An echo loop that ends after a minute without events, and a test of it:
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
//! /// The program: echoes, and ends after a minute without events.
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
//! script.interrupted(MINUTE / 2); // a signal after half a minute: the wait resumes
//! script.timeout();
//!
//! let mut selector = Selector::with_backend(backend);
//! selector.register(ours, Interest::READ, ())?;
//! let begin = script.now();
//! assert_eq!(serve(&mut selector)?, 5);
//! assert_eq!(script.now() - begin, MINUTE, "on the virtual clock");
//! let waits = script.calls().into_iter().filter_map(|call| match call {
//!     Call::Wait { timeout } => timeout,
//!     _ => None,
//! });
//! assert_eq!(waits.collect::<Vec<_>>(), [MINUTE, MINUTE, MINUTE / 2]);
//! # Ok(())
//! # }
//! ```

mod script;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selectors::backend::{BorrowedSource, Capabilities, RawSource, Trigger};
use selectors::{Backend, Event, Events, Mode, Readiness, Token, Watch};

use crate::fixtures::number_of;
pub use script::Script;
use script::{Named, Step};

/// The least time that a wait takes on the virtual clock while [`Script::pass`] is played.
const LOOK: Duration = Duration::from_micros(1);

/// A call that a [`Scripted`] backend received.
///
/// # Examples
///
/// ```
/// use selectors::Selector;
/// use selectors_testkit::scripted::{Call, Scripted};
/// use std::fs::File;
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let (backend, script) = Scripted::new();
/// let mut selector: Selector<File, (), Scripted> = Selector::with_backend(backend);
/// script.timeout();
/// selector.select(Some(Duration::from_secs(60)))?;
/// assert_eq!(script.calls(), [Call::Wait { timeout: Some(Duration::from_secs(60)) }]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// A registration, possibly refused by the script.
    Register {
        /// Its descriptor.
        fd: RawSource,
        /// Its interest and mode.
        watch: Watch,
    },
    /// A change, possibly refused by the script.
    Modify {
        /// Its descriptor.
        fd: RawSource,
        /// Its new interest and mode.
        watch: Watch,
    },
    /// An unregistration.
    Unregister {
        /// Its descriptor.
        fd: RawSource,
    },
    /// A wait, which plays the next step.
    Wait {
        /// The timeout.
        timeout: Option<Duration>,
    },
}

/// A source as the kernel would know it.
#[derive(Debug)]
struct Watched {
    token: Token,
    watch: Watch,
    has_fired: bool,
}

#[derive(Debug)]
struct State {
    steps: VecDeque<Step>,
    refusals: VecDeque<io::Error>,
    watched: BTreeMap<RawSource, Watched>,
    /// Each source once, in the order in which they were registered.
    registered: Vec<Token>,
    calls: Vec<Call>,
    now: Instant,
    waker: Option<Token>,
    woken: bool,
}

/// A backend that plays a [`Script`]: see the [module's documentation](self).
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
/// script.ready(&ours, Readiness::READ);
/// let mut selector = Selector::with_backend(backend);
/// selector.register(ours, Interest::READ, ())?;
/// assert!(selector.select(None)?[0].is_readable(), "because the script says so");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Scripted {
    state: Arc<Mutex<State>>,
    capabilities: Capabilities,
}

impl Scripted {
    /// Creates a backend with every capability except `nesting`, and its script.
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
        capabilities.timeout_resolution = Duration::from_nanos(1);
        Self::with_capabilities(capabilities)
    }

    /// Creates a backend with these capabilities, except `nesting`, which it cannot have, and its script.
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

/// A poisoned lock is ignored: a test that panicked has failed anyway.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn refusal(&mut self) -> io::Result<()> {
        self.refusals.pop_front().map_or(Ok(()), Err)
    }

    /// Reports a source of the script, as a kernel would.
    fn report(&self, named: Named, readiness: Readiness) -> io::Result<(RawSource, Event)> {
        let fd = match named {
            Named::Descriptor(fd) => Some(fd),
            Named::Nth(index) => self.registered.get(index).and_then(|token| {
                let found = self.watched.iter().find(|(_, watched)| watched.token == *token);
                found.map(|(&fd, _)| fd)
            }),
        };
        let Some((fd, source)) = fd.and_then(|fd| Some((fd, self.watched.get(&fd)?))) else {
            return Err(named.is_not(readiness, "not registered, or parked"));
        };
        let interest = source.watch.interest;
        let ends = Readiness::ERROR | Readiness::HANGUP;
        if !readiness.intersects(Readiness::from(interest) | ends) {
            return Err(named.is_not(readiness, &format!("watched for {interest:?}")));
        }
        if source.has_fired {
            return Err(named.is_not(readiness, "one-shot, has fired and was not rearmed"));
        }
        Ok((fd, Event::new(source.token, readiness)))
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
                let ready: io::Result<Vec<_>> = sources
                    .into_iter()
                    .map(|(named, readiness)| self.report(named, readiness))
                    .collect();
                for (fd, event) in ready? {
                    events.push(event);
                    if let Some(source) = self.watched.get_mut(&fd) {
                        source.has_fired = source.watch.mode == Mode::OneShot;
                    }
                }
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
        state.watched.insert(fd, Watched { token, watch, has_fired: false });
        // A parked source is registered again.
        if !state.registered.contains(&token) {
            state.registered.push(token);
        }
        Ok(())
    }

    fn modify(&mut self, fd: RawSource, _token: Token, _old: Watch, new: Watch) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.calls.push(Call::Modify { fd, watch: new });
        state.refusal()?;
        if let Some(source) = state.watched.get_mut(&fd) {
            (source.watch, source.has_fired) = (new, false);
        }
        Ok(())
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

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
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
