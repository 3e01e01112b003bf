//! Defects with many variants, and helpers to inspect descriptors.

use std::collections::BTreeMap;
use std::io;

use nix::libc::{dev_t, ino_t};
use nix::sys::stat::{SFlag, fstat};
use selectors::backend::{Capabilities, RawSource, Registered};
use selectors::{Event, Events, Mode, Readiness, Token, Watch};
use selectors_testkit::fixtures::{is_open, with_raw};

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};

/// Changes the raw readiness of a source. If nothing remains, there is no event.
pub(crate) struct Reports(pub(crate) fn(Readiness, Registered) -> Readiness);

impl Defect for Reports {
    fn report(&mut self, beneath: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let tell = |event: Event| {
            let Some(source) = beneath.source(event.token()) else { return event };
            Event::new(event.token(), (self.0)(event.readiness(), source))
        };
        found.into_iter().map(tell).filter(|event| !event.readiness().is_empty()).collect()
    }
}

/// Refuses to register some sources.
pub(crate) struct Refuses(pub(crate) fn(Registered) -> io::Result<()>);

impl Defect for Refuses {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        (self.0)(new)?;
        beneath.register(new)
    }
}

/// Reports success for certain refused registrations.
pub(crate) struct Takes {
    which: fn(Registered, &io::Error) -> bool,
    taken: Vec<Token>,
}

impl Takes {
    pub(crate) fn what(which: fn(Registered, &io::Error) -> bool) -> Self {
        Self { which, taken: Vec::new() }
    }
}

impl Defect for Takes {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        match beneath.register(new) {
            Err(error) if (self.which)(new, &error) => {
                self.taken.push(new.token);
                Ok(())
            }
            answer => answer,
        }
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if self.taken.contains(&old.token) { Ok(()) } else { beneath.unregister(old) }
    }
}

/// Watches for another interest than requested.
pub(crate) struct Watches(pub(crate) fn(Registered) -> Watch);

impl Defect for Watches {
    fn asks(&mut self, new: Registered) -> Watch {
        (self.0)(new)
    }
}

/// Waits for another time than requested.
pub(crate) struct Times(pub(crate) fn(Timeout) -> Timeout);

impl Defect for Times {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        beneath.wait(events, (self.0)(timeout))
    }
}

/// Declares capabilities that it lacks, or does not declare those that it has.
pub(crate) struct Declares(pub(crate) fn(&mut Capabilities));

impl Defect for Declares {
    fn declares(&self, beneath: &Beneath) -> Capabilities {
        let mut capabilities = beneath.backend.capabilities();
        (self.0)(&mut capabilities);
        capabilities
    }
}

/// Reports at most this many at a time, and the rest in the next wait.
pub(crate) struct KeepsTheRest {
    batch: usize,
    rest: Vec<Event>,
}

impl KeepsTheRest {
    pub(crate) fn beyond(batch: usize) -> Self {
        Self { batch, rest: Vec::new() }
    }
}

impl Defect for KeepsTheRest {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if self.rest.is_empty() {
            self.rest = beneath.found(timeout)?;
        }
        let kept = self.rest.split_off(self.rest.len().min(self.batch));
        events.extend(std::mem::replace(&mut self.rest, kept));
        Ok(())
    }
}

/// Tracks some always-ready files in user space, by number.
pub(crate) struct FilesBeside {
    kinds: &'static [SFlag],
    /// Whether the kernel is tried first.
    asks: bool,
    /// The files, and whether they are armed.
    files: BTreeMap<Token, (Registered, bool)>,
}

impl FilesBeside {
    pub(crate) fn new(kinds: &'static [SFlag], asks: bool) -> Self {
        Self { kinds, asks, files: BTreeMap::new() }
    }
}

impl Defect for FilesBeside {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if !self.kinds.contains(&kind(new.fd)) {
            return beneath.register(new);
        }
        if self.asks {
            beneath.register(new)?;
            beneath.unregister(new)?;
        }
        self.files.insert(new.token, (new, true));
        Ok(())
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        match self.files.get_mut(&new.token) {
            Some(file) => *file = (new, true),
            None => return beneath.modify(new),
        }
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if self.files.remove(&old.token).is_some() { Ok(()) } else { beneath.unregister(old) }
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let armed = self.files.values().any(|(_, armed)| *armed);
        beneath.wait(events, if armed { NOW } else { timeout })?;
        for (file, armed) in self.files.values_mut().filter(|(_, armed)| *armed) {
            let closed = is_closed(file);
            let readiness = if closed { Readiness::ERROR } else { file.watch.interest.into() };
            events.push(Event::new(file.token, readiness));
            *armed = matches!(file.watch.mode, Mode::Level | Mode::Exclusive);
        }
        Ok(())
    }
}

/// The kind of file of a descriptor: none if it is closed.
pub(crate) fn kind(fd: RawSource) -> SFlag {
    let mode = with_raw(fd, fstat).map_or(0, |status| status.st_mode);
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}

/// The file of a descriptor.
pub(crate) fn file(fd: RawSource) -> Option<(dev_t, ino_t)> {
    with_raw(fd, fstat).ok().map(|status| (status.st_dev, status.st_ino))
}

pub(crate) fn is_closed(source: &Registered) -> bool {
    !is_open(source.fd)
}

/// Keeps some bits of a token.
pub(crate) struct KeepsBits(pub(crate) u64);

impl Defect for KeepsBits {
    fn report(&mut self, _: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let cut = |event: Event| {
            let token = Token::from_bits(event.token().to_bits() & self.0);
            Event::new(token, event.readiness())
        };
        found.into_iter().map(cut).collect()
    }
}
