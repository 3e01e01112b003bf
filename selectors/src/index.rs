//! A map from descriptors to places in a table, or to tokens.

use std::collections::BTreeMap;

use crate::Token;
use crate::backend::RawSource;
use crate::growth;

/// Descriptors below this number have a place in an array of their own: kernels hand out the
/// lowest number that is free, so it is dense. The others go through a tree, so that one
/// high number does not allocate gigabytes.
const DENSE: usize = 1 << 20;

/// What a descriptor is mapped to.
pub(crate) trait Value: Copy {
    /// How it is kept.
    type Cell: Copy + PartialEq + std::fmt::Debug;

    /// What is kept for a descriptor without a value.
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

/// A map from descriptors, in constant time and without hashing in the usual case.
#[derive(Debug)]
pub(crate) struct DescriptorMap<V: Value> {
    dense: Vec<V::Cell>,
    sparse: BTreeMap<RawSource, V::Cell>,
}

/// A map from descriptors to places.
pub(crate) type DescriptorIndex = DescriptorMap<usize>;

impl<V: Value> Default for DescriptorMap<V> {
    fn default() -> Self {
        Self { dense: Vec::new(), sparse: BTreeMap::new() }
    }
}

impl<V: Value> DescriptorMap<V> {
    #[inline]
    pub(crate) fn get(&self, fd: RawSource) -> Option<V> {
        let cell = match dense(fd) {
            Some(at) => *self.dense.get(at)?,
            None => self.get_sparse(fd)?,
        };
        (cell != V::NOTHING).then(|| V::of(cell))
    }

    #[cold]
    fn get_sparse(&self, fd: RawSource) -> Option<V::Cell> {
        self.sparse.get(&fd).copied()
    }

    #[inline]
    pub(crate) fn insert(&mut self, fd: RawSource, value: V) {
        let cell = value.cell();
        match dense(fd) {
            Some(at) => match self.dense.get_mut(at) {
                Some(entry) => *entry = cell,
                None => self.grow(at, cell),
            },
            None => self.insert_sparse(fd, cell),
        }
    }

    #[cold]
    fn grow(&mut self, at: usize, cell: V::Cell) {
        let more = at + 1 - self.dense.len();
        if more > self.dense.capacity() - self.dense.len() {
            growth::grow(&mut self.dense, more);
        }
        self.dense.resize(at, V::NOTHING);
        self.dense.push(cell);
    }

    #[cold]
    fn insert_sparse(&mut self, fd: RawSource, cell: V::Cell) {
        self.sparse.insert(fd, cell);
    }

    #[inline]
    pub(crate) fn remove(&mut self, fd: RawSource) -> Option<V> {
        let cell = match dense(fd) {
            Some(at) => std::mem::replace(self.dense.get_mut(at)?, V::NOTHING),
            None => self.remove_sparse(fd)?,
        };
        (cell != V::NOTHING).then(|| V::of(cell))
    }

    #[cold]
    fn remove_sparse(&mut self, fd: RawSource) -> Option<V::Cell> {
        self.sparse.remove(&fd)
    }
}

/// Where in the array `fd` has its place, if it has one there.
#[inline]
fn dense(fd: RawSource) -> Option<usize> {
    usize::try_from(fd).ok().filter(|&at| at < DENSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_low_high_and_odd_all_have_a_place() {
        let mut index = DescriptorIndex::default();
        let numbers = [0, 1, 1023, 1024, 65_536, (1 << 20) - 1, 1 << 20, RawSource::MAX];
        for (place, &fd) in (0..).zip(&numbers) {
            assert_eq!(index.get(fd), None);
            index.insert(fd, place);
        }
        for (place, &fd) in (0..).zip(&numbers) {
            assert_eq!(index.get(fd), Some(place));
            assert_eq!(index.remove(fd), Some(place));
            assert_eq!(index.remove(fd), None);
            assert_eq!(index.get(fd), None);
        }
        assert_eq!(index.remove(77), None);
    }
}
