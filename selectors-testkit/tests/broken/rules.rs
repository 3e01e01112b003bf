//! Backends that break the rules on forks, limits, edges and new kernel objects.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::SFlag;
use selectors::backend::{BorrowedSource, RawSource, Registered};
use selectors::{Event, Events, Interest, Mode, Readiness, Token, Watch};
use selectors_testkit::fixtures::{is_open, pipe};

use super::defect::{Beneath, Defect, kind_of};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Takes in what is open and cannot be watched, and reports nothing of it.
#[derive(Default)]
pub(crate) struct TakesNames(Vec<Token>);

impl Defect for TakesNames {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        match beneath.register(source, token, watch) {
            Err(_) if is_open(source.as_raw_fd()) => {
                self.0.push(token);
                Ok(())
            }
            answer => answer,
        }
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        if self.0.contains(&token) { Ok(()) } else { beneath.unregister(fd, token) }
    }
}

/// Silences of a one-shot source the direction that it has reported, and waits for the other.
pub(crate) struct SilencesHalf;

impl Defect for SilencesHalf {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            events.push(event);
            let Some(&source) = beneath.sources.get(&event.token()) else { continue };
            let both = Interest::READ | Interest::WRITE;
            let read = event.readiness().contains(Readiness::READ);
            if source.watch == Watch::new(both, Mode::OneShot) && !read {
                let rest = Watch::new(Interest::READ, Mode::OneShot);
                let _ = beneath.modify(source.fd, source.token, rest);
            }
        }
        Ok(())
    }
}

/// Reports what goes beyond a batch of 64 a second time.
pub(crate) struct RepeatsBatches;

impl Defect for RepeatsBatches {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let news = beneath.news(timeout)?;
        events.extend(news.iter().skip(64).copied());
        events.extend(news);
        Ok(())
    }
}

/// Makes a new kernel object without some of what the old one had.
pub(crate) struct RebuildsWithout(pub(crate) fn(&Registered) -> bool);

impl Defect for RebuildsWithout {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        let without = self.0;
        let _ = events;
        beneath.backend.rebuild(&mut sources.filter(|source| !without(source)), &mut Events::new())
    }
}

/// Makes a new kernel object that other programs inherit.
pub(crate) struct RebuildsInheritable;

impl Defect for RebuildsInheritable {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        beneath.backend.rebuild(sources, events)?;
        if let Some(own) = beneath.backend.descriptor() {
            fcntl(own, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    }
}

/// Keeps regular files by their numbers, and never looks again.
#[derive(Default)]
pub(crate) struct KnowsFilesByNumber {
    files: BTreeMap<Token, (RawFd, Watch, bool)>,
}

impl Defect for KnowsFilesByNumber {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        if kind_of(source) == SFlag::S_IFREG {
            beneath.unregister(source.as_raw_fd(), token)?;
            self.files.insert(token, (source.as_raw_fd(), watch, true));
        }
        Ok(())
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        match self.files.get_mut(&token) {
            Some(file) => *file = (fd, new, true),
            None => return beneath.modify(fd, token, new),
        }
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        if self.files.remove(&token).is_some() {
            return Ok(());
        }
        beneath.unregister(fd, token)
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let before = events.len();
        for (&token, (fd, watch, armed)) in self.files.iter_mut().filter(|(_, file)| file.2) {
            let closed = !is_open(*fd);
            let readiness = if closed { Readiness::ERROR } else { watch.interest.into() };
            events.push(Event::new(token, readiness));
            *armed = watch.mode != Mode::OneShot;
        }
        beneath.wait(events, if events.len() > before { NOW } else { timeout })
    }
}

/// Opens a descriptor for each wait that blocks.
pub(crate) struct NeedsADescriptor;

impl Defect for NeedsADescriptor {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let _helper = pipe()?;
        beneath.wait(events, timeout)
    }
}

/// Goes on with the parent's kernel object after fork(2).
pub(crate) struct KeepsTheObject;

impl Defect for KeepsTheObject {
    fn after_fork(&mut self, beneath: &mut Beneath) -> io::Result<()> {
        for source in std::mem::take(&mut beneath.sources).into_values() {
            beneath.backend.unregister(source.fd, source.token, source.watch)?;
        }
        Ok(())
    }
}
