//! The registry: a slab of sources, an index from descriptors to slots, and generations, so that an old
//! token never identifies a new source. No I/O happens here.

use slab::Slab;

mod filter;

use crate::backend::{RawSource, Registered};
use crate::growth;
use crate::index::DescriptorIndex;
use crate::{Error, Interest, Iter, IterMut, Mode, Readiness, Token, Watch};

/// A readiness that no kernel reports.
const IMPOSSIBLE: Readiness = Readiness::from_bits_retain(u32::MAX);

/// Packs a generation and a readiness into one number, so that one comparison checks both.
#[inline]
fn both(generation: u32, readiness: Readiness) -> u64 {
    u64::from(generation) << 32 | u64::from(readiness.bits())
}

/// Whether the backend watches a source and may report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Watched.
    Armed,
    /// A one-shot source that was reported: registered with the backend, but disarmed.
    Fired,
    /// Not registered with the backend: the source is parked, or had fired when the kernel object was
    /// recreated or a change to exclusive wake-up failed, or was closed before
    /// [`after_fork`](crate::Selector::after_fork).
    Unwatched,
}

/// One registered source.
#[derive(Debug)]
pub(crate) struct Entry<F, T> {
    pub(crate) fileobj: F,
    pub(crate) data: T,
    pub(crate) fd: RawSource,
    generation: u32,
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
    pub(crate) state: State,
}

impl<F, T> Entry<F, T> {
    pub(crate) fn token(&self, slot: usize) -> Token {
        token(slot, self.generation)
    }

    #[inline]
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.interest, self.mode)
    }

    /// Sets the interest, and the mode if one is given. Returns the new usual event, to be stored: see
    /// [`Registry::get_both`].
    #[inline]
    pub(crate) fn set_watch(&mut self, interest: Interest, mode: Option<Mode>) -> u64 {
        self.interest = interest;
        self.mode = mode.unwrap_or(self.mode);
        self.state = watched(interest);
        self.usual()
    }

    /// The usual event of this source, which needs no adjustment: see [`Registry::usual`].
    #[inline]
    fn usual(&self) -> u64 {
        let readiness = match self.mode {
            Mode::OneShot => IMPOSSIBLE,
            // Every event of a parked source is filtered.
            _ if self.interest.is_empty() => IMPOSSIBLE,
            _ => self.interest.into(),
        };
        both(self.generation, readiness)
    }
}

/// The state of a source that was just registered or modified.
#[inline]
fn watched(interest: Interest) -> State {
    if interest.is_empty() { State::Unwatched } else { State::Armed }
}

#[derive(Debug)]
pub(crate) struct Registry<F, T> {
    /// `None` is a slot whose generations are exhausted.
    slots: Slab<Option<Entry<F, T>>>,
    /// Per slot, the [generation and readiness](both) of the event that needs no adjustment, which is
    /// the usual one: exactly the interest of the source, in a mode without state. For a vacant slot,
    /// the generation of its next source.
    usual: Vec<u64>,
    /// Also the [reserved](Self::reserve) number, as that of no slot.
    by_descriptor: DescriptorIndex,
    reserved: Option<RawSource>,
    /// Per slot, the position of its event in the list of the current wait, to merge events.
    places: Vec<u32>,
    len: usize,
}

impl<F, T> Registry<F, T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Slab::new(),
            usual: Vec::new(),
            by_descriptor: DescriptorIndex::default(),
            reserved: None,
            places: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The token of the next source.
    #[inline]
    pub(crate) fn next_token(&self) -> Token {
        let slot = self.slots.vacant_key();
        let generation = self.usual.get(slot).map_or(0, |usual| (usual >> 32) as u32);
        token(slot, generation)
    }

    /// Inserts a source under the [next token](Self::next_token). Its descriptor must not be
    /// registered.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        token: Token,
        fd: RawSource,
        watch: Watch,
        fileobj: F,
        data: T,
    ) {
        if self.slots.len() == self.slots.capacity() {
            self.grow();
        }
        let Watch { interest, mode } = watch;
        let generation = token.generation();
        let state = watched(interest);
        let entry = Entry { fileobj, data, fd, generation, interest, mode, state };
        let usual = entry.usual();
        let slot = self.slots.insert(Some(entry));
        if slot == self.usual.len() {
            self.usual.push(usual);
        } else {
            self.usual[slot] = usual;
        }
        self.by_descriptor.insert(fd, slot);
        self.len += 1;
    }

    #[cold]
    fn grow(&mut self) {
        if self.slots.capacity() == 0 {
            self.slots = Slab::with_capacity(growth::FIRST);
            self.usual = Vec::with_capacity(growth::FIRST);
        } else {
            let more = growth::step(self.slots.len());
            self.slots.reserve_exact(more);
            growth::grow(&mut self.usual, more);
        }
    }

    /// A source, which must be registered, and its usual event, to be updated with its interest.
    #[inline]
    pub(crate) fn get_both(&mut self, token: Token) -> (&mut Entry<F, T>, &mut u64) {
        let slot = token.slot() as usize;
        let entry = self.slots[slot].as_mut().expect("the source is registered");
        (entry, &mut self.usual[slot])
    }

    /// Removes a source, which must be registered.
    #[inline]
    pub(crate) fn remove(&mut self, token: Token) -> (F, T) {
        let slot = token.slot() as usize;
        let next = token.generation().checked_add(1);
        self.usual[slot] = both(next.unwrap_or(u32::MAX), IMPOSSIBLE);
        let entry = match next {
            Some(_) => self.slots.remove(slot),
            // Wrapping around would make old tokens valid again, so this slot is retired.
            None => self.slots[slot].take(),
        };
        let entry = entry.expect("the source is registered");
        self.by_descriptor.remove(entry.fd);
        self.len -= 1;
        (entry.fileobj, entry.data)
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

    /// Several entries, or `None` if a token is not registered or occurs twice.
    pub(crate) fn get_disjoint_mut<const N: usize>(
        &mut self,
        tokens: [Token; N],
    ) -> Option<[&mut Entry<F, T>; N]> {
        if tokens.iter().any(|&token| self.get(token).is_none()) {
            return None;
        }
        let slots = tokens.map(|token| token.slot() as usize);
        let entries = self.slots.get_disjoint_mut(slots).ok()?;
        Some(entries.map(|entry| entry.as_mut().expect("every token is registered")))
    }

    pub(crate) fn token_of(&self, fd: RawSource) -> Option<Token> {
        let slot = self.by_descriptor.get(fd)?;
        let entry = self.slots.get(slot)?.as_ref()?;
        Some(entry.token(slot))
    }

    /// Keeps a number, that of the waker's channel, from being registered, instead of the last one.
    pub(crate) fn reserve(&mut self, number: Option<RawSource>) {
        self.by_descriptor.reserve(&mut self.reserved, number);
    }

    /// Why a number cannot be registered: it is a source's, or reserved.
    #[inline]
    pub(crate) fn taken(&self, fd: RawSource) -> Option<Error> {
        self.by_descriptor.get(fd).map(|slot| self.taken_by(slot, fd))
    }

    #[cold]
    fn taken_by(&self, slot: usize, fd: RawSource) -> Error {
        match self.slots.get(slot) {
            Some(Some(entry)) => Error::AlreadyRegistered { fd, token: entry.token(slot) },
            _ => Error::own_descriptor(fd),
        }
    }

    pub(crate) fn keys(&self) -> Iter<'_, F, T> {
        Iter::new(self.slots.iter(), self.len)
    }

    pub(crate) fn keys_mut(&mut self) -> IterMut<'_, F, T> {
        IterMut::new(self.slots.iter_mut(), self.len)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, &Entry<F, T>)> {
        self.slots.iter().filter_map(|(slot, entry)| {
            let entry = entry.as_ref()?;
            Some((entry.token(slot), entry))
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut Entry<F, T>)> {
        self.slots.iter_mut().filter_map(|(slot, entry)| {
            let entry = entry.as_mut()?;
            Some((entry.token(slot), entry))
        })
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = Entry<F, T>> {
        self.slots.into_iter().filter_map(|(_, slot)| slot)
    }

    /// The armed sources.
    pub(crate) fn armed(&self) -> impl Iterator<Item = Registered> {
        self.iter().filter(|(_, entry)| entry.state == State::Armed).map(|(token, entry)| {
            let (fd, watch) = (entry.fd, entry.watch());
            Registered { fd, token, watch }
        })
    }

    /// Marks all sources whose descriptor is lost as not registered with the backend.
    pub(crate) fn forget_lost(&mut self, is_lost: impl Fn(RawSource) -> bool) {
        for (_, entry) in self.iter_mut().filter(|(_, entry)| is_lost(entry.fd)) {
            entry.state = State::Unwatched;
        }
    }

    /// Marks all fired one-shot sources as not registered with the backend.
    pub(crate) fn forget_fired(&mut self) {
        for (_, entry) in self.iter_mut().filter(|(_, entry)| entry.state == State::Fired) {
            entry.state = State::Unwatched;
        }
    }
}

fn token(slot: usize, generation: u32) -> Token {
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer descriptors")]
    Token::new(slot as u32, generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const READ: Watch = Watch::new(Interest::READ, Mode::Level);

    impl<F, T> Registry<F, T> {
        pub(super) fn add(&mut self, fd: RawSource, watch: Watch, fileobj: F, data: T) -> Token {
            let token = self.next_token();
            self.insert(token, fd, watch, fileobj, data);
            token
        }
    }

    #[test]
    fn rule_reg_1_a_key_has_the_registered_values() {
        let mut registry = Registry::new();
        let token = registry.add(7, READ, "file", "data");
        let entry = registry.get(token).unwrap();
        assert_eq!((entry.fileobj, entry.data, entry.fd), ("file", "data", 7));
        assert_eq!((entry.interest, entry.mode), (Interest::READ, Mode::Level));
        assert_eq!(entry.state, State::Armed);
    }

    #[test]
    fn rule_reg_9_removing_returns_file_object_and_data_once() {
        let mut registry = Registry::new();
        let token = registry.add(7, READ, "file", "data");
        assert_eq!(registry.remove(token), ("file", "data"));
        assert!(registry.get(token).is_none());
    }

    #[test]
    fn rule_reg_10_a_reused_slot_has_another_token() {
        let mut registry = Registry::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let token = registry.add(7, READ, (), ());
            assert!(seen.insert(token), "{token:?} came twice");
            registry.remove(token);
            assert!(registry.get(token).is_none());
        }
        assert_eq!(registry.usual.len(), 1, "one slot served them all");
    }

    #[test]
    fn rule_reg_10_a_slot_out_of_generations_is_not_reused() {
        let mut registry = Registry::new();
        let first = registry.add(7, READ, (), ());
        registry.remove(first);
        registry.usual[0] = both(u32::MAX, IMPOSSIBLE);
        let last = registry.add(7, READ, (), ());
        assert_eq!(last, Token::new(0, u32::MAX));
        registry.remove(last);
        assert_eq!(registry.len(), 0);
        let next = registry.add(7, READ, (), ());
        assert_eq!(next, Token::new(1, 0));
        assert!(registry.get(first).is_none());
        assert!(registry.get(last).is_none());
        assert_eq!(registry.iter().count(), 1);
    }

    #[test]
    fn rule_reg_11_all_lookups_agree() {
        let mut registry = Registry::new();
        let tokens: Vec<_> = (0..10).map(|fd| registry.add(fd, READ, fd, ())).collect();
        for token in tokens.iter().step_by(2) {
            registry.remove(*token);
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
    fn a_source_costs_little_beside_file_object_and_data() {
        let beside = size_of::<Option<Entry<u64, u64>>>() - 16;
        assert!(beside <= 16, "{beside} bytes");
    }
}
