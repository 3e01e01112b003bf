//! How a shared selector waits and filters raw events.

use std::cell::OnceCell;
use std::io;
use std::time::{Duration, Instant};

use super::SharedSelector;
use super::slots::Filtered;
use crate::backend::Backend;
use crate::event::Flags;
use crate::wait::{NOW, Pace, Wait};
use crate::{Error, Event, Events, Mode, Readiness, Result, Token};

/// After this many consecutive calls that end early without an event, the kernel is assumed to watch a
/// file whose source is gone.
const TOO_MANY_IDLE: u32 = 64;

impl<T> SharedSelector<T> {
    /// Polls once, busy-polls and blocks, as the settings and the timeout demand.
    pub(super) fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<()> {
        if timeout == NOW {
            self.wait_once(events, NOW).map(drop)
        } else {
            self.wait_on(events, timeout)
        }
    }

    /// Makes the slots of unregistered sources vacant, and drops their data.
    fn reclaim(&mut self) {
        self.core.take_retired(&mut self.retired);
        // One at a time, because dropping data may panic.
        while let Some(slot) = self.retired.pop() {
            let known = self.data.get_mut(slot).and_then(OnceCell::take);
            let unknown = self.core.reclaim(slot);
            drop((known, unknown));
        }
    }

    /// Filters, masks and merges raw events.
    fn filter(&mut self, events: &mut Events) {
        if self.core.capabilities.separate_directions || events.flags.contains(Flags::REPEATS) {
            self.merge(events);
            events.flags.remove(Flags::REPEATS);
        }
        let (mut woken, mut ghost, mut dropped) = (false, false, false);
        for event in &mut events.list {
            let token = event.token();
            let filtered = match self.core.slots.get(token.slot()) {
                Some(slot) => slot.filter(token.generation(), event.readiness()),
                None if token == Token::WAKER => {
                    woken = true;
                    Filtered::Dropped
                }
                None => Filtered::Ghost,
            };
            let readiness = match filtered {
                Filtered::Ready(readiness) => readiness,
                Filtered::Dropped | Filtered::Ghost => Readiness::empty(),
            };
            ghost |= filtered == Filtered::Ghost;
            dropped |= readiness.is_empty();
            *event = Event::new(token, readiness);
        }
        if dropped {
            events.list.retain(|event| !event.readiness().is_empty());
        }
        if woken {
            self.take_wake(events);
        }
        let idle = dropped && !woken && !events.has_events();
        self.idle = if idle { self.idle + 1 } else { 0 };
        if ghost || self.idle > TOO_MANY_IDLE {
            self.idle = 0;
            self.rebuild(events);
        }
    }

    #[cold]
    fn take_wake(&mut self, events: &mut Events) {
        self.wake.take();
        self.mend_wake();
        // The wake may be that of a change, which does not end a `select`.
        if self.user.reset() {
            events.flags |= Flags::WOKEN;
        }
    }

    /// Replaces a broken channel of the waker. If that fails, calls of `wake` keep failing, and the
    /// next wait tries again.
    fn mend_wake(&mut self) {
        if self.wake.needs_mending() {
            self.core.mend(&mut self.wake);
        }
    }

    /// Creates the changer of a new kernel object if that has failed. If it fails again, the next wait
    /// tries again.
    fn renew_changer(&mut self) {
        if self.lacks_changer {
            self.lacks_changer = !self.core.renew_changer();
        }
    }

    /// Recreates the kernel object, which then watches the registered sources only: see
    /// `Selector::rebuild`.
    #[cold]
    fn rebuild(&mut self, events: &mut Events) {
        if !self.pace.ghosts.are_due() {
            return;
        }
        let first = events.len();
        let rebuilt = self.core.rebuild(self.wake.registered(), events);
        match rebuilt {
            Ok(has_changer) => self.lacks_changer |= !has_changer,
            Err(count) => self.pace.ghosts.stay(count),
        }
        // Events that were pending in the old kernel object: a new one reports all but the edges.
        let rest = events.list.split_off(first);
        for event in rest {
            let token = event.token();
            if token == Token::WAKER {
                self.take_wake(events);
            }
            let Some(slot) = self.core.slots.get(token.slot()) else { continue };
            if rebuilt.is_err() || slot.state().watch().mode == Mode::Edge {
                if let Filtered::Ready(ready) = slot.filter(token.generation(), event.readiness()) {
                    events.push(Event::new(token, ready));
                }
            }
        }
        self.merge(events);
    }

    fn merge(&mut self, events: &mut Events) {
        let slots = &self.core.slots;
        events.merge(&mut self.places, |slot| slots.get(slot).is_some());
    }
}

impl<T> Wait for SharedSelector<T> {
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<bool> {
        self.reclaim();
        self.mend_wake();
        self.renew_changer();
        let Some(mut loan) = self.core.handoff.borrow() else { return Err(Error::Closed) };
        let waited = loan.backend().map_or(Ok(()), |backend| backend.wait(events, timeout));
        drop(loan);
        if let Err(error) = waited {
            if error.kind() != io::ErrorKind::Interrupted {
                events.clear();
                return Err(Error::os("wait", None, error));
            }
            events.flags.set(Flags::INTERRUPTED, self.pace.interruptible);
        }
        self.filter(events);
        Ok(events.has_events())
    }

    fn time(&self) -> Instant {
        self.core.now()
    }

    fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    fn polls_first(&self) -> bool {
        self.core.capabilities.constant_wait && !self.pace.interruptible
    }
}
