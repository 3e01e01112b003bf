//! Sources that are always ready: regular files, directories and devices that the kernel
//! refuses to watch because they never block.
//!
//! POSIX has poll(2) and select(2) report them as ready; epoll answers EPERM instead and
//! kqueue has rules of its own, so those backends keep them here.

use std::time::Duration;

use selectors_sys::poll as sys;

use super::poll_call;
use crate::backend::RawSource;
use crate::index::DescriptorIndex;
use crate::{Event, Events, Interest, Mode, Readiness, Token, Watch};

#[derive(Debug)]
struct Source {
    fd: RawSource,
    token: Token,
    watch: Watch,
    armed: bool,
}

/// The always-ready sources of one backend.
#[derive(Debug, Default)]
pub(super) struct AlwaysReady {
    sources: Vec<Source>,
    index: DescriptorIndex,
    /// How many sources are to be reported.
    armed: usize,
    /// Room to ask which of them are still open.
    polled: Vec<sys::pollfd>,
}

impl AlwaysReady {
    /// Whether there is no source.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether any source is to be reported.
    pub(super) fn is_armed(&self) -> bool {
        self.armed > 0
    }

    pub(super) fn insert(&mut self, fd: RawSource, token: Token, watch: Watch) {
        let place = self.sources.len();
        self.index.insert(fd, place);
        self.sources.push(Source { fd, token, watch, armed: false });
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

    /// Appends an event for every armed source: an ERROR if its descriptor was closed.
    pub(super) fn report(&mut self, events: &mut Events) {
        self.polled.clear();
        self.polled.extend(
            self.sources.iter().filter(|source| source.armed).map(|source| sys::pollfd {
                fd: source.fd,
                events: 0,
                revents: 0,
            }),
        );
        // If it fails, for want of memory, they are taken to be open.
        let _ = poll_call::poll(&mut self.polled, Some(Duration::ZERO));
        let armed = self.sources.iter_mut().filter(|source| source.armed);
        for (source, polled) in armed.zip(&self.polled) {
            let readiness = match polled.revents & sys::POLLNVAL {
                0 => Readiness::READ | Readiness::WRITE,
                _ => Readiness::ERROR,
            };
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

    fn arm(&mut self, place: usize, watch: Watch) {
        let source = &mut self.sources[place];
        self.armed -= usize::from(source.armed);
        source.watch = watch;
        // There is no urgent data in a file.
        source.armed = watch.interest.intersects(Interest::READ | Interest::WRITE);
        self.armed += usize::from(source.armed);
    }
}
