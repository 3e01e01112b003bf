//! MODE: backends that report too often or too seldom.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use selectors::backend::{BorrowedSource, RawSource};
use selectors::{Event, Events, Mode, Readiness, Token, Watch};

use super::defect::{Beneath, Defect};

pub(crate) fn level_is_edge(watch: Watch) -> Watch {
    if watch.mode == Mode::Level { Watch::new(watch.interest, Mode::Edge) } else { watch }
}

pub(crate) fn edge_is_level(watch: Watch) -> Watch {
    if watch.mode == Mode::Edge { Watch::new(watch.interest, Mode::Level) } else { watch }
}

pub(crate) fn edge_is_one_shot(watch: Watch) -> Watch {
    if watch.mode == Mode::Edge { Watch::new(watch.interest, Mode::OneShot) } else { watch }
}

pub(crate) fn no_exclusive(_: BorrowedSource<'_>, watch: Watch) -> io::Result<()> {
    if watch.mode == Mode::Exclusive { Err(Errno::EINVAL.into()) } else { Ok(()) }
}

/// Minds one-shot mode by itself, and silences a source that fired but for some news.
pub(crate) struct OneShot {
    /// How often a source is reported.
    pub(crate) times: usize,
    /// What is told of a source that has been reported that often.
    pub(crate) but: Readiness,
    pub(crate) fired: BTreeMap<Token, usize>,
}

impl OneShot {
    pub(crate) fn new(times: usize, but: Readiness) -> Self {
        Self { times, but, fired: BTreeMap::new() }
    }

    fn take_on(&mut self, token: Token, watch: Watch) -> Watch {
        self.fired.remove(&token);
        if watch.mode != Mode::OneShot {
            return watch;
        }
        self.fired.insert(token, 0);
        Watch::new(watch.interest, Mode::Level)
    }
}

impl Defect for OneShot {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let watch = self.take_on(token, watch);
        beneath.register(source, token, watch)
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        let new = self.take_on(token, new);
        beneath.modify(fd, token, new)
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            match self.fired.get_mut(&event.token()) {
                Some(times) if *times >= self.times => {
                    let rest = event.readiness() & self.but;
                    if !rest.is_empty() {
                        events.push(Event::new(event.token(), rest));
                    }
                }
                times => {
                    if let Some(times) = times {
                        *times += 1;
                    }
                    events.push(event);
                }
            }
        }
        Ok(())
    }
}

/// Refuses to unregister a one-shot source that has fired: it thinks that it is gone.
#[derive(Default)]
pub(crate) struct ForgetsTheFired {
    fired: Vec<Token>,
}

impl Defect for ForgetsTheFired {
    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        self.fired.retain(|&other| other != token);
        beneath.modify(fd, token, new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        if self.fired.contains(&token) {
            return Err(Errno::ENOENT.into());
        }
        beneath.unregister(fd, token)
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            let one_shot = beneath.watch(event.token()).is_ok_and(|w| w.mode == Mode::OneShot);
            if one_shot {
                self.fired.push(event.token());
            }
            events.push(event);
        }
        Ok(())
    }
}

/// Does not look at what is ready already when an edge-triggered source is modified.
#[derive(Default)]
pub(crate) struct WaitsForTheNextEdge {
    modified: Vec<Token>,
}

impl Defect for WaitsForTheNextEdge {
    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        let was_edge = beneath.watch(token)?.mode == Mode::Edge;
        if new.mode == Mode::Edge && was_edge {
            self.modified.push(token);
        }
        beneath.modify(fd, token, new)
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            match self.modified.iter().position(|&token| token == event.token()) {
                Some(place) => drop(self.modified.swap_remove(place)),
                None => events.push(event),
            }
        }
        Ok(())
    }
}

/// Has the kernel modify an exclusive source, which it refuses: epoll_ctl(2).
pub(crate) struct ModifiesExclusive;

impl Defect for ModifiesExclusive {
    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        let old = beneath.watch(token)?;
        if old.mode == Mode::Exclusive || new.mode == Mode::Exclusive {
            return Err(Errno::EINVAL.into());
        }
        beneath.modify(fd, token, new)
    }
}

/// Uses the mode of the last registration for all.
pub(crate) struct HasOneMode;

impl Defect for HasOneMode {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        let others: Vec<_> = beneath.sources.values().copied().collect();
        for other in others.iter().filter(|other| other.fd != source.as_raw_fd()) {
            let same = Watch::new(other.watch.interest, watch.mode);
            // Closed ones are left as they are.
            let _ = beneath.modify(other.fd, other.token, same);
        }
        Ok(())
    }
}
