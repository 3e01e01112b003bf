//! A map from descriptors to places in a table.

use std::collections::HashMap;

use crate::backend::RawSource;
use crate::growth;

/// Descriptors below this number have a place in an array of their own: kernels hand out the
/// lowest number that is free, so it is dense. The others go through a map, so that one
/// high number does not allocate gigabytes.
const DENSE: usize = 1 << 20;

/// An array entry without a place.
const NOWHERE: u32 = u32::MAX;

/// A map from descriptors to places, in constant time and without hashing in the usual case.
#[derive(Debug, Default)]
pub(crate) struct DescriptorIndex {
    dense: Vec<u32>,
    sparse: HashMap<RawSource, u32>,
}

impl DescriptorIndex {
    #[inline]
    pub(crate) fn get(&self, fd: RawSource) -> Option<usize> {
        let place = match dense(fd) {
            Some(at) => *self.dense.get(at)?,
            None => self.get_sparse(fd)?,
        };
        (place != NOWHERE).then_some(place as usize)
    }

    #[cold]
    fn get_sparse(&self, fd: RawSource) -> Option<u32> {
        self.sparse.get(&fd).copied()
    }

    #[inline]
    pub(crate) fn insert(&mut self, fd: RawSource, place: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer descriptors")]
        let place = place as u32;
        match dense(fd) {
            Some(at) => match self.dense.get_mut(at) {
                Some(entry) => *entry = place,
                None => self.grow(at, place),
            },
            None => self.insert_sparse(fd, place),
        }
    }

    #[cold]
    fn grow(&mut self, at: usize, place: u32) {
        let more = at + 1 - self.dense.len();
        if more > self.dense.capacity() - self.dense.len() {
            growth::grow(&mut self.dense, more);
        }
        self.dense.resize(at, NOWHERE);
        self.dense.push(place);
    }

    #[cold]
    fn insert_sparse(&mut self, fd: RawSource, place: u32) {
        self.sparse.insert(fd, place);
    }

    #[inline]
    pub(crate) fn remove(&mut self, fd: RawSource) -> Option<usize> {
        let place = match dense(fd) {
            Some(at) => std::mem::replace(self.dense.get_mut(at)?, NOWHERE),
            None => self.remove_sparse(fd)?,
        };
        (place != NOWHERE).then_some(place as usize)
    }

    #[cold]
    fn remove_sparse(&mut self, fd: RawSource) -> Option<u32> {
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
