//! MOD and CLOSE: backends that get changes wrong, and descriptors that went away.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{dev_t, ino_t};
use selectors::backend::{BorrowedSource, Capabilities, RawSource, Registered};
use selectors::{Event, Events, Interest, Mode, Readiness, Token, Watch};
use selectors_testkit::fixtures::with_raw;

use super::defect::{Beneath, Defect, file, is_closed};

/// Adds the new interest to the old one, as /dev/poll does.
pub(crate) struct AddsInterests;

impl Defect for AddsInterests {
    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        let old = beneath.watch(token)?;
        beneath.modify(fd, token, Watch::new(old.interest | new.interest, new.mode))
    }
}

/// Goes by the new interest after the next wait.
#[derive(Default)]
pub(crate) struct ModifiesLate {
    asked: Vec<(RawSource, Token, Watch)>,
}

impl Defect for ModifiesLate {
    fn modify(
        &mut self,
        _: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        self.asked.push((fd, token, new));
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        self.asked.retain(|&(_, other, _)| other != token);
        beneath.unregister(fd, token)
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        // Without blocking where something new was asked for: it may be all that is ready.
        let timeout = if self.asked.is_empty() { timeout } else { Some(Duration::ZERO) };
        beneath.wait(events, timeout)?;
        for (fd, token, new) in self.asked.drain(..) {
            beneath.modify(fd, token, new)?;
        }
        Ok(())
    }
}

/// What the kernel has, or is to have, for a descriptor.
type Has = Option<(Token, Watch)>;

/// Puts changes off until the next wait, and makes none where it thinks that there is nothing to
/// do.
pub(crate) struct PutsOff {
    nothing_to_do: fn(Has, Has) -> bool,
    /// What was there at the last wait, and what is to be.
    asked: BTreeMap<RawSource, (Has, Has)>,
    refused: BTreeMap<Token, Mode>,
}

impl PutsOff {
    pub(crate) fn unless(nothing_to_do: fn(Has, Has) -> bool) -> Self {
        Self { nothing_to_do, asked: BTreeMap::new(), refused: BTreeMap::new() }
    }

    fn ask(&mut self, fd: RawSource, has: Has, wanted: Has) {
        self.asked.entry(fd).or_insert((has, None)).1 = wanted;
    }

    /// What a source has been asked for last.
    fn watch(&self, beneath: &Beneath, fd: RawSource, token: Token) -> io::Result<Watch> {
        let asked = self.asked.get(&fd).and_then(|&(_, wanted)| wanted);
        asked.map_or_else(|| beneath.watch(token), |(_, watch)| Ok(watch))
    }
}

/// Does not see that a one-shot source is to be armed and an edge-triggered one looked at again.
pub(crate) fn same_as_before(has: Has, wanted: Has) -> bool {
    has == wanted
}

/// Does not see that a number is another source's.
pub(crate) fn watched_as_before(has: Has, wanted: Has) -> bool {
    let watch = |(_, watch)| watch;
    has.map(watch) == wanted.map(watch) && wanted.is_none_or(|(_, w)| w.mode == Mode::Level)
}

impl Defect for PutsOff {
    fn capabilities(&self, beneath: &Beneath) -> Capabilities {
        Capabilities { deferred: true, nesting: false, ..beneath.backend.capabilities() }
    }

    fn descriptor<'a>(&'a self, _: &'a Beneath) -> Option<BorrowedSource<'a>> {
        None
    }

    fn register(
        &mut self,
        _: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.ask(source.as_raw_fd(), None, Some((token, watch)));
        Ok(())
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        let old = self.watch(beneath, fd, token)?;
        self.ask(fd, Some((token, old)), Some((token, new)));
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        if self.refused.remove(&token).is_some() {
            self.asked.remove(&fd);
            return Ok(());
        }
        let Ok(old) = self.watch(beneath, fd, token) else { return Ok(()) };
        self.ask(fd, Some((token, old)), None);
        Ok(())
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for (fd, (has, wanted)) in std::mem::take(&mut self.asked) {
            if (self.nothing_to_do)(has, wanted) {
                continue;
            }
            match (has, wanted) {
                (Some((old, _)), Some((token, watch))) if old == token => {
                    beneath.modify(fd, token, watch)?;
                    continue;
                }
                (Some((old, _)), _) => beneath.unregister(fd, old)?,
                _ => {}
            }
            let Some((token, watch)) = wanted else { continue };
            if with_raw(fd, |source| beneath.register(source, token, watch)).is_err() {
                self.refused.insert(token, watch.mode);
            }
        }
        beneath
            .wait(events, if self.refused.is_empty() { timeout } else { Some(Duration::ZERO) })?;
        events.extend(self.refused.keys().map(|&token| Event::new(token, Readiness::ERROR)));
        self.refused.retain(|_, mode| *mode == Mode::Level);
        Ok(())
    }
}

/// Does nothing when asked for what it has, also after a one-shot source fired.
pub(crate) struct SkipsTheSame;

impl Defect for SkipsTheSame {
    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        if beneath.watch(token)? == new {
            return Ok(());
        }
        beneath.modify(fd, token, new)
    }
}

/// Deletes and adds instead of modifying, and does not go back when it cannot add.
pub(crate) struct DeletesAndAdds;

impl Defect for DeletesAndAdds {
    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        beneath.unregister(fd, token)?;
        with_raw(fd, |source| beneath.register(source, token, new))
    }
}

/// Refuses to watch for PRIORITY, and watches for it from then on.
pub(crate) struct RefusesAndChanges;

impl Defect for RefusesAndChanges {
    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        beneath.modify(fd, token, new)?;
        if new.interest.contains(Interest::PRIORITY) {
            return Err(Errno::EINVAL.into());
        }
        Ok(())
    }
}

/// Passes the kernel's answer on when it unregisters what was closed.
pub(crate) struct RefusesToForgetClosed;

impl Defect for RefusesToForgetClosed {
    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        if beneath.sources.get(&token).is_some_and(is_closed) {
            return Err(Errno::EBADF.into());
        }
        beneath.unregister(fd, token)
    }
}

/// Leaves an entry behind when its number has become another file's.
#[derive(Default)]
pub(crate) struct LeavesTheReplaced {
    files: BTreeMap<Token, Option<(dev_t, ino_t)>>,
}

impl Defect for LeavesTheReplaced {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.files.insert(token, file(source.as_raw_fd()));
        beneath.register(source, token, watch)
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        let now = file(fd);
        if now.is_some() && self.files.get(&token).is_some_and(|&then| then != now) {
            return Ok(());
        }
        beneath.unregister(fd, token)
    }
}

/// Adds to what a number was watched for when it was closed.
#[derive(Default)]
pub(crate) struct InheritsInterests {
    left: BTreeMap<RawSource, Interest>,
}

impl Defect for InheritsInterests {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let left = self.left.remove(&source.as_raw_fd()).unwrap_or(Interest::empty());
        beneath.register(source, token, Watch::new(watch.interest | left, watch.mode))
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        if let Some(closed) = beneath.sources.get(&token).filter(|source| is_closed(source)) {
            self.left.insert(fd, closed.watch.interest);
        }
        beneath.unregister(fd, token)
    }
}

/// Does not start over when the kernel reports what nobody watches any more.
pub(crate) struct KeepsGhosts;

impl Defect for KeepsGhosts {
    fn rebuild(
        &mut self,
        _: &mut Beneath,
        _: &mut dyn Iterator<Item = Registered>,
        _: &mut Events,
    ) -> io::Result<()> {
        Ok(())
    }
}

/// Lets the kernel carry the number, and tells whatever token has that number now.
#[derive(Default)]
pub(crate) struct KnowsByNumber {
    cookies: BTreeMap<Token, RawSource>,
    current: BTreeMap<RawSource, Token>,
}

impl Defect for KnowsByNumber {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        self.cookies.insert(token, source.as_raw_fd());
        self.current.insert(source.as_raw_fd(), token);
        Ok(())
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            let number = self.cookies.get(&event.token());
            let token = number.and_then(|number| self.current.get(number));
            events.push(Event::new(*token.unwrap_or(&event.token()), event.readiness()));
        }
        Ok(())
    }
}

/// Says nothing of a closed descriptor, which the kernel keeps reporting.
pub(crate) fn swallows_closed(readiness: Readiness, source: Registered) -> Readiness {
    if is_closed(&source) { Readiness::empty() } else { readiness }
}

/// Calls a closed descriptor readable.
pub(crate) fn closed_is_readable(readiness: Readiness, source: Registered) -> Readiness {
    if is_closed(&source) { Readiness::READ } else { readiness }
}

/// Fails as a whole when one descriptor is closed, as select(2) does.
pub(crate) struct FailsForOne;

impl Defect for FailsForOne {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if beneath.sources.values().any(is_closed) {
            return Err(Errno::EBADF.into());
        }
        beneath.wait(events, timeout)
    }
}

/// Looks at the closed descriptors alone when there are any.
pub(crate) struct LooksAtClosedAlone;

impl Defect for LooksAtClosedAlone {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            let closed = |token: Token| beneath.sources.get(&token).is_some_and(is_closed);
            if closed(event.token()) || !beneath.sources.values().any(is_closed) {
                events.push(event);
            }
        }
        Ok(())
    }
}

/// Reports a closed descriptor each time, whatever its mode.
pub(crate) struct RepeatsClosed;

impl Defect for RepeatsClosed {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let before: Vec<_> = events.iter().map(Event::token).collect();
        beneath.wait(events, timeout)?;
        let told = |token| events.iter().skip(before.len()).any(|event| event.token() == token);
        let closed = beneath.sources.values().filter(|source| is_closed(source));
        let untold: Vec<_> = closed.filter(|source| !told(source.token)).collect();
        events.extend(untold.iter().map(|source| Event::new(source.token, Readiness::ERROR)));
        Ok(())
    }
}
