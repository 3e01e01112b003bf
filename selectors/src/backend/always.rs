//! Sources that are always ready: regular files, directories and devices that the kernel
//! refuses to watch because they never block.
//!
//! POSIX has poll(2) and select(2) report them as ready; epoll fails with EPERM instead and
//! kqueue has rules of its own, so those backends track them here.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::{RawSource, borrow, is_open};
use crate::index::DescriptorIndex;
use crate::{Event, Events, Interest, Mode, Readiness, Token, Watch};

#[derive(Debug)]
struct Source {
    fd: RawSource,
    token: Token,
    watch: Watch,
    armed: bool,
    /// What it was when it was registered, or when fstat(2) could first say.
    identity: Option<Identity>,
}

/// A device and an inode number.
type Identity = (u64, u64);

/// What a number means now.
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
    index: DescriptorIndex,
    /// How many sources are to be reported.
    armed: usize,
}

/// There is no urgent data in a file.
fn can_be_ready(watch: Watch) -> bool {
    watch.interest.intersects(Interest::READ | Interest::WRITE)
}

impl AlwaysReady {
    /// Whether there is no source.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether any source is to be reported.
    #[inline]
    pub(super) fn is_armed(&self) -> bool {
        self.armed > 0
    }

    /// Takes in a source.
    ///
    /// # Errors
    ///
    /// There is no memory for fstat(2), without which another file could be taken for this one.
    pub(super) fn insert(&mut self, fd: RawSource, token: Token, watch: Watch) -> nix::Result<()> {
        // SAFETY: nothing is done with it but to ask what it is.
        match identity(unsafe { borrow(fd) }) {
            Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
            // Or too large a file for a process of 32 bits, or a server that cannot be reached.
            identity => self.insert_as(identity.ok(), fd, token, watch),
        }
        Ok(())
    }

    /// Takes in a source that is to be identified when it is reported first.
    #[cfg(kqueue)]
    pub(super) fn insert_unidentified(&mut self, fd: RawSource, token: Token, watch: Watch) {
        self.insert_as(None, fd, token, watch);
    }

    fn insert_as(&mut self, identity: Option<Identity>, fd: RawSource, token: Token, watch: Watch) {
        let place = self.sources.len();
        self.index.insert(fd, place);
        self.sources.push(Source { fd, token, watch, armed: false, identity });
        self.arm(place, watch);
    }

    /// Changes a source, if it is one of these.
    #[inline]
    pub(super) fn modify(&mut self, fd: RawSource, token: Token, watch: Watch) -> bool {
        let Some(place) = self.place(fd, token) else { return false };
        self.arm(place, watch);
        true
    }

    /// Forgets a source, if it is one of these.
    #[inline]
    pub(super) fn remove(&mut self, fd: RawSource, token: Token) -> bool {
        let Some(place) = self.place(fd, token) else { return false };
        self.index.remove(fd);
        self.armed -= usize::from(self.sources.swap_remove(place).armed);
        if let Some(moved) = self.sources.get(place) {
            self.index.insert(moved.fd, place);
        }
        true
    }

    /// Whether a source is one of these.
    pub(super) fn contains(&self, fd: RawSource, token: Token) -> bool {
        self.place(fd, token).is_some()
    }

    /// Appends an event for every armed source: an ERROR if its descriptor was closed, or is
    /// another file's by now. Each costs an fstat(2).
    pub(super) fn report(&mut self, events: &mut Events) {
        for source in self.sources.iter_mut().filter(|source| source.armed) {
            // SAFETY: nothing is done with it but to ask what it is.
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
        let place = self.index.get(fd)?;
        (self.sources[place].token == token).then_some(place)
    }

    /// Removes the one-shot sources that were reported, as a new kernel object has none of those.
    #[cfg_attr(not(epoll), allow(dead_code, reason = "kqueue is never rebuilt"))]
    pub(super) fn forget_fired(&mut self) {
        let index = &mut self.index;
        self.sources.retain(|source| {
            let one_shot = source.watch.mode == Mode::OneShot && can_be_ready(source.watch);
            let fired = one_shot && !source.armed;
            if fired {
                index.remove(source.fd);
            }
            !fired
        });
        for (place, source) in self.sources.iter().enumerate() {
            self.index.insert(source.fd, place);
        }
    }

    fn arm(&mut self, place: usize, watch: Watch) {
        let source = &mut self.sources[place];
        self.armed -= usize::from(source.armed);
        source.watch = watch;
        source.armed = can_be_ready(watch);
        self.armed += usize::from(source.armed);
    }
}
