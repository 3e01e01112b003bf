//! Keys: what a selector holds for each source.

use crate::backend::RawSource;
use crate::{Interest, Mode};

/// What is registered under a token, with the names of Python's `SelectorKey`: see
/// [`Selector::get`](crate::Selector::get).
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

impl<F, T> Clone for SelectorKey<'_, F, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, T> Copy for SelectorKey<'_, F, T> {}

/// As [`SelectorKey`], with mutable access to the file object and the data: see
/// [`Selector::get_mut`](crate::Selector::get_mut).
///
/// Python's `modify(fileobj, events, data)` changes the data; here it is changed in place.
/// The file object is mutable because some types read and write through `&mut`, such
/// as a child process' pipes. To replace it by one with another descriptor, unregister it
/// first: what is watched is the descriptor that was registered.
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
