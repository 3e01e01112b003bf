//! Look-ups: the data of a source by token, the descriptor of the selector, the number of sources.

use std::cell::OnceCell;

use super::SharedSelector;
use crate::Token;
use crate::backend::{self, BorrowedSource};

impl<T> SharedSelector<T> {
    /// Returns the data of a source, or `None` if it is not registered (any more). Takes no lock. The data
    /// of an unregistered source may be found until the next wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::READ, "label")?;
    /// let token = source.token();
    /// assert_eq!(selector.get(token), Some(&"label"));
    /// drop(source);
    /// assert_eq!(selector.get(token), None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn get(&self, token: Token) -> Option<&T> {
        let slot = self.core.slots.get(token.slot())?;
        if !slot.is_registered(token.generation()) {
            return None;
        }
        let cell = self.data.get_or_make(token.slot(), OnceCell::new)?;
        if let Some(data) = cell.get() {
            return Some(data);
        }
        let data = slot.take()?;
        Some(cell.get_or_init(|| data))
    }

    /// Returns the data of a source with mutable access; otherwise as [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::READ, 0)?;
    /// *selector.get_mut(source.token()).unwrap() += 1;
    /// assert_eq!(selector.get(source.token()), Some(&1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.get(token)?;
        self.data.get_mut(token.slot())?.get_mut()
    }

    /// Returns the selector's own descriptor, which another selector can watch: it is readable there
    /// when this one has something to report. `None` if the backend has none, like poll and select, or
    /// if there are too many open files.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let inner = SharedSelector::new()?;
    /// # #[cfg(target_os = "linux")] {
    /// let mut outer = DefaultSelector::new()?;
    /// outer.register(inner.descriptor().expect("epoll has one"), Interest::READ, ())?;
    /// assert!(outer.select(Some(Duration::ZERO))?.is_empty());
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let _source = inner.registrar().register(ours, Interest::WRITE, ())?;
    /// assert_eq!(outer.select(None)?.len(), 1);
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias("fileno", "as_fd"))]
    pub fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.core.check_fork().ok()?;
        if self.front.get().is_none() {
            let _ = self.front.set(self.core.descriptor()?);
        }
        self.front.get().map(backend::source)
    }

    /// The number of registered sources.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector = SharedSelector::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let source = selector.registrar().register(ours, Interest::READ, ())?;
    /// assert_eq!(selector.len(), 1);
    /// drop(source);
    /// assert_eq!(selector.len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Returns true if no source is registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SharedSelector = SharedSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
