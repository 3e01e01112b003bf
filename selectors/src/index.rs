//! Maps from descriptors to places in a table, or to tokens.

use std::collections::BTreeMap;
use std::mem;

use crate::Token;
use crate::backend::RawSource;
use crate::growth;

/// Descriptors below this number have a place in an array of their own: kernels hand out the
/// lowest number that is free, so it is dense. The others go through a tree, so that one
/// high number does not allocate gigabytes.
const DENSE: usize = 1 << 20;

/// What a descriptor is mapped to.
pub(crate) trait Value: Copy {
    /// How it is stored.
    type Cell: Copy + PartialEq + std::fmt::Debug;

    /// The stored form of no value.
    const NOTHING: Self::Cell;

    fn cell(self) -> Self::Cell;

    fn of(cell: Self::Cell) -> Self;
}

/// A place in a list.
impl Value for usize {
    type Cell = u32;

    const NOTHING: u32 = u32::MAX;

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer descriptors")]
    fn cell(self) -> u32 {
        self as u32
    }

    #[inline]
    fn of(cell: u32) -> Self {
        cell as Self
    }
}

impl Value for Token {
    type Cell = Self;

    const NOTHING: Self = Self::reserved(u32::MAX);

    #[inline]
    fn cell(self) -> Self {
        self
    }

    #[inline]
    fn of(cell: Self) -> Self {
        cell
    }
}

/// How many descriptors are stored inline, before the map allocates an array or a tree.
const FEW: usize = 4;

/// A map from descriptors, in constant time and without hashing in the usual case.
#[derive(Debug)]
pub(crate) struct DescriptorMap<V: Value> {
    dense: Vec<V::Cell>,
    sparse: BTreeMap<RawSource, V::Cell>,
    /// The first descriptors, as long as there are few and none was removed. A selector with few
    /// sources then allocates nothing; one whose sources come and go uses the array.
    few: [(RawSource, V::Cell); FEW],
}

/// A map from descriptors to places.
pub(crate) type DescriptorIndex = DescriptorMap<usize>;

/// An index beyond every list: see [`DescriptorIndex::reserve`].
const NO_PLACE: usize = u32::MAX as usize - 1;

impl DescriptorIndex {
    /// Reserves a number, by mapping it to no place, and releases the one in `reserved`.
    pub(crate) fn reserve(&mut self, reserved: &mut Option<RawSource>, number: Option<RawSource>) {
        if number == *reserved {
            return;
        }
        if let Some(old) = *reserved {
            self.remove(old);
        }
        if let Some(new) = number {
            self.insert(new, NO_PLACE);
        }
        *reserved = number;
    }
}

impl<V: Value> Default for DescriptorMap<V> {
    fn default() -> Self {
        Self { dense: Vec::new(), sparse: BTreeMap::new(), few: [(0, V::NOTHING); FEW] }
    }
}

impl<V: Value> DescriptorMap<V> {
    #[inline]
    pub(crate) fn get(&self, fd: RawSource) -> Option<V> {
        let cell = match self.dense.get(position(fd)) {
            Some(cell) => *cell,
            None => self.get_other(fd)?,
        };
        (cell != V::NOTHING).then(|| V::of(cell))
    }

    #[cold]
    fn get_other(&self, fd: RawSource) -> Option<V::Cell> {
        let few = self.few.iter().find(|(other, _)| *other == fd).map(|(_, cell)| *cell);
        few.or_else(|| self.sparse.get(&fd).copied())
    }

    #[inline]
    pub(crate) fn insert(&mut self, fd: RawSource, value: V) {
        let cell = value.cell();
        match self.dense.get_mut(position(fd)) {
            Some(entry) => *entry = cell,
            None => self.insert_other(fd, cell),
        }
    }

    #[cold]
    fn insert_other(&mut self, fd: RawSource, cell: V::Cell) {
        if self.dense.is_empty() && self.sparse.is_empty() {
            let fits = |&(other, held): &(_, _)| other == fd || held == V::NOTHING;
            // Nothing is removed from `few`, so the free elements are at its end.
            if let Some(place) = self.few.iter_mut().find(|place| fits(place)) {
                *place = (fd, cell);
                return;
            }
            self.move_few();
        }
        self.insert_many(fd, cell);
    }

    /// Moves the inline descriptors to the array and the tree.
    fn move_few(&mut self) {
        let few = mem::replace(&mut self.few, [(0, V::NOTHING); FEW]);
        for (fd, cell) in few.into_iter().filter(|(_, cell)| *cell != V::NOTHING) {
            self.insert_many(fd, cell);
        }
    }

    /// Inserts a descriptor into the array or the tree.
    fn insert_many(&mut self, fd: RawSource, cell: V::Cell) {
        let at = position(fd);
        if at >= DENSE {
            self.sparse.insert(fd, cell);
        } else if let Some(entry) = self.dense.get_mut(at) {
            *entry = cell;
        } else {
            let more = at + 1 - self.dense.len();
            if more > self.dense.capacity() - self.dense.len() {
                growth::grow(&mut self.dense, more);
            }
            self.dense.resize(at, V::NOTHING);
            self.dense.push(cell);
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, fd: RawSource) -> Option<V> {
        let cell = match self.dense.get_mut(position(fd)) {
            Some(entry) => mem::replace(entry, V::NOTHING),
            None => self.remove_other(fd)?,
        };
        (cell != V::NOTHING).then(|| V::of(cell))
    }

    #[cold]
    fn remove_other(&mut self, fd: RawSource) -> Option<V::Cell> {
        self.move_few();
        match self.dense.get_mut(position(fd)) {
            Some(entry) => Some(mem::replace(entry, V::NOTHING)),
            None => self.sparse.remove(&fd),
        }
    }
}

/// Where in the array `fd` has its place, if that is below [`DENSE`]: a negative number has none.
#[inline]
#[allow(clippy::cast_sign_loss, reason = "on Windows it has no sign")]
#[allow(clippy::cast_possible_truncation, reason = "a handle of Windows has 32 bits")]
fn position(fd: RawSource) -> usize {
    fd as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [RawSource; 8] =
        [0, 1, 1023, 1024, 65_536, (1 << 20) - 1, 1 << 20, RawSource::MAX];

    #[test]
    fn every_kind_of_number_is_found() {
        // As many as are stored inline, from either end, and more.
        for numbers in [&NUMBERS[..FEW], &NUMBERS[4..], &NUMBERS[3..], &NUMBERS] {
            let mut index = DescriptorIndex::default();
            for round in 0..3 {
                for (place, &fd) in (0..).zip(numbers) {
                    assert_eq!(index.get(fd), None);
                    index.insert(fd, place);
                    assert_eq!(index.get(fd), Some(place));
                    index.insert(fd, place + round);
                }
                for (place, &fd) in (0..).zip(numbers) {
                    assert_eq!(index.get(fd), Some(place + round));
                    assert_eq!(index.remove(fd), Some(place + round));
                    assert_eq!(index.remove(fd), None);
                    assert_eq!(index.get(fd), None);
                }
            }
            assert_eq!(index.remove(77), None);
        }
    }

    #[test]
    fn few_numbers_are_stored_inline_until_there_are_more() {
        let mut index = DescriptorIndex::default();
        for value in 0..3 {
            (0..4).for_each(|fd| index.insert(fd, value));
            (0..4).for_each(|fd| assert_eq!(index.get(fd), Some(value)));
            assert_eq!(index.get(4), None);
            assert_eq!(index.dense.capacity(), 0);
        }
        index.insert(RawSource::MAX, 3);
        (0..4).for_each(|fd| index.insert(fd, 4));
        (0..4).for_each(|fd| assert_eq!(index.remove(fd), Some(4)));
        assert!((0..4).all(|fd| index.get(fd).is_none()), "a stale inline value");
        assert_eq!(index.get(RawSource::MAX), Some(3));
    }

    #[test]
    fn removing_an_inline_number_keeps_the_others() {
        const FDS: [RawSource; 3] = [0, 1, RawSource::MAX];
        for removed in FDS {
            let mut index = DescriptorIndex::default();
            for fd in FDS {
                index.insert(fd, 5);
            }
            assert_eq!((index.remove(removed), index.remove(removed)), (Some(5), None));
            for fd in FDS {
                assert_eq!(index.get(fd), (fd != removed).then_some(5));
            }
        }
    }

    #[test]
    fn a_reserved_number_is_found_at_no_place() {
        let (mut index, mut reserved) = (DescriptorIndex::default(), None);
        for number in [Some(7), Some(7), Some(8), None] {
            index.reserve(&mut reserved, number);
            for fd in [7, 8] {
                let place = index.get(fd);
                assert_eq!(place.is_some(), Some(fd) == number);
                assert!(place.is_none_or(|place| place > 1 << 31), "that of a source: {place:?}");
            }
        }
    }
}
