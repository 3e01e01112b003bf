//! What other threads have of a selector: the registrar, and a handle for each source.

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

    /// Watches `fileobj` for `interest`, level-triggered. `data` is what the selector finds by the
    /// token; it is dropped in a wait after the source was unregistered, by the thread that waits.
    ///
    /// With an empty interest the source is parked: it is not watched until it is modified.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] with the file object and the data in it, and as its reason one of those
    /// of [`Selector::register`](crate::Selector::register), or
    /// [`Error::Closed`](crate::Error::Closed) when the selector is gone.
    pub fn register<F: AsSource>(
        &self,
        fileobj: F,
        interest: Interest,
        data: T,
    ) -> Result<Source<F, T>, RegisterError<F, T>> {
        self.register_with(fileobj, interest, data, Mode::Level)
    }

    /// As [`register`](Self::register), in a [`Mode`] of your choice.
    ///
    /// # Errors
    ///
    /// Those of [`register`](Self::register); [`Error::Unsupported`](crate::Error::Unsupported)
    /// where the backend does not have the mode.
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

    /// Watches a source for something else, by its token: as [`Source::modify`], for those who do
    /// not have the [`Source`], such as the thread that waits.
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

    /// As [`modify`](Self::modify), changing the [`Mode`] too.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`Error::Unsupported`](crate::Error::Unsupported) where
    /// the backend does not have the mode.
    pub fn modify_with(&self, token: Token, interest: Interest, mode: Mode) -> Result<()> {
        self.core.modify(token, None, false, |_| Watch::new(interest, mode))
    }

    /// A waker, with which other threads can end a `select`.
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
/// object, so that no descriptor is closed while it is watched. Forgetting it leaks both. (One that
/// has borrowed its file object, and is forgotten, leaves it watched until it is closed.)
///
/// Its methods can be called from any thread, and are effective in the wait that is going on when
/// they return.
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
    // Dropped first: what is closed must not be watched.
    registration: Registration<T>,
    fileobj: F,
}

struct Registration<T> {
    core: Arc<Core<T>>,
    token: Token,
}

impl<T> Drop for Registration<T> {
    fn drop(&mut self) {
        self.core.unregister(self.token);
    }
}

impl<F, T> Source<F, T> {
    /// Names the source in events.
    #[must_use]
    pub fn token(&self) -> Token {
        self.registration.token
    }

    /// The file object, to change it; to read, `&source` is enough where `&F` is, as for sockets.
    ///
    /// It is to keep its descriptor. One that is replaced is closed while it is watched, and what
    /// took its place is not watched.
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

    /// Unregisters the source and gives the file object back.
    ///
    /// A wait that begins after this has returned does not report it; one that was going on may.
    #[must_use = "dropping the file object closes it"]
    pub fn into_inner(self) -> F {
        let Self { registration, fileobj } = self;
        drop(registration);
        fileobj
    }
}

impl<F: AsSource, T> Source<F, T> {
    /// Watches for something else, and arms a one-shot source that has fired. With an empty
    /// interest the source is parked.
    ///
    /// Makes no system call if nothing changes.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::modify`](crate::Selector::modify), after which the source is watched
    /// as before; [`Error::Closed`](crate::Error::Closed) when the selector is gone.
    pub fn modify(&self, interest: Interest) -> Result<()> {
        self.change(false, |watch| Watch::new(interest, watch.mode))
    }

    /// As [`modify`](Self::modify), changing the [`Mode`] too.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify); [`Error::Unsupported`](crate::Error::Unsupported) where
    /// the backend does not have the mode.
    pub fn modify_with(&self, interest: Interest, mode: Mode) -> Result<()> {
        self.change(false, |_| Watch::new(interest, mode))
    }

    /// Has an edge-triggered source, or a one-shot source that has fired, reported again if it is
    /// still ready, without changing what it is watched for. Does nothing in level-triggered mode.
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

    /// Stops watching the source until it is modified: an empty interest.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify).
    pub fn park(&self) -> Result<()> {
        self.modify(Interest::empty())
    }

    fn change(&self, again: bool, watch: impl FnOnce(Watch) -> Watch) -> Result<()> {
        let Registration { core, token } = &self.registration;
        core.modify(*token, Some(backend::source(&self.fileobj)), again, watch)
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
