//! Sources that are always ready: regular files, directories and devices that the kernel
//! refuses to watch because they never block.
//!
//! POSIX requires poll(2) and select(2) to report them as ready. epoll fails with EPERM, and kqueue
//! has rules of its own, so those backends track them here, in user space.

use std::mem;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::file::fstat;
use super::{RawSource, borrow, is_open};
use crate::index::DescriptorIndex;
use crate::{Event, Events, Interest, Mode, Readiness, Token, Watch};

#[derive(Debug)]
struct Source {
    fd: RawSource,
    token: Token,
    watch: Watch,
    armed: bool,
    /// The file at registration, or when fstat(2) first succeeded.
    identity: Option<Identity>,
}

/// A device and an inode number.
type Identity = (u64, u64);

/// The file that a descriptor refers to now.
#[allow(
    clippy::unnecessary_cast,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    reason = "the types differ by system"
)]
fn identity(fd: BorrowedFd<'_>) -> nix::Result<Identity> {
    fstat(fd).map(|stat| (stat.st_dev as u64, stat.st_ino as u64))
}

/// The always-ready sources of one backend.
#[derive(Debug, Default)]
pub(super) struct AlwaysReady {
    sources: Vec<Source>,
    /// The position in `sources` of each descriptor, once there is one.
    index: Option<Box<DescriptorIndex>>,
    /// How many sources are armed.
    armed: usize,
}

/// What a source was watched for, and whether it was armed.
type Before = (Watch, bool);

/// Returns false for an interest in PRIORITY alone: a file has no urgent data.
fn can_be_ready(watch: Watch) -> bool {
    watch.interest.intersects(Interest::READ | Interest::WRITE)
}

impl AlwaysReady {
    /// Returns true if there is no source.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Returns true if any source is armed.
    #[inline]
    pub(super) fn is_armed(&self) -> bool {
        self.armed > 0
    }

    /// Adds a source.
    ///
    /// # Errors
    ///
    /// ENOMEM of fstat(2): without it another file could be mistaken for this one.
    pub(super) fn insert(&mut self, fd: RawSource, token: Token, watch: Watch) -> nix::Result<()> {
        // SAFETY: passed to fstat(2) alone, which accepts any number and changes nothing.
        match identity(unsafe { borrow(fd) }) {
            Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
            // EOVERFLOW for a file too large for a 32-bit process, or an unreachable file server.
            identity => self.insert_as(identity.ok(), fd, token, watch),
        }
        Ok(())
    }

    /// Adds a source that is identified when it is first reported.
    #[cfg(kqueue)]
    pub(super) fn insert_unidentified(&mut self, fd: RawSource, token: Token, watch: Watch) {
        self.insert_as(None, fd, token, watch);
    }

    fn insert_as(&mut self, identity: Option<Identity>, fd: RawSource, token: Token, watch: Watch) {
        let armed = can_be_ready(watch);
        self.index.get_or_insert_default().insert(fd, self.sources.len());
        self.sources.push(Source { fd, token, watch, armed, identity });
        self.armed += usize::from(armed);
    }

    /// Changes a source, and arms it. Returns what it was, to be [restored](Self::restore), or `None` if it
    /// is not one of these.
    #[inline]
    pub(super) fn modify(&mut self, fd: RawSource, token: Token, watch: Watch) -> Option<Before> {
        let place = self.place(fd, token)?;
        Some(self.set(place, watch, can_be_ready(watch)))
    }

    /// Takes back a change.
    pub(super) fn restore(&mut self, fd: RawSource, token: Token, (watch, armed): Before) {
        if let Some(place) = self.place(fd, token) {
            self.set(place, watch, armed);
        }
    }

    /// Removes a source. Returns false if it is not one of these.
    #[inline]
    pub(super) fn remove(&mut self, fd: RawSource, token: Token) -> bool {
        let Some(place) = self.place(fd, token) else { return false };
        let index = self.index.get_or_insert_default();
        index.remove(fd);
        self.armed -= usize::from(self.sources.swap_remove(place).armed);
        if let Some(moved) = self.sources.get(place) {
            index.insert(moved.fd, place);
        }
        true
    }

    /// Returns true if a source is one of these.
    pub(super) fn contains(&self, fd: RawSource, token: Token) -> bool {
        self.place(fd, token).is_some()
    }

    /// Appends an event for every armed source: an ERROR if its descriptor was closed or refers to
    /// another file. Costs an fstat(2) for each.
    pub(super) fn report(&mut self, events: &mut Events) {
        for source in self.sources.iter_mut().filter(|source| source.armed) {
            // SAFETY: passed to fstat(2) alone, which accepts any number and changes nothing.
            let lost = match identity(unsafe { borrow(source.fd) }) {
                Ok(now) => *source.identity.get_or_insert(now) != now,
                // No memory, or a file system that cannot be reached.
                Err(_) => !is_open(source.fd),
            };
            let readiness =
                if lost { Readiness::ERROR } else { Readiness::READ | Readiness::WRITE };
            events.push(Event::new(source.token, readiness));
            if matches!(source.watch.mode, Mode::OneShot | Mode::Edge) {
                source.armed = false;
                self.armed -= 1;
            }
        }
    }

    #[inline]
    fn place(&self, fd: RawSource, token: Token) -> Option<usize> {
        if self.is_empty() { None } else { self.find(fd, token) }
    }

    #[cold]
    fn find(&self, fd: RawSource, token: Token) -> Option<usize> {
        let place = self.index.as_ref()?.get(fd)?;
        (self.sources[place].token == token).then_some(place)
    }

    /// Removes the one-shot sources that have fired: a recreated kernel object does not have them.
    #[cfg_attr(not(epoll), allow(dead_code, reason = "kqueue is never rebuilt"))]
    pub(super) fn forget_fired(&mut self) {
        let index = self.index.get_or_insert_default();
        self.sources.retain(|source| {
            let one_shot = source.watch.mode == Mode::OneShot && can_be_ready(source.watch);
            let fired = one_shot && !source.armed;
            if fired {
                index.remove(source.fd);
            }
            !fired
        });
        for (place, source) in self.sources.iter().enumerate() {
            index.insert(source.fd, place);
        }
    }

    fn set(&mut self, place: usize, watch: Watch, armed: bool) -> Before {
        let source = &mut self.sources[place];
        self.armed -= usize::from(source.armed);
        self.armed += usize::from(armed);
        (mem::replace(&mut source.watch, watch), mem::replace(&mut source.armed, armed))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_has_fired_is_forgotten_alone() {
        let files = [(); 4].map(|()| File::open("/dev/null").unwrap());
        let numbers = files.each_ref().map(AsRawFd::as_raw_fd);
        let tokens = [0, 1, 2, 3].map(|slot| Token::new(slot, 0));
        let [fired, edge, level, armed] = [0, 1, 2, 3];
        let modes = [Mode::OneShot, Mode::Edge, Mode::Level, Mode::OneShot];
        let watches = modes.map(|mode| Watch::new(Interest::READ, mode));
        let (mut always, mut events) = (AlwaysReady::default(), Events::new());
        for source in [fired, edge, level] {
            always.insert(numbers[source], tokens[source], watches[source]).unwrap();
        }
        always.report(&mut events);
        assert_eq!(events.len(), 3);
        always.insert(numbers[armed], tokens[armed], watches[armed]).unwrap();
        always.forget_fired();
        assert!(!always.remove(numbers[fired], tokens[fired]));
        for source in [edge, armed] {
            assert!(always.contains(numbers[source], tokens[source]));
            assert!(always.remove(numbers[source], tokens[source]));
        }
        events.clear();
        always.report(&mut events);
        assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [tokens[level]]);
        assert!(always.remove(numbers[level], tokens[level]) && always.is_empty());
    }
}
