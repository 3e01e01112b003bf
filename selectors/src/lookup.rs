//! Look-ups: a source by token, by file object or by descriptor, several at a time, and all of them.

use crate::backend::{self, AsSource, Backend, RawSource};
use crate::{ExtractError, Iter, IterMut, Result, Selector, SelectorKey, SelectorKeyMut, Token};

impl<F, T, B: Backend> Selector<F, T, B> {
    /// Returns the source registered under a token, or `None` after it was unregistered. An index into
    /// an array and a comparison of generations.
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
    /// let token = selector.register(ours, Interest::READ, "label")?;
    /// assert_eq!(selector.get(token).map(|key| *key.data), Some("label"));
    /// selector.unregister(token)?;
    /// assert!(selector.get(token).is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[must_use]
    pub fn get(&self, token: Token) -> Option<SelectorKey<'_, F, T>> {
        self.registry.get(token).map(SelectorKey::new)
    }

    /// Returns the source registered under a token, with mutable access to file object and data.
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
    /// let token = selector.register(ours, Interest::READ, Vec::new())?;
    /// if let Some(key) = selector.get_mut(token) {
    ///     key.data.push("changed without a system call");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, token: Token) -> Option<SelectorKeyMut<'_, F, T>> {
        self.registry.get_mut(token).map(SelectorKeyMut::new)
    }

    /// Returns several sources with mutable access, or `None` if a token is not registered or occurs
    /// twice. Named after the method of the standard library's maps.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::io;
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> io::Result<()> {
    /// let ((client, _a), (server, _b)) = (UnixStream::pair()?, UnixStream::pair()?);
    /// let mut selector = DefaultSelector::new()?;
    /// let client = selector.register(client, Interest::READ, "client")?;
    /// let server = selector.register(server, Interest::READ, "server")?;
    /// let [from, to] = selector.get_disjoint_mut([client, server]).unwrap();
    /// assert_eq!((*from.data, *to.data), ("client", "server"));
    /// assert!(selector.get_disjoint_mut([client, client]).is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn get_disjoint_mut<const N: usize>(
        &mut self,
        tokens: [Token; N],
    ) -> Option<[SelectorKeyMut<'_, F, T>; N]> {
        Some(self.registry.get_disjoint_mut(tokens)?.map(SelectorKeyMut::new))
    }

    /// Returns the source with the descriptor of `fileobj`, which may be another file object with the
    /// same descriptor. Python's `get_key(fileobj)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(&ours, Interest::READ, "data")?;
    /// assert_eq!(selector.get_key(&ours).map(|key| *key.data), Some("data"));
    /// assert!(selector.get_key(&theirs).is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn get_key<S: AsSource + ?Sized>(&self, fileobj: &S) -> Option<SelectorKey<'_, F, T>> {
        self.token_of(fileobj).and_then(|token| self.get(token))
    }

    /// Returns the token under which the descriptor of `fileobj` is registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// let token = selector.register(&ours, Interest::READ, ())?;
    /// assert_eq!(selector.token_of(&ours), Some(token));
    /// assert_eq!(selector.token_of(&theirs), None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token_of<S: AsSource + ?Sized>(&self, fileobj: &S) -> Option<Token> {
        self.registry.token_of(backend::raw(backend::source(fileobj)))
    }

    /// Returns the token under which a descriptor number is registered, for example one from a log or
    /// another library.
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
    /// let token = selector.register(ours, Interest::READ, ())?;
    /// assert_eq!(selector.token_of_raw(number), Some(token));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token_of_raw(&self, fd: RawSource) -> Option<Token> {
        self.registry.token_of(fd)
    }

    /// Returns true if a source is registered under this token.
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
    /// let token = selector.register(ours, Interest::READ, ())?;
    /// assert!(selector.contains(token));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn contains(&self, token: Token) -> bool {
        self.registry.get(token).is_some()
    }

    /// The number of registered sources. Wakers are not counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::DefaultSelector;
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: DefaultSelector<TcpStream> = DefaultSelector::new()?;
    /// let _waker = selector.waker()?;
    /// assert_eq!(selector.len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_map")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.registry.len()
    }

    /// Returns true if no source is registered.
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
    /// assert!(selector.is_empty());
    /// selector.register(ours, Interest::READ, ())?;
    /// assert!(!selector.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the sources and their tokens, in no particular order. `for` loops over
    /// `&selector` do the same. Python's `get_map()`.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::READ, "ours")?;
    /// selector.register(theirs, Interest::WRITE, "theirs")?;
    /// let mut labels: Vec<_> = selector.iter().map(|(_token, key)| *key.data).collect();
    /// labels.sort();
    /// assert_eq!(labels, ["ours", "theirs"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_map")]
    pub fn iter(&self) -> Iter<'_, F, T> {
        self.registry.keys()
    }

    /// Iterates over the sources and their tokens with mutable access to file objects and data. `for`
    /// loops over `&mut selector` do the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::READ, Vec::<u8>::new())?;
    /// selector.register(theirs, Interest::READ, Vec::new())?;
    /// for (_token, key) in &mut selector {
    ///     key.data.extend(b"to everybody");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter_mut(&mut self) -> IterMut<'_, F, T> {
        self.registry.keys_mut()
    }

    /// Unregisters every source for which `remove` returns true, and returns them. Named after
    /// `Vec::extract_if`.
    ///
    /// # Errors
    ///
    /// An [`ExtractError`], which contains one of the errors of [`unregister`](Self::unregister) and the
    /// sources that were unregistered before it. The source that could not be unregistered and the chosen
    /// ones after it stay registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Interest};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = DefaultSelector::new()?;
    /// selector.register(ours, Interest::READ, 1)?;
    /// selector.register(theirs, Interest::READ, 2)?;
    /// let idle = selector.extract_if(|key| *key.data > 1)?;
    /// assert_eq!((idle.len(), selector.len()), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("retain", "drain_filter"))]
    pub fn extract_if(
        &mut self,
        mut remove: impl FnMut(SelectorKeyMut<'_, F, T>) -> bool,
    ) -> Result<Vec<(F, T)>, ExtractError<F, T>> {
        let mut extracted = Vec::new();
        let mut extract = || -> Result<()> {
            self.check_fork()?;
            let chosen: Vec<_> =
                (self.iter_mut()).filter_map(|(token, key)| remove(key).then_some(token)).collect();
            extracted.reserve_exact(chosen.len());
            chosen.into_iter().try_for_each(|token| {
                extracted.push(self.unregister(token)?);
                Ok(())
            })
        };
        match extract() {
            Ok(()) => Ok(extracted),
            Err(error) => Err(ExtractError { error, extracted }),
        }
    }
}
