//! The script: the steps that a test adds, and the calls that the backend recorded.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use selectors::backend::{AsSource, RawSource};
use selectors::{Readiness, Waker};

use super::{Call, State, lock};
use crate::fixtures::number_of;

/// The steps of a [`Scripted`](super::Scripted) backend, and the calls that it received. Clones share one
/// script.
///
/// Each wait plays one step, except that those of [`pass`](Self::pass) may last for several. When no step
/// is left, a wait fails with [`io::ErrorKind::UnexpectedEof`] instead of waiting forever.
///
/// # Examples
///
/// ```
/// use selectors_testkit::scripted::{Script, Scripted};
///
/// let (_backend, script): (Scripted, Script) = Scripted::new();
/// script.timeout();
/// script.fail(std::io::ErrorKind::OutOfMemory.into());
/// assert_eq!(script.remaining(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) state: Arc<Mutex<State>>,
}

impl Script {
    /// Adds a step in which this source is ready. Several calls add several steps: for several sources in
    /// one wait, call [`all_ready`](Self::all_ready).
    ///
    /// A source that is not watched for this when its step is played makes the wait fail with
    /// [`io::ErrorKind::NotFound`]: see the [module](super)'s documentation.
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

    /// Adds a step in which these sources are ready, in this order.
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

    /// Adds a step in which the source that was the `index`-th to be registered, counted from zero, is
    /// ready. For sources that the program creates, so that the test does not have them. Every source counts
    /// once, also after it was unregistered; one whose registration was refused does not count.
    ///
    /// A source that is not watched for this when its step is played makes the wait fail with
    /// [`io::ErrorKind::NotFound`]: see the [module](super)'s documentation.
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

    /// Adds a step in which several sources, given by their order of registration, are ready: see
    /// [`ready_nth`](Self::ready_nth).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Readiness, Selector};
    /// use selectors_testkit::{fixtures::pair, scripted::Scripted};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = pair()?;
    /// let (backend, script) = Scripted::new();
    /// script.all_ready_nth([(0, Readiness::READ), (1, Readiness::READ)]);
    /// let mut selector = Selector::with_backend(backend);
    /// selector.register(ours, Interest::READ, ())?;
    /// selector.register(theirs, Interest::READ, ())?;
    /// assert_eq!(selector.select(None)?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn all_ready_nth(&self, sources: impl IntoIterator<Item = (usize, Readiness)>) {
        let sources = sources.into_iter().map(|(nth, readiness)| (Named::Nth(nth), readiness));
        self.push(Step::Ready(sources.collect()));
    }

    /// Adds a step in which the timeout expires. A wait without a timeout then fails with
    /// [`io::ErrorKind::TimedOut`], because it would never end.
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

    /// Adds a step in which a signal interrupts the wait after this time.
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

    /// Adds a step in which the wait fails with this error.
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

    /// Adds a step in which another thread wakes the selector through this waker. With the waker of another
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

    /// Lets this time pass before the next step. A wait whose timeout expires meanwhile returns no events,
    /// and the rest of the time passes in the following waits. A wait with a timeout of zero takes a
    /// microsecond of it, so that time passes for a selector that spins as well.
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

    /// Refuses the next `register` or `modify` with this error. Several calls refuse several.
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

    /// The time on the virtual clock, which only steps of the script advance.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Selector;
    /// use selectors_testkit::scripted::Scripted;
    /// use std::fs::File;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (backend, script) = Scripted::new();
    /// let mut selector: Selector<File, (), Scripted> = Selector::with_backend(backend);
    /// let before = script.now();
    /// script.timeout();
    /// selector.select(Some(Duration::from_secs(3600)))?;
    /// assert_eq!(script.now() - before, Duration::from_secs(3600));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// The calls that the backend received, in order.
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

    /// The number of steps that were not played yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors_testkit::scripted::Scripted;
    ///
    /// let (_backend, script) = Scripted::new();
    /// script.timeout();
    /// assert_eq!(script.remaining(), 1);
    /// ```
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

/// How a step refers to a source.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named {
    /// By its descriptor.
    Descriptor(RawSource),
    /// By the number of sources registered before it.
    Nth(usize),
}

impl Named {
    /// The error of a step that a kernel would not play.
    pub(super) fn is_not(self, readiness: Readiness, but: &str) -> io::Error {
        let source = match self {
            Self::Descriptor(fd) => format!("descriptor {fd}"),
            Self::Nth(index) => format!("the source that was registered as number {index}"),
        };
        let message = format!("{source} has {readiness:?} in the script, but is {but}");
        io::Error::new(io::ErrorKind::NotFound, message)
    }
}

#[derive(Debug)]
pub(super) enum Step {
    Ready(Vec<(Named, Readiness)>),
    Timeout,
    Interrupted(Duration),
    Fail(io::Error),
    Pass(Duration),
    Wake(Waker),
}
