//! Keys: what a selector holds for each source.

use crate::backend::RawSource;
use crate::registry::Entry;
use crate::{Interest, Mode};

/// A registered source: its file object, descriptor, interest, mode and data. Returned by
/// [`Selector::get`](crate::Selector::get). The fields have the names of Python's `SelectorKey`.
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest};
/// use std::os::fd::AsRawFd;
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let number = ours.as_raw_fd();
/// let mut selector = DefaultSelector::new()?;
/// let token = selector.register(ours, Interest::READ, "data")?;
/// let key = selector.get(token).unwrap();
/// assert_eq!(key.fileobj.as_raw_fd(), number);
/// assert_eq!((key.fd, key.events, *key.data), (number, Interest::READ, "data"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct SelectorKey<'a, F, T> {
    /// The file object.
    pub fileobj: &'a F,
    /// The descriptor that was registered.
    pub fd: RawSource,
    /// The registered interest.
    pub events: Interest,
    /// The trigger mode.
    pub mode: Mode,
    /// The data registered with it.
    pub data: &'a T,
}

impl<'a, F, T> SelectorKey<'a, F, T> {
    #[inline]
    pub(crate) fn new(entry: &'a Entry<F, T>) -> Self {
        Self {
            fileobj: &entry.fileobj,
            fd: entry.fd,
            events: entry.interest,
            mode: entry.mode,
            data: &entry.data,
        }
    }
}

impl<F, T> Clone for SelectorKey<'_, F, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, T> Copy for SelectorKey<'_, F, T> {}

/// A [`SelectorKey`] with mutable access to the file object and the data. Returned by
/// [`Selector::get_mut`](crate::Selector::get_mut).
///
/// Python's `modify(fileobj, events, data)` changes the data; here it is changed in place.
/// The file object is mutable because some types, such as the pipes of a child process, read and
/// write through `&mut`. The selector watches the descriptor that was registered: to replace the
/// file object by one with another descriptor, unregister it first.
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
/// let token = selector.register(ours, Interest::READ, 0)?;
/// *selector.get_mut(token).unwrap().data += 1;
/// assert_eq!(*selector.get(token).unwrap().data, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct SelectorKeyMut<'a, F, T> {
    /// The file object.
    pub fileobj: &'a mut F,
    /// The descriptor that was registered.
    pub fd: RawSource,
    /// The registered interest.
    pub events: Interest,
    /// The trigger mode.
    pub mode: Mode,
    /// The data registered with it.
    pub data: &'a mut T,
}

impl<'a, F, T> SelectorKeyMut<'a, F, T> {
    #[inline]
    pub(crate) fn new(entry: &'a mut Entry<F, T>) -> Self {
        Self {
            fileobj: &mut entry.fileobj,
            fd: entry.fd,
            events: entry.interest,
            mode: entry.mode,
            data: &mut entry.data,
        }
    }
}
