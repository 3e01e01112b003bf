//! Slots that never move, found by index without a lock, with one atomic word each.
//!
//! A slot is vacant, live or retired. Threads that make changes make it live and retire it; only the
//! waiter makes it vacant again, under the next generation, between two of its waits. An event that
//! the kernel has reported to a wait therefore finds its own generation, or a retired slot, but never
//! a new source. An event of an older generation is a ghost.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;

use crate::backend::{AtomicSource, RawSource};
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};
use crate::{Interest, Mode, Readiness, Watch};

/// The number of elements of the first chunk. Each further chunk is twice as long as the one before.
const FIRST: u32 = if cfg!(loom) { 2 } else { 64 };
const CHUNKS: usize = (u32::BITS - FIRST.ilog2()) as usize;

/// An array that grows without moving its elements.
#[derive(Debug)]
pub(super) struct Chunks<S>([OnceLock<Box<[S]>>; CHUNKS]);

impl<S> Chunks<S> {
    pub(super) fn new() -> Self {
        Self([const { OnceLock::new() }; CHUNKS])
    }

    /// The chunk of an element, and its index there. The last [`FIRST`] numbers have none.
    #[inline]
    fn place(index: u32) -> Option<(usize, usize)> {
        let shifted = index.checked_add(FIRST)?;
        let chunk = shifted.ilog2() - FIRST.ilog2();
        Some((chunk as usize, (shifted - (FIRST << chunk)) as usize))
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&S> {
        let (chunk, place) = Self::place(index)?;
        self.0[chunk].get()?.get(place)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut S> {
        let (chunk, place) = Self::place(index)?;
        self.0[chunk].get_mut()?.get_mut(place)
    }

    /// The element. If its chunk does not exist yet, creates it with elements from `new`.
    #[inline]
    pub(super) fn get_or_make(&self, index: u32, new: impl Fn() -> S) -> Option<&S> {
        let (chunk, place) = Self::place(index)?;
        let make = || (0..FIRST << chunk).map(|_| new()).collect();
        self.0[chunk].get_or_init(make).get(place)
    }

    /// Every element that was created.
    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.0.iter().filter_map(OnceLock::get).flatten()
    }
}

/// The state in the word of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u64);

impl State {
    /// A source is registered here, perhaps parked.
    const LIVE: u64 = 1 << 16;
    /// Not a one-shot source that was reported.
    const ARMED: u64 = 1 << 17;
    /// The backend has not accepted the source yet, and it has not been reported.
    const PENDING: u64 = 1 << 18;

    const fn vacant(generation: u32) -> Self {
        Self((generation as u64) << 32)
    }

    fn watching(generation: u32, watch: Watch) -> Self {
        let mode = match watch.mode {
            Mode::Level => 0,
            Mode::OneShot => 1,
            Mode::Edge => 2,
            Mode::Exclusive => 3,
        };
        let watch = u64::from(watch.interest.bits()) | mode << 8;
        Self(Self::vacant(generation).0 | Self::LIVE | Self::ARMED | watch)
    }

    #[inline]
    const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    #[inline]
    const fn without(self, flags: u64) -> Self {
        Self(self.0 & !flags)
    }

    #[inline]
    pub(super) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lowest byte is meant")]
    const fn interest(self) -> Interest {
        Interest::from_bits_retain(self.0 as u8)
    }

    #[inline]
    const fn mode(self) -> Mode {
        match self.0 >> 8 & 3 {
            0 => Mode::Level,
            1 => Mode::OneShot,
            2 => Mode::Edge,
            _ => Mode::Exclusive,
        }
    }

    /// What the source is watched for.
    pub(super) const fn watch(self) -> Watch {
        Watch::new(self.interest(), self.mode())
    }

    /// Whether the source can be reported: false for a fired one-shot source.
    pub(super) const fn is_armed(self) -> bool {
        self.has(Self::ARMED)
    }

    /// Returns true for a source of that generation, from when it is published until it is retired.
    #[inline]
    pub(super) const fn is_live(self, generation: u32) -> bool {
        self.generation() == generation && self.has(Self::LIVE)
    }

    /// Returns true for a source of that generation that the backend has accepted.
    #[inline]
    const fn is_registered(self, generation: u32) -> bool {
        self.is_live(generation) && !self.has(Self::PENDING)
    }
}

/// The result of filtering an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filtered {
    /// It is reported, with the readiness masked by the interest.
    Ready(Readiness),
    /// It is not reported: masked, fired already, or retired during this wait.
    Dropped,
    /// It is a ghost: its source is not registered any more.
    Ghost,
}

/// What watches a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchedBy {
    /// Nothing: it is parked, or had fired when the kernel object was recreated, or was closed before
    /// `after_fork`.
    Nothing,
    /// The kernel.
    Kernel,
    /// The backend, in user space.
    Backend,
}

#[derive(Debug)]
pub(super) struct Slot<T> {
    state: AtomicU64,
    /// The next slot of the [`Stack`] that it is on.
    next: AtomicU32,
    /// The descriptor of a live source, and its [`WatchedBy`]. Threads that make changes use them, one at a
    /// time.
    fd: AtomicSource,
    watched_by: AtomicU8,
    /// The data, until the waiter first looks it up.
    data: Mutex<Option<T>>,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            next: AtomicU32::new(Stack::END),
            fd: AtomicSource::new(0),
            watched_by: AtomicU8::new(WatchedBy::Nothing as u8),
            data: Mutex::new(None),
        }
    }

    #[inline]
    pub(super) fn fd(&self) -> RawSource {
        self.fd.load(Ordering::Relaxed)
    }

    pub(super) fn set_fd(&self, fd: RawSource) {
        self.fd.store(fd, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn watched_by(&self) -> WatchedBy {
        match self.watched_by.load(Ordering::Relaxed) {
            0 => WatchedBy::Nothing,
            1 => WatchedBy::Kernel,
            _ => WatchedBy::Backend,
        }
    }

    pub(super) fn set_watched_by(&self, watched_by: WatchedBy) {
        self.watched_by.store(watched_by as u8, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    /// Makes a vacant slot live, before it is submitted to the kernel, and returns its
    /// generation.
    pub(super) fn publish(&self, watch: Watch, data: T) -> u32 {
        let generation = self.state().generation();
        *lock(&self.data) = Some(data);
        let state = State(State::watching(generation, watch).0 | State::PENDING);
        self.state.store(state.0, Ordering::Release);
        generation
    }

    /// The source was accepted.
    pub(super) fn accept(&self) {
        self.state.fetch_and(!State::PENDING, Ordering::AcqRel);
    }

    /// Sets the watch, armed, before the change is submitted to the kernel. Returns the old state.
    pub(super) fn arm(&self, watch: Watch) -> State {
        let state = State::watching(self.state().generation(), watch);
        State(self.state.swap(state.0, Ordering::AcqRel))
    }

    /// Restores the state that [`arm`](Self::arm) returned. Returns true if the source is armed then;
    /// the kernel must be armed again, because an event may have been dropped meanwhile.
    pub(super) fn restore(&self, old: State) -> bool {
        let mut now = self.state();
        loop {
            // An event during the change belongs to the old arming.
            let fired = !now.is_armed() && old.mode() == Mode::OneShot;
            let back = if fired { old.without(State::ARMED) } else { old };
            match self.state.compare_exchange(now.0, back.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return back.is_armed(),
                Err(other) => now = State(other),
            }
        }
    }

    /// Marks the source as no longer watched by the kernel.
    pub(super) fn retire(&self) {
        let state = State::vacant(self.state().generation());
        self.state.store(state.0, Ordering::Release);
    }

    /// Makes a retired slot vacant for the next generation, if there is one, and returns data that was
    /// never looked up. For the waiter, between two waits.
    pub(super) fn reclaim(&self) -> (Option<u32>, Option<T>) {
        let next = self.state().generation().checked_add(1);
        let state = State::vacant(next.unwrap_or(u32::MAX));
        self.state.store(state.0, Ordering::Release);
        (next, self.take())
    }

    /// The data, if it was not taken before.
    pub(super) fn take(&self) -> Option<T> {
        lock(&self.data).take()
    }

    #[inline]
    pub(super) fn is_registered(&self, generation: u32) -> bool {
        self.state().is_registered(generation)
    }

    /// Filters and masks the raw readiness of an event of the source with this generation.
    #[inline]
    pub(super) fn filter(&self, generation: u32, raw: Readiness) -> Filtered {
        let mut state = self.state();
        loop {
            if state.generation() != generation {
                return Filtered::Ghost;
            }
            // A parked or retired source is not reported, not even for a hang-up.
            if state.interest().is_empty() || !state.is_armed() {
                return Filtered::Dropped;
            }
            let readiness = raw.masked_by(state.interest());
            if readiness.is_empty() {
                return Filtered::Dropped;
            }
            let fired = if state.mode() == Mode::OneShot { State::ARMED } else { 0 };
            let next = state.without(fired | State::PENDING);
            if next == state {
                return Filtered::Ready(readiness);
            }
            match self.state.compare_exchange(state.0, next.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Filtered::Ready(readiness),
                Err(now) => state = State(now),
            }
        }
    }
}

/// A lock-free stack of slots, linked through themselves, from threads that make changes to the waiter or
/// back.
#[derive(Debug)]
pub(super) struct Stack(AtomicU32);

impl Stack {
    /// The index of no slot: see [`Chunks::place`].
    const END: u32 = u32::MAX;

    pub(super) fn new() -> Self {
        Self(AtomicU32::new(Self::END))
    }

    /// Adds a slot that is on no stack.
    pub(super) fn push<T>(&self, index: u32, slot: &Slot<T>) {
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            slot.next.store(head, Ordering::Relaxed);
            match self.0.compare_exchange(head, index, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all slots, and appends them to `list`.
    #[inline]
    pub(super) fn take<T>(&self, slots: &Chunks<Slot<T>>, list: &mut Vec<u32>) {
        if self.0.load(Ordering::Relaxed) == Self::END {
            return;
        }
        let mut next = self.0.swap(Self::END, Ordering::Acquire);
        while let Some(slot) = slots.get(next) {
            list.push(next);
            next = slot.next.load(Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const READ: Watch = Watch::new(Interest::READ, Mode::Level);
    const ONE_SHOT: Watch = Watch::new(Interest::READ, Mode::OneShot);
    const PARKED: Watch = Watch::new(Interest::empty(), Mode::OneShot);

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let chunks = Chunks::new();
        for index in [0, 1, 63, 64, 191, 192, 1_000, 65_535] {
            assert!(
                chunks
                    .get(index)
                    .is_none_or(|number: &AtomicU64| { number.load(Ordering::Relaxed) == 0 })
            );
            let number = chunks.get_or_make(index, || AtomicU64::new(0)).unwrap();
            assert_eq!(number.fetch_add(1, Ordering::Relaxed), 0, "{index}");
        }
        assert_eq!(chunks.iter().map(|number| number.load(Ordering::Relaxed)).sum::<u64>(), 8);
        assert!(chunks.get(u32::MAX).is_none(), "that of reserved tokens");
    }

    #[test]
    fn a_slot_goes_from_vacant_to_live_to_retired_to_the_next_generation() {
        let slot = Slot::new();
        let generation = slot.publish(READ, "data");
        assert!(!slot.is_registered(generation), "not accepted yet");
        slot.accept();
        assert!(slot.is_registered(generation));
        assert_eq!(slot.filter(generation, Readiness::READ), Filtered::Ready(Readiness::READ));
        slot.retire();
        assert!(!slot.is_registered(generation));
        assert_eq!(slot.filter(generation, Readiness::READ), Filtered::Dropped);
        assert_eq!(slot.filter(generation, Readiness::HANGUP), Filtered::Dropped);
        assert_eq!(slot.reclaim(), (Some(generation + 1), Some("data")));
        assert_eq!(slot.filter(generation, Readiness::READ), Filtered::Ghost);
        assert_eq!(slot.publish(READ, "other"), generation + 1);
    }

    #[test]
    fn an_event_accepts_what_is_pending() {
        let slot = Slot::new();
        let generation = slot.publish(READ, ());
        assert_eq!(slot.filter(generation, Readiness::READ), Filtered::Ready(Readiness::READ));
        assert!(slot.is_registered(generation));
    }

    #[test]
    fn a_one_shot_fires_once_for_each_arming() {
        let slot = Slot::new();
        let generation = slot.publish(ONE_SHOT, ());
        for _ in 0..3 {
            assert_eq!(slot.filter(generation, Readiness::WRITE), Filtered::Dropped);
            assert_eq!(slot.filter(generation, Readiness::READ), Filtered::Ready(Readiness::READ));
            assert_eq!(slot.filter(generation, Readiness::READ), Filtered::Dropped);
            assert!(!slot.arm(ONE_SHOT).is_armed());
        }
        assert!(slot.arm(PARKED).is_armed());
        assert_eq!(slot.filter(generation, Readiness::HANGUP), Filtered::Dropped);
        let before = slot.arm(ONE_SHOT);
        assert_eq!(before.watch(), PARKED);
        assert!(slot.restore(before));
        assert_eq!(slot.state(), before);
    }

    #[test]
    fn an_event_before_a_refusal_is_not_repeated() {
        let slot = Slot::new();
        let generation = slot.publish(ONE_SHOT, ());
        let old = slot.arm(ONE_SHOT);
        assert_eq!(slot.filter(generation, Readiness::READ), Filtered::Ready(Readiness::READ));
        assert!(!slot.restore(old));
        assert_eq!(slot.filter(generation, Readiness::READ), Filtered::Dropped);
        let level = Slot::new();
        let generation = level.publish(READ, ());
        let old = level.arm(ONE_SHOT);
        assert_eq!(level.filter(generation, Readiness::READ), Filtered::Ready(Readiness::READ));
        assert!(level.restore(old));
        assert_eq!(level.filter(generation, Readiness::READ), Filtered::Ready(Readiness::READ));
    }

    #[test]
    fn a_slot_out_of_generations_is_not_used_again() {
        let slot = Slot::new();
        slot.state.store(State::vacant(u32::MAX).0, Ordering::Relaxed);
        assert_eq!(slot.publish(READ, 7), u32::MAX);
        slot.retire();
        assert_eq!(slot.reclaim(), (None, Some(7)));
    }

    #[test]
    fn the_word_keeps_every_mode_and_interest() {
        for mode in [Mode::Level, Mode::OneShot, Mode::Edge, Mode::Exclusive] {
            for bits in 0..=Interest::all().bits() {
                let watch = Watch::new(Interest::from_bits_retain(bits), mode);
                let state = State::watching(7, watch);
                assert_eq!((state.watch(), state.generation()), (watch, 7));
                assert!(state.is_armed() && state.is_registered(7));
            }
        }
    }
}
