//! How a selector waits: it filters raw events, takes wakes, and recreates the kernel object to get rid
//! of ghosts. How it polls first, spins and blocks is in `crate::wait`.

use std::io;
use std::time::{Duration, Instant};

use super::Selector;
use crate::backend::{Backend, fork, generation};
use crate::event::Flags;
use crate::sync::get_mut;
use crate::wait::{Pace, Wait};
use crate::waker::Wake;
use crate::{Error, Events, Result};

impl<F, T, B: Backend> Selector<F, T, B> {
    /// Called when the generation differs: fails in a forked child, and otherwise repairs the
    /// waker.
    #[cold]
    pub(super) fn catch_up(&mut self) -> Result<()> {
        self.check_fork()?;
        *self.generation.get_mut() = fork::generation();
        self.mend_wake();
        Ok(())
    }

    /// Handles an error of the backend. An interruption is not an error: it ends the wait if enabled,
    /// otherwise the wait resumes.
    #[cold]
    #[inline(never)]
    fn failed(&mut self, events: &mut Events, error: io::Error) -> Result<bool> {
        if error.kind() != io::ErrorKind::Interrupted {
            events.clear();
            return Err(Error::os("wait", None, error));
        }
        // The signal's handler may have failed to wake this one.
        if *self.generation.get_mut() != fork::generation() {
            self.catch_up()?;
        }
        events.flags.set(Flags::INTERRUPTED, self.pace.interruptible);
        Ok(if events.is_empty() { self.pace.interruptible } else { self.filter(events) })
    }

    /// Filters, masks and merges raw events. Returns true if the wait is over.
    #[inline]
    fn filter(&mut self, events: &mut Events) -> bool {
        // Events of one source may have to be merged even if none needs adjustment.
        let merge = self.capabilities.separate_directions | !events.flags.is_empty();
        let usual = if merge { 0 } else { self.registry.count_usual(&events.list) };
        usual == events.len() || self.filter_from(events, usual, merge)
    }

    /// As [`filter`](Self::filter), except that the first `usual` events need no adjustment.
    #[cold]
    #[inline(never)]
    fn filter_from(&mut self, events: &mut Events, usual: usize, merge: bool) -> bool {
        let filtered = self.registry.filter(events, usual, merge);
        events.flags.remove(Flags::REPEATS);
        if filtered.woken {
            self.take_wake(events);
        }
        if filtered.ghost {
            self.rebuild(events);
        }
        events.has_events()
    }

    fn take_wake(&mut self, events: &mut Events) {
        if self.wake().is_some_and(Wake::take) {
            events.flags |= Flags::WOKEN;
        }
        self.mend_wake();
    }

    fn wake(&mut self) -> Option<&mut Wake> {
        get_mut(&mut self.wake).as_mut()
    }

    /// Attaches a new channel of the waker, or replaces a broken one. If that fails, calls of `wake`
    /// keep failing, and the next wait tries again.
    #[cold]
    fn mend_wake(&mut self) {
        let Self { wake, backend, registry, .. } = self;
        let Some(wake) = get_mut(wake) else { return };
        let taken = |fd| registry.token_of(fd).is_some();
        if wake.needs_mending() && wake.mend(backend, taken).is_err() {
            *self.generation.get_mut() = generation::other(fork::generation());
        }
        registry.reserve(wake.number());
    }

    /// Keeps the channel of the waker from being registered.
    #[cold]
    pub(super) fn reserve_wake(&mut self) {
        let number = self.wake().and_then(|wake| wake.number());
        self.registry.reserve(number);
    }

    /// Recreates the kernel object, which then watches the registered sources only.
    #[cold]
    fn rebuild(&mut self, events: &mut Events) {
        if !self.pace.ghosts.are_due() {
            return;
        }
        let first = events.len();
        let mut count = 0;
        let wake = self.wake().and_then(|wake| wake.registered());
        let mut sources = self.registry.armed().chain(wake).inspect(|_| count += 1);
        let rebuilt = self.backend.rebuild(&mut sources, events);
        drop(sources);
        if self.registry.filter_pending(events, first, rebuilt.is_ok()) {
            self.take_wake(events);
        }
        if rebuilt.is_ok() {
            self.registry.forget_fired();
        } else {
            self.pace.ghosts.stay(count);
        }
    }
}

impl<F, T, B: Backend> Wait for Selector<F, T, B> {
    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<bool> {
        match self.backend.wait(events, timeout) {
            Ok(()) if events.is_empty() => Ok(false),
            Ok(()) => Ok(self.filter(events)),
            Err(error) => self.failed(events, error),
        }
    }

    fn time(&self) -> Instant {
        self.backend.now()
    }

    fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    fn polls_first(&self) -> bool {
        self.capabilities.constant_wait && !self.pace.interruptible
    }
}
