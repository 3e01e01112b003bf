//! What the raw events of a wait become: masked by the interest of their sources, merged, and counted as
//! fired. An event without a source is dropped.

use super::{Entry, Registry, State, both};
use crate::{Event, Events, Mode, Readiness, Token};

/// What a list of raw events contained besides events of registered sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filtered {
    /// An event of the selector's own waker.
    pub(crate) woken: bool,
    /// The kernel watches a file that is not registered, or whose source is parked.
    pub(crate) ghost: bool,
}

impl<F, T> Entry<F, T> {
    /// Masks raw readiness by the interest, and marks a one-shot source as fired.
    fn mask(&mut self, raw: Readiness) -> Readiness {
        let readiness = raw.masked_by(self.interest);
        if self.mode == Mode::OneShot && !readiness.is_empty() {
            self.state = State::Fired;
        }
        readiness
    }
}

impl<F, T> Registry<F, T> {
    #[inline]
    fn is_usual(&self, event: Event) -> bool {
        let raw = both(event.token().generation(), event.readiness());
        self.usual.get(event.token().slot() as usize) == Some(&raw)
    }

    /// The number of leading events that need no adjustment, which [`filter`](Self::filter) skips.
    /// Usually all.
    #[inline]
    pub(crate) fn count_usual(&self, events: &[Event]) -> usize {
        events.iter().position(|event| !self.is_usual(*event)).unwrap_or(events.len())
    }

    /// Filters the raw events of a backend: masks each by the interest of its source, drops those
    /// without a source, and marks one-shot sources as fired.
    ///
    /// The first `usual` events are skipped. With `merge`, several events of one source are merged, and
    /// `usual` must be 0.
    pub(crate) fn filter(&mut self, events: &mut Events, usual: usize, merge: bool) -> Filtered {
        if merge {
            // The directions of a one-shot source fire separately. The second event may come in a
            // later wait, after the source was reported.
            let has_fired = |entry: &Entry<F, T>| entry.state == State::Fired;
            events.list.retain(|event| !self.get(event.token()).is_some_and(has_fired));
        }
        let mut filtered = Filtered::default();
        let mut dropped = false;
        for event in &mut events.list[usual..] {
            if self.is_usual(*event) {
                continue;
            }
            let readiness = match self.get_mut(event.token()) {
                Some(entry) if entry.state == State::Unwatched => {
                    filtered.ghost = true;
                    Readiness::empty()
                }
                Some(entry) => entry.mask(event.readiness()),
                None => {
                    filtered.woken |= event.token() == Token::WAKER;
                    filtered.ghost |= event.token() != Token::WAKER;
                    Readiness::empty()
                }
            };
            *event = Event::new(event.token(), readiness);
            dropped |= readiness.is_empty();
        }
        if dropped {
            events.list.retain(|event| !event.readiness().is_empty());
        }
        if merge {
            events.merge(&mut self.places, |_| true);
        }
        filtered
    }

    /// Filters the events from `first` on, which were pending in a kernel object. If it was `replaced`,
    /// only those of edge-triggered sources are kept: the new object reports the others again. Returns
    /// true if the waker's is among them.
    #[cold]
    pub(crate) fn filter_pending(
        &mut self,
        events: &mut Events,
        first: usize,
        replaced: bool,
    ) -> bool {
        let mut index = 0;
        let mut woken = false;
        events.list.retain_mut(|event| {
            index += 1;
            if index <= first {
                return true;
            }
            woken |= event.token() == Token::WAKER;
            let Some(entry) = self.get_mut(event.token()) else { return false };
            let reported_again = replaced && entry.mode != Mode::Edge;
            if reported_again || entry.state != State::Armed {
                return false;
            }
            *event = Event::new(event.token(), entry.mask(event.readiness()));
            !event.readiness().is_empty()
        });
        events.merge(&mut self.places, |_| true);
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::READ;
    use super::*;
    use crate::{Interest, Watch};

    const BOTH: Watch = Watch::new(Interest::READ.union(Interest::WRITE), Mode::Level);

    fn events(raw: &[(Token, Readiness)]) -> Events {
        let mut events = Events::new();
        events.extend(raw.iter().map(|&(token, readiness)| Event::new(token, readiness)));
        events
    }

    #[test]
    fn rule_ready_3_events_of_one_source_become_one() {
        let mut registry = Registry::new();
        let a = registry.add(1, BOTH, (), ());
        let b = registry.add(2, BOTH, (), ());
        for round in 0..3 {
            let mut list = events(&[
                (a, Readiness::READ),
                (b, Readiness::READ),
                (b, Readiness::WRITE),
                (a, Readiness::WRITE | Readiness::ERROR),
            ]);
            assert_eq!(registry.filter(&mut list, 0, true), Filtered::default());
            let both = Readiness::READ | Readiness::WRITE;
            assert_eq!(
                list.list,
                [Event::new(a, both | Readiness::ERROR), Event::new(b, both)],
                "round {round}"
            );
        }
    }

    #[test]
    fn rule_ready_4_readiness_outside_the_interest_is_masked() {
        let mut registry = Registry::new();
        let token = registry.add(1, READ, (), ());
        let mut list = events(&[(token, Readiness::WRITE)]);
        assert_eq!(registry.filter(&mut list, 0, false), Filtered::default());
        assert!(list.is_empty());
    }

    #[test]
    fn rule_wait_10_events_of_no_source_are_dropped_and_noted() {
        let mut registry = Registry::new();
        let old = registry.add(1, READ, (), ());
        registry.remove(old);
        let new = registry.add(1, READ, (), ());
        let mut list = events(&[
            (old, Readiness::READ),
            (new, Readiness::READ),
            (Token::WAKER, Readiness::READ),
        ]);
        let filtered = registry.filter(&mut list, 0, false);
        assert_eq!(filtered, Filtered { woken: true, ghost: true });
        assert_eq!(list.list, [Event::new(new, Readiness::READ)]);
    }

    #[test]
    fn rule_mod_3_a_reported_one_shot_is_no_longer_armed() {
        let mut registry = Registry::new();
        let token = registry.add(1, Watch::new(Interest::READ, Mode::OneShot), (), ());
        registry.filter(&mut events(&[(token, Readiness::WRITE)]), 0, false);
        assert_eq!(registry.get(token).unwrap().state, State::Armed, "nothing was reported");
        registry.filter(&mut events(&[(token, Readiness::READ)]), 0, false);
        assert_eq!(registry.get(token).unwrap().state, State::Fired);
    }

    #[test]
    fn rule_ready_4_an_empty_raw_readiness_is_no_event() {
        let mut registry = Registry::new();
        for (fd, mode) in [(1, Mode::Level), (2, Mode::OneShot)] {
            let token = registry.add(fd, Watch::new(Interest::READ, mode), (), ());
            let mut list = events(&[(token, Readiness::empty())]);
            registry.filter(&mut list, 0, false);
            assert!(list.is_empty(), "{mode:?}");
            assert_eq!(registry.get(token).unwrap().state, State::Armed);
        }
    }
}
