//! Sources whose driver's poll routine fails, and makes the whole wait fail with its error.
//!
//! The device does not report which source it was (`dpioctl()` in illumos's `devpoll.c`), so a binary
//! search removes sources from the set and adds them again.

use std::mem;
use std::time::Duration;

use nix::errno::Errno;

use super::{Devpoll, adding, may_concern_a_source, removing};
use crate::backend::RawSource;
use crate::{Event, Events, Mode, Readiness};

impl Devpoll {
    /// Adds the sources that failed to the set again, and reports those that still fail. Returns the
    /// timeout for the wait after that.
    #[inline]
    pub(super) fn retry_failing(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> Option<Duration> {
        if self.failing.is_empty() {
            return timeout;
        }
        let failing = mem::take(&mut self.failing);
        self.add_without_failing(&failing);
        self.report_failing(events);
        if self.failing.is_empty() { timeout } else { Some(Duration::ZERO) }
    }

    /// Removes the sources that fail from the set, and reports them.
    #[cold]
    pub(super) fn isolate_failing(&mut self, events: &mut Events) {
        let failing = |fd: &RawSource| self.failing.contains(fd);
        let sources = self.sources.iter().filter(|source| source.armed).map(|source| source.fd);
        let sources: Vec<_> = sources.filter(|fd| !failing(fd)).collect();
        self.remove_all(&sources);
        let before = self.failing.len();
        self.add_without_failing(&sources);
        let new = self.failing.split_off(before);
        let old = mem::replace(&mut self.failing, new);
        self.report_failing(events);
        self.failing.extend(old);
    }

    fn remove_all(&mut self, sources: &[RawSource]) {
        let removals: Vec<_> = sources.iter().map(|&fd| removing(fd)).collect();
        // A source that cannot be removed makes the next call fail, too.
        let _ = self.device.write(&removals);
    }

    /// Adds sources to the set, except those with which polling fails.
    fn add_without_failing(&mut self, sources: &[RawSource]) {
        if sources.is_empty() || self.try_to_add(sources) {
            return;
        }
        self.remove_all(sources);
        if let &[fd] = sources {
            self.failing.push(fd);
        } else {
            let (first, second) = sources.split_at(sources.len() / 2);
            self.add_without_failing(first);
            self.add_without_failing(second);
        }
    }

    /// Adds sources to the set. Returns true if it can be polled then.
    fn try_to_add(&mut self, sources: &[RawSource]) -> bool {
        let mut entries = Vec::new();
        for &fd in sources {
            let source = self.index.get(fd).map(|place| &self.sources[place]);
            if let Some(source) = source.filter(|source| source.armed) {
                entries.extend(adding(fd, source.watch));
            }
        }
        self.device.write(&entries).is_ok() && self.can_be_polled()
    }

    /// Returns true if the set can be polled.
    fn can_be_polled(&self) -> bool {
        let mut buffer = super::buffer(self.sources.len() + 1);
        let mut found = 0;
        while found <= self.sources.len() {
            match self.device.poll(&mut buffer, 0) {
                // The buffer may be larger than RLIMIT_NOFILE.
                Err(Errno::EINVAL) if buffer.len() > 1 => buffer.truncate(buffer.len() / 2),
                Err(Errno::EINTR) => {}
                Err(error) => return !may_concern_a_source(error),
                Ok(count) if count < buffer.len() => return true,
                // The kernel's scan continues behind these.
                Ok(count) => found += count,
            }
        }
        true
    }

    /// Corrects the entries of the set one by one, after one write for all failed.
    #[cold]
    pub(super) fn sync_each(&mut self) -> nix::Result<()> {
        let mut result = Ok(());
        for fd in mem::take(&mut self.dirty) {
            let source = self.index.get(fd).map(|place| &mut self.sources[place]);
            match source {
                Some(source) if source.clean => {}
                Some(source) if source.armed => {
                    source.clean = true;
                    if self.device.write(&adding(fd, source.watch)).is_err() {
                        self.failing.push(fd);
                    }
                }
                source => match self.device.write(&[removing(fd)]) {
                    Ok(()) => {
                        if let Some(source) = source {
                            source.clean = true;
                        }
                    }
                    Err(error) => {
                        self.dirty.push(fd);
                        result = Err(error);
                    }
                },
            }
        }
        result
    }

    fn report_failing(&mut self, events: &mut Events) {
        for &fd in &self.failing {
            let Some(place) = self.index.get(fd) else { continue };
            let source = &mut self.sources[place];
            // It may be in the set all the same.
            if mem::replace(&mut source.reported, self.turn) != self.turn {
                events.push(Event::new(source.token, Readiness::ERROR));
            }
            if source.watch.mode == Mode::OneShot {
                (source.armed, source.clean) = (false, false);
                self.dirty.push(fd);
            }
        }
        self.failing
            .retain(|&fd| self.index.get(fd).is_some_and(|place| self.sources[place].armed));
    }
}
