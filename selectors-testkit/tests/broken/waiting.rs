//! WAIT and PROC: backends that wait for too long or too short, lose events, or wakes.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use selectors::backend::{BorrowedSource, RawSource, Trigger};
use selectors::{Event, Events, Interest, Mode, Token, Watch};
use selectors_testkit::fixtures::unix_pair;

use super::defect::{Beneath, Defect};

/// Answers at once when it is not to block, without asking the kernel.
pub(crate) struct SkipsTheLook;

impl Defect for SkipsTheLook {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        beneath.wait(events, timeout)
    }
}

/// Answers something at once when there is nothing to watch.
pub(crate) struct WithoutSources(pub(crate) fn() -> io::Result<()>);

impl Defect for WithoutSources {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if beneath.sources.is_empty() {
            return (self.0)();
        }
        beneath.wait(events, timeout)
    }
}

pub(crate) fn millis_rounded_down(timeout: Duration) -> Duration {
    Duration::from_millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn millis_rounded_up(timeout: Duration) -> Duration {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Panics where the clock cannot hold the sum.
pub(crate) fn until_a_moment(timeout: Duration) -> Duration {
    let now = Instant::now();
    (now + timeout).duration_since(now)
}

/// Answers EINVAL to long timeouts, as the kernels of NetBSD and OpenBSD do.
pub(crate) struct RefusesLongTimeouts;

impl Defect for RefusesLongTimeouts {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout.is_some_and(|timeout| timeout.as_secs() > 100_000_000) {
            return Err(Errno::EINVAL.into());
        }
        beneath.wait(events, timeout)
    }
}

/// Goes by a clock that is twice as fast.
pub(crate) struct HasAFastClock;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Defect for HasAFastClock {
    fn now(&self) -> Instant {
        let start = *START;
        Instant::now() + start.elapsed()
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        beneath.wait(events, timeout.map(|timeout| timeout / 2))
    }
}

/// Goes on by itself when a signal came, with the whole timeout.
pub(crate) struct RetriesByItself;

impl Defect for RetriesByItself {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        // Some end, lest a storm of signals keep it here.
        for _ in 0..1000 {
            match beneath.wait(events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
        Ok(())
    }
}

/// Takes a signal for the end of the timeout.
pub(crate) struct TakesSignalsForTimeouts;

impl Defect for TakesSignalsForTimeouts {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        match beneath.wait(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            answer => answer,
        }
    }
}

/// Passes the signal on as an error of another kind.
pub(crate) struct TakesSignalsForErrors;

impl Defect for TakesSignalsForErrors {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        beneath.wait(events, timeout).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => io::Error::other("interrupted"),
            _ => error,
        })
    }
}

/// Takes what is ready from the kernel after a signal, and drops it.
#[derive(Default)]
pub(crate) struct LosesEventsToSignals {
    interrupted: bool,
    lost: Vec<Token>,
}

impl Defect for LosesEventsToSignals {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let news = beneath.news(timeout);
        let news = news.inspect_err(|error| {
            self.interrupted |= error.kind() == ErrorKind::Interrupted;
        })?;
        if self.interrupted && !news.is_empty() {
            self.interrupted = false;
            self.lost.extend(news.iter().map(Event::token));
        }
        events.extend(news.into_iter().filter(|event| !self.lost.contains(&event.token())));
        Ok(())
    }
}

/// Reports the same first sources each time.
pub(crate) struct StopsAt(pub(crate) usize);

impl Defect for StopsAt {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        events.extend(beneath.news(timeout)?.into_iter().take(self.0));
        Ok(())
    }
}

/// Has no room for some descriptors. (Those of the fixtures for CLOSE are higher.)
pub(crate) fn not_from_1024_to_2047(source: BorrowedSource<'_>, _: Watch) -> io::Result<()> {
    if (1024..2048).contains(&source.as_raw_fd()) { Err(Errno::EINVAL.into()) } else { Ok(()) }
}

/// Begins each wait with an empty list.
pub(crate) struct ClearsTheList;

impl Defect for ClearsTheList {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        events.clear();
        beneath.wait(events, timeout)
    }
}

/// Empties the list when a wait fails.
pub(crate) struct ClearsTheListWhenItFails;

impl Defect for ClearsTheListWhenItFails {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        beneath.wait(events, timeout).inspect_err(|_| events.clear())
    }
}

/// Tells sources apart by their slots, and tells the first token that it saw with each.
#[derive(Default)]
pub(crate) struct KnowsBySlot {
    batch: Vec<Event>,
}

impl Defect for KnowsBySlot {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let news = beneath.news(timeout)?;
        let slot = |token: Token| token.to_bits() >> 32;
        for event in &news {
            let old = self.batch.iter().find(|old| slot(old.token()) == slot(event.token()));
            let token = old.map_or(event.token(), Event::token);
            events.push(Event::new(token, event.readiness()));
        }
        self.batch.extend(news);
        Ok(())
    }
}

/// A waker of its own, with a defect.
#[derive(Clone, Copy)]
pub(crate) enum Wakes {
    /// Another thread's wake is an error.
    OnItsOwnThread,
    /// Waking one that is gone is an error.
    WhileItLives,
    /// The second wake, the fourth and so on do nothing.
    EverySecondTime,
    /// A wake by the thread that waits, in the handler of a signal, does nothing.
    NotWhereItWaits,
}

pub(crate) struct HasAWaker {
    defect: Wakes,
    channel: Option<(UnixStream, Token)>,
    /// The thread that waits, while it does: no lock, which a handler could find taken.
    waits: Arc<AtomicU64>,
}

/// A number for the calling thread.
fn this_thread() -> u64 {
    thread_local! {
        static NUMBER: u64 = {
            static NEXT: AtomicU64 = AtomicU64::new(1);
            NEXT.fetch_add(1, Ordering::Relaxed)
        };
    }
    NUMBER.with(|number| *number)
}

impl HasAWaker {
    pub(crate) fn new(defect: Wakes) -> Self {
        Self { defect, channel: None, waits: Arc::default() }
    }

    fn empty(&self) {
        let Some((reader, _)) = &self.channel else { return };
        let mut bytes = [0; 64];
        while matches!((&*reader).read(&mut bytes), Ok(count) if count > 0) {}
    }
}

impl Defect for HasAWaker {
    fn waker(&mut self, beneath: &mut Beneath, token: Token) -> io::Result<Option<Trigger>> {
        let (reader, writer) = unix_pair()?;
        let watch = Watch::new(Interest::READ, Mode::Level);
        beneath.register(reader.as_fd(), token, watch)?;
        // What keeps the reading end open makes waking harmless when the selector is gone.
        let alive = match self.defect {
            Wakes::WhileItLives => None,
            _ => Some(reader.try_clone()?),
        };
        self.channel = Some((reader, token));
        let (home, defect) = (thread::current().id(), self.defect);
        let wakes = AtomicUsize::new(0);
        let waits = Arc::clone(&self.waits);
        Ok(Some(Box::new(move || {
            let second = wakes.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            if matches!(defect, Wakes::EverySecondTime) && second {
                return Ok(());
            }
            if matches!(defect, Wakes::OnItsOwnThread) && thread::current().id() != home {
                return Err(ErrorKind::PermissionDenied.into());
            }
            let in_handler = waits.load(Ordering::Relaxed) == this_thread();
            if matches!(defect, Wakes::NotWhereItWaits) && in_handler {
                return Ok(());
            }
            let _alive = &alive;
            (&writer).write_all(b"!")
        })))
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let before = events.len();
        self.waits.store(this_thread(), Ordering::Relaxed);
        let answer = beneath.wait(events, timeout);
        self.waits.store(0, Ordering::Relaxed);
        answer?;
        let woken = self.channel.as_ref().is_some_and(|(_, token)| {
            events.iter().skip(before).any(|event| event.token() == *token)
        });
        if woken {
            self.empty();
        }
        Ok(())
    }
}

/// Unregisters one by one when it is dropped, also in a forked child, which shares the kernel's
/// table.
pub(crate) struct UnregistersWhenDropped;

impl Defect for UnregistersWhenDropped {
    fn close(&mut self, beneath: &mut Beneath) {
        let sources: Vec<(RawSource, Token)> =
            beneath.sources.values().map(|source| (source.fd, source.token)).collect();
        for (fd, token) in sources {
            let _ = beneath.unregister(fd, token);
        }
    }
}
