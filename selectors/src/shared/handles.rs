//! The registrar and the handles, through which other threads use a selector.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::core::Core;
use crate::backend::{self, AsSource};
use crate::{Interest, Mode, RegisterError, Result, Token, Waker, Watch};

/// Registers sources with a [`SharedSelector`](super::SharedSelector), from any thread.
///
/// # Examples
///
/// ```
/// use selectors::{Interest, SharedSelector};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let mut selector = SharedSelector::new()?;
/// let registrar = selector.registrar();
/// let thread = std::thread::spawn(move || {
///     let (ours, _theirs) = UnixStream::pair().unwrap();
///     registrar.register(ours, Interest::WRITE, 7)
/// });
/// let events = selector.select(None)?;
/// assert_eq!(selector.get(events.iter().next().unwrap().token()), Some(&7));
/// # drop(thread.join().unwrap()?);
/// # Ok(())
/// # }
/// ```
pub struct Registrar<T = ()> {
    core: Arc<Core<T>>,
}

impl<T> Registrar<T> {
    pub(super) fn new(core: Arc<Core<T>>) -> Self {
        Self { core }
    }

    /// Registers `fileobj` with `interest`, level-triggered. The waiting thread finds `data` by the token,
    /// and drops it in a wait after the source was unregistered.
    ///
    /// With an empty interest the source is parked: it is not watched until it is modified.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`], which contains the file object and the data, and one of the errors of
    /// [`Selector::register`](crate::Selector::register), or [`Error::Closed`](crate::Error::Closed) if
    /// the selector was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector = SharedSelector::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let source = selector.registrar().register(ours, Interest::WRITE, "label")?;
    /// let events = selector.select(None)?;
    /// assert_eq!(events[0].token(), source.token());
    /// assert_eq!(selector.get(source.token()), Some(&"label"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn register<F: AsSource>(
        &self,
        fileobj: F,
        interest: Interest,
        data: T,
    ) -> Result<Source<F, T>, RegisterError<F, T>> {
        self.register_with(fileobj, interest, data, Mode::Level)
    }

    /// Registers a source in a given [`Mode`]; otherwise as [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// Those of [`register`](Self::register); [`Error::Unsupported`](crate::Error::Unsupported) if the
    /// backend does not support the mode.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Mode, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source =
    ///     selector.registrar().register_with(ours, Interest::empty(), (), Mode::OneShot)?;
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// source.modify(Interest::WRITE)?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_with<F: AsSource>(
        &self,
        fileobj: F,
        interest: Interest,
        data: T,
        mode: Mode,
    ) -> Result<Source<F, T>, RegisterError<F, T>> {
        let watch = Watch::new(interest, mode);
        match self.core.register(backend::source(&fileobj), watch, data) {
            Ok(token) => {
                let registration = Registration { core: Arc::clone(&self.core), token };
                Ok(Source { registration, fileobj })
            }
            Err((error, data)) => Err(RegisterError { error, fileobj, data }),
        }
    }

    /// Changes the interest of a source by its token, as [`Source::modify`] does. For code without the
    /// [`Source`], such as the waiting thread.
    ///
    /// # Errors
    ///
    /// Those of [`Source::modify`]; [`Error::NotRegistered`](crate::Error::NotRegistered) once the
    /// source was unregistered.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Mode, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let registrar = selector.registrar();
    /// let source = registrar.register_with(ours, Interest::WRITE, (), Mode::OneShot)?;
    /// for _ in 0..3 {
    ///     for event in selector.select(None)? {
    ///         assert_eq!(event.token(), source.token());
    ///         registrar.modify(event.token(), Interest::WRITE)?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn modify(&self, token: Token, interest: Interest) -> Result<()> {
        self.core.modify(token, None, false, |watch| Watch::new(interest, watch.mode))
    }

    /// Changes interest and [`Mode`]; otherwise as [`modify`](Self::modify).
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`Error::Unsupported`](crate::Error::Unsupported) if the
    /// backend does not support the mode.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Mode, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let registrar = selector.registrar();
    /// let source = registrar.register(ours, Interest::WRITE, ())?;
    /// registrar.modify_with(source.token(), Interest::WRITE, Mode::OneShot)?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn modify_with(&self, token: Token, interest: Interest, mode: Mode) -> Result<()> {
        self.core.modify(token, None, false, |_| Watch::new(interest, mode))
    }

    /// Returns a waker, with which other threads can end a `select`.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// let registrar = selector.registrar();
    /// let thread = std::thread::spawn(move || registrar.waker().wake());
    /// assert!(selector.select(None)?.woken());
    /// # thread.join().unwrap()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.core.waker()
    }
}

impl<T> Clone for Registrar<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.core))
    }
}

impl<T> fmt::Debug for Registrar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").finish_non_exhaustive()
    }
}

/// A file object that is registered with a [`SharedSelector`](super::SharedSelector).
///
/// It dereferences to the file object. Dropping it unregisters the source and then drops the file
/// object, so that no descriptor is closed while it is watched. Forgetting it (`mem::forget`) leaks
/// both; if it borrows its file object, that stays watched until it is closed.
///
/// Its methods can be called from any thread, and are effective in the current wait when they return.
///
/// # Examples
///
/// ```
/// use selectors::{Interest, SharedSelector};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let mut selector = SharedSelector::new()?;
/// let source = selector.registrar().register(ours, Interest::READ, ())?;
/// theirs.write_all(b"x")?;
/// assert_eq!(selector.select(None)?.len(), 1);
/// let mut stream: &UnixStream = &source;
/// stream.read_exact(&mut [0])?;
/// source.modify(Interest::WRITE)?;
/// assert!(selector.select(None)?.iter().all(|event| event.is_writable()));
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it unregisters and closes the file object"]
pub struct Source<F, T = ()> {
    // Dropped first: a closed descriptor must not be watched.
    registration: Registration<T>,
    fileobj: F,
}

struct Registration<T> {
    core: Arc<Core<T>>,
    token: Token,
}

impl<T> Drop for Registration<T> {
    #[inline]
    fn drop(&mut self) {
        self.core.unregister(self.token);
    }
}

impl<F, T> Source<F, T> {
    /// The token of the source, which identifies it in events.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector = SharedSelector::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let source = selector.registrar().register(ours, Interest::WRITE, ())?;
    /// assert_eq!(selector.select(None)?[0].token(), source.token());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> Token {
        self.registration.token
    }

    /// Returns the file object with mutable access. To read from it, `&source` is enough if `&F` is, as
    /// for sockets.
    ///
    /// It must keep its descriptor: a file object that is replaced is closed while it is watched, and the
    /// new one is not watched.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::io::{BufRead, BufReader, Write};
    /// use std::os::fd::{AsFd, BorrowedFd};
    /// use std::os::unix::net::UnixStream;
    ///
    /// struct Lines(BufReader<UnixStream>);
    ///
    /// impl AsFd for Lines {
    ///     fn as_fd(&self) -> BorrowedFd<'_> {
    ///         self.0.get_ref().as_fd()
    ///     }
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let lines = Lines(BufReader::new(ours));
    /// let mut source = selector.registrar().register(lines, Interest::READ, ())?;
    /// theirs.write_all(b"hello\n")?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// let mut line = String::new();
    /// source.get_mut().0.read_line(&mut line)?;
    /// assert_eq!(line, "hello\n");
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.fileobj
    }

    /// Unregisters the source and returns the file object.
    ///
    /// A wait that begins after this has returned does not report the source; the current one may.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::WRITE, ())?;
    /// let _ours: UnixStream = source.into_inner();
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "dropping the file object closes it"]
    pub fn into_inner(self) -> F {
        let Self { registration, fileobj } = self;
        drop(registration);
        fileobj
    }
}

impl<F: AsSource, T> Source<F, T> {
    /// Changes the interest, and rearms a one-shot source that has fired. With an empty interest the
    /// source is parked.
    ///
    /// Makes no system call if nothing changes.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::modify`](crate::Selector::modify), after which the source is watched
    /// as before; [`Error::Closed`](crate::Error::Closed) if the selector was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector = SharedSelector::new()?;
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let source = selector.registrar().register(ours, Interest::READ, ())?;
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// source.modify(Interest::READ | Interest::WRITE)?;
    /// assert!(selector.select(None)?[0].is_writable());
    /// # Ok(())
    /// # }
    /// ```
    pub fn modify(&self, interest: Interest) -> Result<()> {
        self.change(false, |watch| Watch::new(interest, watch.mode))
    }

    /// Changes interest and [`Mode`]; otherwise as [`modify`](Self::modify).
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`Error::Unsupported`](crate::Error::Unsupported) if the
    /// backend does not support the mode.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Mode, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::READ, ())?;
    /// source.modify_with(Interest::WRITE, Mode::OneShot)?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn modify_with(&self, interest: Interest, mode: Mode) -> Result<()> {
        self.change(false, |_| Watch::new(interest, mode))
    }

    /// Rearms an edge-triggered source, or a one-shot source that has fired: it is reported again if it
    /// is still ready. The interest does not change. A no-op in level-triggered mode.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Mode, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source = selector.registrar().register_with(ours, Interest::WRITE, (), Mode::OneShot)?;
    /// for _ in 0..3 {
    ///     assert_eq!(selector.select(None)?.len(), 1);
    ///     source.rearm()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn rearm(&self) -> Result<()> {
        self.change(true, |watch| watch)
    }

    /// Parks the source: modifies it to an empty interest.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::WRITE, ())?;
    /// source.park()?;
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// source.modify(Interest::WRITE)?;
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn park(&self) -> Result<()> {
        self.modify(Interest::empty())
    }

    fn change(&self, again: bool, watch: impl FnOnce(Watch) -> Watch) -> Result<()> {
        let Registration { core, token } = &self.registration;
        // Called before anything is locked, because it is user code.
        let now = backend::raw(backend::source(&self.fileobj));
        core.modify(*token, Some(now), again, watch)
    }
}

impl<F, T> Deref for Source<F, T> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.fileobj
    }
}

impl<F: fmt::Debug, T> fmt::Debug for Source<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("token", &self.token())
            .field("fileobj", &self.fileobj)
            .finish_non_exhaustive()
    }
}
