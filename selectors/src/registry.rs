//! The book of what is registered: a slab of keys, the way from a descriptor to its slot, and
//! the generations that keep old tokens from naming new sources. No I/O happens here.

use slab::Slab;

use crate::backend::{RawSource, Registered};
use crate::index::DescriptorIndex;
use crate::{Event, Events, Interest, Mode, Readiness, Token, Watch};

/// A readiness that no kernel reports.
const NEVER_SAID: Readiness = Readiness::from_bits_retain(u32::MAX);

/// A generation and a readiness in one number, to be compared at once.
#[inline]
fn both(generation: u32, readiness: Readiness) -> u64 {
    u64::from(generation) << 32 | u64::from(readiness.bits())
}

/// What is told as it is said of a source: see [`Registry::plain`].
#[inline]
fn plain(token: Token, watch: Watch) -> u64 {
    let readiness = match watch.mode {
        Mode::OneShot => NEVER_SAID,
        _ => watch.interest.into(),
    };
    both(token.generation(), readiness)
}

/// What is kept for one source.
#[derive(Debug)]
pub(crate) struct Entry<F, T> {
    pub(crate) fileobj: F,
    pub(crate) data: T,
    pub(crate) fd: RawSource,
    generation: u32,
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
    /// Whether it can be reported: not after a one-shot source was.
    pub(crate) armed: bool,
}

impl<F, T> Entry<F, T> {
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.interest, self.mode)
    }

    /// From now on it is watched for this, and armed: see [`Registry::set_plain`].
    #[inline]
    pub(crate) fn set_watch(&mut self, watch: Watch) {
        self.interest = watch.interest;
        self.mode = watch.mode;
        self.armed = true;
    }

    /// What the user is told when this is said.
    fn tell(&mut self, said: Readiness) -> Readiness {
        let told = said.asked_for(self.interest);
        if self.mode == Mode::OneShot {
            self.armed &= told.is_empty();
        }
        told
    }
}

/// What a batch of events held besides events of registered sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The selector's own waker.
    pub(crate) woken: bool,
    /// Tokens that name no source: the kernel still watches what was unregistered.
    pub(crate) stale: bool,
}

impl Settled {
    /// Takes note of a token that is no source's. Nobody is told anything of it.
    #[cold]
    fn note(&mut self, token: Token) -> Readiness {
        if token == Token::WAKER {
            self.woken = true;
        } else {
            self.stale = true;
        }
        Readiness::empty()
    }
}

#[derive(Debug)]
pub(crate) struct Registry<F, T> {
    /// `None` is a slot that has used up its generations.
    slots: Slab<Option<Entry<F, T>>>,
    /// Per slot, the [generation and](both) the readiness that is told as it is said, which is
    /// the usual case: neither more nor less than was asked for, of a source that needs no
    /// book-keeping. Of a vacant slot, the generation that its next source gets.
    plain: Vec<u64>,
    by_descriptor: DescriptorIndex,
    /// Per slot, where in the list of the current wait its event stands, for backends whose
    /// events have to be merged.
    places: Vec<u32>,
    len: usize,
}

impl<F, T> Registry<F, T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Slab::new(),
            plain: Vec::new(),
            by_descriptor: DescriptorIndex::default(),
            places: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The token that the next source gets.
    #[inline]
    pub(crate) fn next_token(&self) -> Token {
        let slot = self.slots.vacant_key();
        let generation = self.plain.get(slot).map_or(0, |plain| (plain >> 32) as u32);
        token(slot, generation)
    }

    /// Takes a source in under the [next token](Self::next_token), whose descriptor is not
    /// registered.
    pub(crate) fn insert(
        &mut self,
        token: Token,
        fd: RawSource,
        watch: Watch,
        fileobj: F,
        data: T,
    ) {
        self.make_room();
        let Watch { interest, mode } = watch;
        let generation = token.generation();
        let entry = Entry { fileobj, data, fd, generation, interest, mode, armed: true };
        let slot = self.slots.insert(Some(entry));
        if slot == self.plain.len() {
            self.plain.push(plain(token, watch));
        } else {
            self.plain[slot] = plain(token, watch);
        }
        self.by_descriptor.insert(fd, slot);
        self.len += 1;
    }

    /// Grows by a quarter where a vector would double: half of that could be memory for nothing.
    fn make_room(&mut self) {
        let len = self.slots.len();
        if len == self.slots.capacity() {
            self.slots.reserve_exact(4.max(len / 4));
        }
        if self.plain.len() == self.plain.capacity() {
            self.plain.reserve_exact(4.max(len / 4));
        }
    }

    /// Takes note of what is told as it is said of a source that is watched for this.
    #[inline]
    pub(crate) fn set_plain(&mut self, token: Token, watch: Watch) {
        self.plain[token.slot() as usize] = plain(token, watch);
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<Entry<F, T>> {
        self.get(token)?;
        let slot = token.slot() as usize;
        let next = token.generation().checked_add(1);
        self.plain[slot] = both(next.unwrap_or(u32::MAX), NEVER_SAID);
        let entry = match next {
            Some(_) => self.slots.remove(slot),
            // Starting over would bring old tokens back to life: this slot is not used again.
            None => self.slots[slot].take(),
        }?;
        self.by_descriptor.remove(entry.fd);
        self.len -= 1;
        Some(entry)
    }

    #[inline]
    pub(crate) fn get(&self, token: Token) -> Option<&Entry<F, T>> {
        let entry = self.slots.get(token.slot() as usize)?.as_ref()?;
        (entry.generation == token.generation()).then_some(entry)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut Entry<F, T>> {
        let entry = self.slots.get_mut(token.slot() as usize)?.as_mut()?;
        (entry.generation == token.generation()).then_some(entry)
    }

    pub(crate) fn token_of(&self, fd: RawSource) -> Option<Token> {
        let slot = self.by_descriptor.get(fd)?;
        let entry = self.slots.get(slot)?.as_ref()?;
        Some(token(slot, entry.generation))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, &Entry<F, T>)> {
        self.slots.iter().filter_map(|(slot, entry)| {
            let entry = entry.as_ref()?;
            Some((token(slot, entry.generation), entry))
        })
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry<F, T>> {
        self.slots.into_iter().filter_map(|(_, slot)| slot)
    }

    /// What a backend needs to start over.
    pub(crate) fn registered(&self) -> Vec<Registered> {
        self.iter()
            .map(|(token, entry)| Registered {
                fd: entry.fd,
                token,
                watch: entry.watch(),
                armed: entry.armed,
            })
            .collect()
    }

    #[inline]
    fn is_plain(&self, event: Event) -> bool {
        let said = both(event.token().generation(), event.readiness());
        self.plain.get(event.token().slot() as usize) == Some(&said)
    }

    /// How many of the first events are told as they are said, so that [`settle`](Self::settle)
    /// has nothing to do with them. Usually all.
    #[inline]
    pub(crate) fn count_plain(&self, events: &[Event]) -> usize {
        events.iter().position(|event| !self.is_plain(*event)).unwrap_or(events.len())
    }

    /// Turns what a backend said into what the user is told: masks each event by what its
    /// source asked for, drops those of no source, and takes note of one-shot sources.
    ///
    /// The first `plain` events are left as they are. With `merge`, several events of one source
    /// become one, for which none may be left.
    pub(crate) fn settle(&mut self, events: &mut Events, plain: usize, merge: bool) -> Settled {
        if merge {
            // The directions of a one-shot source fire one by one. The second may come batches
            // later, and the source has been reported by then.
            let has_fired = |entry: &Entry<F, T>| entry.mode == Mode::OneShot && !entry.armed;
            events.list.retain(|event| !self.get(event.token()).is_some_and(has_fired));
        }
        let mut settled = Settled::default();
        let mut dropped = false;
        for event in &mut events.list[plain..] {
            if self.is_plain(*event) {
                continue;
            }
            let told = match self.get_mut(event.token()) {
                Some(entry) => entry.tell(event.readiness()),
                None => settled.note(event.token()),
            };
            *event = Event::new(event.token(), told);
            dropped |= told.is_empty();
        }
        if dropped {
            events.list.retain(|event| !event.readiness().is_empty());
        }
        if merge {
            self.merge(&mut events.list);
        }
        settled
    }

    /// Makes several events of one source one, where the first of them stands.
    fn merge(&mut self, list: &mut Vec<Event>) {
        self.places.resize(self.plain.len(), 0);
        let mut kept = 0;
        for at in 0..list.len() {
            let event = list[at];
            let slot = event.token().slot() as usize;
            let Some(place) = self.places.get_mut(slot) else { continue };
            match list[..kept].get_mut(*place as usize) {
                Some(first) if first.token() == event.token() => {
                    *first = Event::new(event.token(), first.readiness() | event.readiness());
                }
                _ => {
                    *place = u32::try_from(kept).unwrap_or(u32::MAX);
                    list[kept] = event;
                    kept += 1;
                }
            }
        }
        list.truncate(kept);
    }
}

fn token(slot: usize, generation: u32) -> Token {
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer descriptors")]
    Token::new(slot as u32, generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Watch = Watch::new(Interest::READ, Mode::Level);
    const BOTH: Watch = Watch::new(Interest::READ.union(Interest::WRITE), Mode::Level);

    impl<F, T> Registry<F, T> {
        fn add(&mut self, fd: RawSource, watch: Watch, fileobj: F, data: T) -> Token {
            let token = self.next_token();
            self.insert(token, fd, watch, fileobj, data);
            token
        }
    }

    fn events(said: &[(Token, Readiness)]) -> Events {
        let mut events = Events::new();
        events.extend(said.iter().map(|&(token, readiness)| Event::new(token, readiness)));
        events
    }

    #[test]
    fn rule_reg_1_a_key_is_as_it_was_given() {
        let mut registry = Registry::new();
        let token = registry.add(7, READ, "file", "data");
        let entry = registry.get(token).unwrap();
        assert_eq!((entry.fileobj, entry.data, entry.fd), ("file", "data", 7));
        assert_eq!((entry.interest, entry.mode, entry.armed), (Interest::READ, Mode::Level, true));
    }

    #[test]
    fn rule_reg_9_what_was_taken_in_comes_out_once() {
        let mut registry = Registry::new();
        let token = registry.add(7, READ, "file", "data");
        let entry = registry.remove(token).unwrap();
        assert_eq!((entry.fileobj, entry.data), ("file", "data"));
        assert!(registry.remove(token).is_none());
    }

    #[test]
    fn rule_reg_10_a_reused_slot_has_another_token() {
        let mut registry = Registry::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let token = registry.add(7, READ, (), ());
            assert!(seen.insert(token), "{token:?} came twice");
            registry.remove(token).unwrap();
            assert!(registry.get(token).is_none());
        }
        assert_eq!(registry.plain.len(), 1, "one slot served them all");
    }

    #[test]
    fn rule_reg_10_a_slot_out_of_generations_is_not_reused() {
        let mut registry = Registry::new();
        let first = registry.add(7, READ, (), ());
        registry.remove(first).unwrap();
        registry.plain[0] = both(u32::MAX, NEVER_SAID);
        let last = registry.add(7, READ, (), ());
        assert_eq!(last, Token::new(0, u32::MAX));
        assert!(registry.remove(last).is_some());
        assert_eq!(registry.len(), 0);
        let next = registry.add(7, READ, (), ());
        assert_eq!(next, Token::new(1, 0));
        assert!(registry.get(first).is_none());
        assert!(registry.get(last).is_none());
        assert_eq!(registry.iter().count(), 1);
    }

    #[test]
    fn rule_reg_11_all_ways_to_a_source_agree() {
        let mut registry = Registry::new();
        let tokens: Vec<_> = (0..10).map(|fd| registry.add(fd, READ, fd, ())).collect();
        for token in tokens.iter().step_by(2) {
            registry.remove(*token).unwrap();
        }
        assert_eq!(registry.len(), 5);
        assert_eq!(registry.iter().count(), 5);
        for (fd, token) in (0..).zip(&tokens) {
            assert_eq!(registry.token_of(fd), (fd % 2 == 1).then_some(*token));
            assert_eq!(registry.get(*token).is_some(), fd % 2 == 1);
        }
        assert!(registry.iter().all(|(token, entry)| registry.token_of(entry.fd) == Some(token)));
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
            assert_eq!(registry.settle(&mut list, 0, true), Settled::default());
            let both = Readiness::READ | Readiness::WRITE;
            assert_eq!(
                list.list,
                [Event::new(a, both | Readiness::ERROR), Event::new(b, both)],
                "round {round}"
            );
        }
    }

    #[test]
    fn rule_ready_4_what_was_not_asked_for_is_not_told() {
        let mut registry = Registry::new();
        let token = registry.add(1, READ, (), ());
        let mut list = events(&[(token, Readiness::WRITE)]);
        assert_eq!(registry.settle(&mut list, 0, false), Settled::default());
        assert!(list.is_empty());
    }

    #[test]
    fn rule_wait_10_events_of_no_source_are_dropped_and_noted() {
        let mut registry = Registry::new();
        let old = registry.add(1, READ, (), ());
        registry.remove(old).unwrap();
        let new = registry.add(1, READ, (), ());
        let mut list = events(&[
            (old, Readiness::READ),
            (new, Readiness::READ),
            (Token::WAKER, Readiness::READ),
        ]);
        let settled = registry.settle(&mut list, 0, false);
        assert_eq!(settled, Settled { woken: true, stale: true });
        assert_eq!(list.list, [Event::new(new, Readiness::READ)]);
    }

    #[test]
    fn rule_mod_3_a_reported_one_shot_is_no_longer_armed() {
        let mut registry = Registry::new();
        let token = registry.add(1, Watch::new(Interest::READ, Mode::OneShot), (), ());
        registry.settle(&mut events(&[(token, Readiness::WRITE)]), 0, false);
        assert!(registry.get(token).unwrap().armed, "nothing was told");
        registry.settle(&mut events(&[(token, Readiness::READ)]), 0, false);
        assert!(!registry.get(token).unwrap().armed);
    }

    #[test]
    fn rule_ready_4_nothing_said_is_nothing_told() {
        let mut registry = Registry::new();
        for (fd, mode) in [(1, Mode::Level), (2, Mode::OneShot)] {
            let token = registry.add(fd, Watch::new(Interest::READ, mode), (), ());
            let mut list = events(&[(token, Readiness::empty())]);
            registry.settle(&mut list, 0, false);
            assert!(list.is_empty(), "{mode:?}");
            assert!(registry.get(token).unwrap().armed);
        }
    }

    #[test]
    fn a_source_costs_little_beside_file_object_and_data() {
        let beside = size_of::<Option<Entry<u64, u64>>>() - 16;
        assert!(beside <= 16, "{beside} bytes");
    }
}
