//! Backends that are wrong where one seldom looks: without a timeout, after a batch, on another
//! thread, in the kernel, on the processor.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::SFlag;
use selectors::backend::{BorrowedSource, RawSource};
use selectors::{Event, Events, Interest, Mode, Token, Watch};
use selectors_testkit::fixtures::{pipe, with_raw};

use super::defect::{Beneath, Defect, file, kind};
use super::registry::leak;

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Takes no timeout for one.
pub(crate) struct NoneIs(pub(crate) Duration);

impl Defect for NoneIs {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        beneath.wait(events, Some(timeout.unwrap_or(self.0)))
    }
}

/// Collects what is ready whenever it is called, and reports it when it is to wait.
#[derive(Default)]
pub(crate) struct CollectsEarly {
    queue: Vec<Event>,
}

impl Defect for CollectsEarly {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let is_level = beneath.sources.values().all(|source| source.watch.mode == Mode::Level);
        if is_level {
            self.queue = beneath.news(NOW)?;
        }
        beneath.register(source, token, watch)
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let known = |event: &Event| beneath.sources.contains_key(&event.token());
        let queue: Vec<_> = std::mem::take(&mut self.queue).into_iter().filter(known).collect();
        let news = beneath.news(if queue.is_empty() { timeout } else { NOW })?;
        let is_new = |event: &&Event| !queue.iter().any(|old| old.token() == event.token());
        events.extend(news.iter().filter(is_new).copied());
        events.extend(queue);
        Ok(())
    }
}

/// Reports no more than a batch, and the rest by the next wait.
pub(crate) struct KeepsTheRest {
    batch: usize,
    rest: Vec<Event>,
}

impl KeepsTheRest {
    pub(crate) fn new(batch: usize) -> Self {
        Self { batch, rest: Vec::new() }
    }
}

impl Defect for KeepsTheRest {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if self.rest.is_empty() {
            self.rest = beneath.news(timeout)?;
        }
        let kept = self.rest.split_off(self.rest.len().min(self.batch));
        events.extend(std::mem::replace(&mut self.rest, kept));
        Ok(())
    }
}

/// Holds the open file until the next wait.
#[derive(Default)]
pub(crate) struct HoldsTheUnregistered {
    held: BTreeMap<Token, OwnedFd>,
    gone: Vec<OwnedFd>,
}

impl Defect for HoldsTheUnregistered {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        self.held.insert(token, source.try_clone_to_owned()?);
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        beneath.unregister(fd, token)?;
        self.gone.extend(self.held.remove(&token));
        Ok(())
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.gone.clear();
        beneath.wait(events, timeout)
    }
}

/// Makes what it watches non-blocking.
pub(crate) struct SetsNonblocking;

impl Defect for SetsNonblocking {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        let flags = OFlag::from_bits_retain(fcntl(source, FcntlArg::F_GETFL)?);
        fcntl(source, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(())
    }
}

/// When a descriptor is leaked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaksWhen {
    Refused,
    Modified,
    Timed,
}

impl Defect for LeaksWhen {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let answer = beneath.register(source, token, watch);
        if answer.is_err() && *self == Self::Refused {
            leak(pipe()?.0);
        }
        answer
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        if *self == Self::Modified {
            leak(pipe()?.0);
        }
        beneath.modify(fd, token, new)
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if *self == Self::Timed && timeout.is_some_and(|timeout| !timeout.is_zero()) {
            leak(pipe()?.0);
        }
        beneath.wait(events, timeout)
    }
}

/// Closes a descriptor of its own when the last source leaves, and again when it is dropped. Only
/// where a file, a pipe and a socket were watched at once: it could be anybody's by then.
#[derive(Default)]
pub(crate) struct ClosesTwice {
    own: Option<RawFd>,
    registered: usize,
}

impl Defect for ClosesTwice {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        let kinds: BTreeSet<_> = beneath.sources.values().map(|source| kind(source.fd)).collect();
        let all = [SFlag::S_IFREG, SFlag::S_IFIFO, SFlag::S_IFSOCK];
        self.registered += 1;
        if self.registered == 4 && all.iter().all(|kind| kinds.contains(kind)) {
            self.own = Some(pipe()?.0.into_raw_fd());
        }
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        beneath.unregister(fd, token)?;
        // What is left is the waker, and nothing else was ever there.
        if beneath.sources.len() == 1 && self.registered == 4 {
            self.own.iter().try_for_each(|&own| nix::unistd::close(own))?;
        }
        Ok(())
    }

    fn close(&mut self, _: &mut Beneath) {
        let _ = self.own.map(nix::unistd::close);
    }
}

/// Serves the thread that filled it, and no other.
#[derive(Default)]
pub(crate) struct KnowsItsThread {
    home: BTreeMap<Token, ThreadId>,
}

impl Defect for KnowsItsThread {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        self.home.insert(token, thread::current().id());
        Ok(())
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let here = thread::current().id();
        let ours = |event: &Event| self.home.get(&event.token()).is_none_or(|home| *home == here);
        events.extend(beneath.news(timeout)?.into_iter().filter(ours));
        Ok(())
    }
}

/// Looks again and again instead of waiting.
pub(crate) struct TurnsInside;

impl Defect for TurnsInside {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let Some(timeout) = timeout else { return beneath.wait(events, None) };
        let start = Instant::now();
        loop {
            let before = events.len();
            beneath.wait(events, NOW)?;
            if events.len() > before || start.elapsed() >= timeout {
                return Ok(());
            }
        }
    }
}

/// Watches for READ, too, whatever is asked for.
pub(crate) fn reads_too(watch: Watch) -> Watch {
    match watch.interest {
        Interest::WRITE => Watch::new(watch.interest | Interest::READ, watch.mode),
        _ => watch,
    }
}

/// Keeps eight bits of a token's generation.
pub(crate) struct CutsGenerations;

impl Defect for CutsGenerations {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            let token = event.token().to_bits();
            let cut = Token::from_bits(token & 0xffff_ffff_0000_00ff);
            events.push(Event::new(cut, event.readiness()));
        }
        Ok(())
    }
}

/// What happens to wakes: the token of the waker is the highest.
fn is_wake(event: &Event) -> bool {
    event.token().to_bits() >> 32 == u64::from(u32::MAX)
}

/// Reports a wake and nothing beside it.
pub(crate) struct DropsBesideAWake;

impl Defect for DropsBesideAWake {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let news = beneath.news(timeout)?;
        let woken = news.iter().any(is_wake);
        events.extend(news.into_iter().filter(|event| !woken || is_wake(event)));
        Ok(())
    }
}

/// Reports no wake to who does not block.
pub(crate) struct WakesWhoBlocks;

impl Defect for WakesWhoBlocks {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let all = timeout != NOW;
        events.extend(beneath.news(timeout)?.into_iter().filter(|event| all || !is_wake(event)));
        Ok(())
    }
}

/// Arms a one-shot source for what it was armed for first.
#[derive(Default)]
pub(crate) struct ArmsTheOld {
    old: BTreeMap<Token, Watch>,
}

impl Defect for ArmsTheOld {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.old.insert(token, watch);
        beneath.register(source, token, watch)
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        let old = self.old.get(&token).filter(|old| {
            let one_shots = old.mode == Mode::OneShot && new.mode == Mode::OneShot;
            one_shots && !new.interest.contains(old.interest)
        });
        beneath.modify(fd, token, old.copied().unwrap_or(new))
    }
}

/// Changes every duplicate of what is modified.
pub(crate) struct ChangesTwins;

impl Defect for ChangesTwins {
    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        beneath.modify(fd, token, new)?;
        let this = file(fd);
        let is_twin = |fd: RawSource| this.is_some() && file(fd) == this;
        let twins: Vec<_> = beneath
            .sources
            .values()
            .filter(|other| other.token != token && is_twin(other.fd))
            .copied()
            .collect();
        for twin in twins.iter().filter(|twin| twin.watch.mode == new.mode) {
            beneath.modify(twin.fd, twin.token, new)?;
        }
        Ok(())
    }
}

/// Reports a listener when a connection has come, and not again.
pub(crate) fn level_listener_is_edge(fd: BorrowedSource<'_>, watch: Watch) -> Watch {
    match (socket2::SockRef::from(&fd).is_listener(), watch.mode) {
        (Ok(true), Mode::Level) => Watch::new(watch.interest, Mode::Edge),
        _ => watch,
    }
}

/// Watches some sources otherwise, by what they are.
pub(crate) struct WatchesSome(pub(crate) fn(BorrowedSource<'_>, Watch) -> Watch);

impl Defect for WatchesSome {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, (self.0)(source, watch))
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        let new = with_raw(fd, |source| (self.0)(source, new));
        beneath.modify(fd, token, new)
    }
}

/// Looks at all bits of a set but the last one.
pub(crate) struct LosesTheLastBit;

impl Defect for LosesTheLastBit {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let highest = beneath.sources.values().map(|source| source.fd).max();
        // Those of the fixtures for CLOSE are higher.
        let alone = beneath.sources.len() == 1;
        let lost = highest.filter(|&fd| alone && fd % 64 == 63 && fd > 512 && fd < 4096);
        let lost = beneath.sources.values().find(|source| Some(source.fd) == lost);
        let lost = lost.map(|source| source.token);
        let news = beneath.news(timeout)?;
        events.extend(news.into_iter().filter(|event| Some(event.token()) != lost));
        Ok(())
    }
}

/// Waits for a moment at a time.
pub(crate) fn no_longer_than_a_moment(timeout: Duration) -> Duration {
    timeout.min(Duration::from_millis(16))
}
