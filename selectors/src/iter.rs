//! Iterators over the sources of a selector.

use std::iter::FusedIterator;

use crate::registry::Entry;
use crate::{Selector, SelectorKey, SelectorKeyMut, Token};

/// Iterates over the sources of a selector. Returned by [`Selector::iter`].
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// let registered = selector.register(ours, Interest::READ, "ours")?;
/// for (token, key) in &selector {
///     assert_eq!((token, *key.data), (registered, "ours"));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Iter<'a, F, T> {
    slots: slab::Iter<'a, Option<Entry<F, T>>>,
    left: usize,
}

/// Iterates over the sources of a selector with mutable access to file objects and data. Returned by
/// [`Selector::iter_mut`].
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// let token = selector.register(ours, Interest::READ, 1)?;
/// for (_token, key) in &mut selector {
///     *key.data += 1;
/// }
/// assert_eq!(*selector.get(token).unwrap().data, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct IterMut<'a, F, T> {
    slots: slab::IterMut<'a, Option<Entry<F, T>>>,
    left: usize,
}

impl<'a, F, T> Iter<'a, F, T> {
    pub(crate) fn new(slots: slab::Iter<'a, Option<Entry<F, T>>>, len: usize) -> Self {
        Self { slots, left: len }
    }
}

impl<'a, F, T> IterMut<'a, F, T> {
    pub(crate) fn new(slots: slab::IterMut<'a, Option<Entry<F, T>>>, len: usize) -> Self {
        Self { slots, left: len }
    }
}

impl<'a, F, T> Iterator for Iter<'a, F, T> {
    type Item = (Token, SelectorKey<'a, F, T>);

    fn next(&mut self) -> Option<Self::Item> {
        let (slot, entry) = self.slots.find_map(|(slot, entry)| Some((slot, entry.as_ref()?)))?;
        self.left -= 1;
        Some((entry.token(slot), SelectorKey::new(entry)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, F, T> Iterator for IterMut<'a, F, T> {
    type Item = (Token, SelectorKeyMut<'a, F, T>);

    fn next(&mut self) -> Option<Self::Item> {
        let (slot, entry) = self.slots.find_map(|(slot, entry)| Some((slot, entry.as_mut()?)))?;
        self.left -= 1;
        Some((entry.token(slot), SelectorKeyMut::new(entry)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<F, T> ExactSizeIterator for Iter<'_, F, T> {}
impl<F, T> ExactSizeIterator for IterMut<'_, F, T> {}
impl<F, T> FusedIterator for Iter<'_, F, T> {}
impl<F, T> FusedIterator for IterMut<'_, F, T> {}

impl<F, T> Clone for Iter<'_, F, T> {
    fn clone(&self) -> Self {
        Self { slots: self.slots.clone(), left: self.left }
    }
}

impl<'a, F, T, B> IntoIterator for &'a Selector<F, T, B> {
    type Item = (Token, SelectorKey<'a, F, T>);
    type IntoIter = Iter<'a, F, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.registry.keys()
    }
}

impl<'a, F, T, B> IntoIterator for &'a mut Selector<F, T, B> {
    type Item = (Token, SelectorKeyMut<'a, F, T>);
    type IntoIter = IterMut<'a, F, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.registry.keys_mut()
    }
}

#[cfg(test)]
mod tests {
    use crate::registry::Registry;
    use crate::{Interest, Mode, Watch};

    #[test]
    fn vacant_slots_are_skipped_and_not_counted() {
        let mut registry = Registry::new();
        let mut tokens = Vec::new();
        for fd in 0..3 {
            let token = registry.next_token();
            registry.insert(token, fd, Watch::new(Interest::READ, Mode::Level), (), fd);
            tokens.push(token);
        }
        registry.remove(tokens.remove(1));
        let mut keys = registry.keys();
        assert_eq!((keys.len(), keys.clone().count()), (2, 2));
        assert_eq!(keys.next().map(|(token, key)| (token, *key.data)), Some((tokens[0], 0)));
        assert_eq!(keys.len(), 1);
        assert!(registry.keys_mut().map(|(token, _)| token).eq(tokens));
    }
}
