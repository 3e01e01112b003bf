//! A deferred change of one source.

use std::io;

use super::{Backend, RawSource, register_raw};
use crate::{Mode, Token, Watch};

/// A deferred change: see [`Backend::change_and_wait`].
///
/// # Examples
///
/// A backend that says what it changes:
///
/// ```
/// use selectors::backend::*;
/// use selectors::{Events, Interest, Selector, Token, Watch};
/// use std::io;
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// struct Verbose(DefaultBackend);
///
/// impl Backend for Verbose {
///     fn change_and_wait(
///         &mut self,
///         changes: &mut [Change],
///         events: &mut Events,
///         timeout: Option<Duration>,
///     ) -> io::Result<()> {
///         for change in &*changes {
///             println!("{}: {:?} → {:?}", change.fd(), change.old_watch(), change.new_watch());
///         }
///         self.0.change_and_wait(changes, events, timeout)
///     }
///     // The rest likewise.
/// #     fn capabilities(&self) -> Capabilities {
/// #         self.0.capabilities()
/// #     }
/// #     fn register(&mut self, fd: BorrowedSource<'_>, token: Token, watch: Watch) -> io::Result<()> {
/// #         self.0.register(fd, token, watch)
/// #     }
/// #     fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
/// #         self.0.modify(fd, token, old, new)
/// #     }
/// #     fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
/// #         self.0.unregister(fd, token, watch)
/// #     }
/// #     fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
/// #         self.0.wait(events, timeout)
/// #     }
/// }
///
/// # fn main() -> io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = Selector::with_backend(Deferred::new(Verbose(DefaultBackend::new()?)));
/// let token = selector.register(ours, Interest::READ, ())?;
/// selector.modify(token, Interest::WRITE)?;
/// // Prints one line: both changes became one.
/// assert_eq!(selector.select(None)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Change {
    pub(super) fd: RawSource,
    pub(super) token: Token,
    pub(super) old: Option<Watch>,
    pub(super) new: Watch,
    /// The error with which the kernel refused it.
    pub(super) refusal: Option<io::Error>,
}

impl Change {
    /// The descriptor of the source, which may have been closed meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Change, RawSource};
    ///
    /// /// The changes of one descriptor.
    /// fn of(changes: &[Change], fd: RawSource) -> impl Iterator<Item = &Change> {
    ///     changes.iter().filter(move |change| change.fd() == fd)
    /// }
    /// ```
    #[must_use]
    pub fn fd(&self) -> RawSource {
        self.fd
    }

    /// The token of the source.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Token;
    /// use selectors::backend::Change;
    ///
    /// fn tokens(changes: &[Change]) -> Vec<Token> {
    ///     changes.iter().map(Change::token).collect()
    /// }
    /// ```
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// What the source is watched for now, or `None` for a registration.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::Change;
    ///
    /// fn is_registration(change: &Change) -> bool {
    ///     change.old_watch().is_none()
    /// }
    /// ```
    #[must_use]
    pub fn old_watch(&self) -> Option<Watch> {
        self.old
    }

    /// What the source is watched for after the change.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Mode;
    /// use selectors::backend::Change;
    ///
    /// fn is_one_shot(change: &Change) -> bool {
    ///     change.new_watch().mode == Mode::OneShot
    /// }
    /// ```
    #[must_use]
    pub fn new_watch(&self) -> Watch {
        self.new
    }

    /// Returns true if the kernel already watches the source like this.
    #[inline]
    pub(super) fn is_redundant(&self) -> bool {
        self.old == Some(self.new) && !matches!(self.new.mode, Mode::OneShot | Mode::Edge)
    }

    /// Applies this change to the backend by [`register`](Backend::register) or
    /// [`modify`](Backend::modify), and stores the error. Returns true if it was accepted.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Change};
    ///
    /// /// For kernels that take one change at a time. Returns how many were refused.
    /// fn apply<B: Backend>(changes: &mut [Change], backend: &mut B) -> usize {
    ///     changes.iter_mut().filter_map(|change| (!change.make(backend)).then_some(())).count()
    /// }
    /// ```
    pub fn make<B: Backend + ?Sized>(&mut self, backend: &mut B) -> bool {
        let Self { fd, token, .. } = *self;
        let result = match self.old {
            Some(old) => backend.modify(fd, token, old, self.new),
            None => register_raw(backend, fd, token, self.new),
        };
        match result {
            Ok(()) => true,
            Err(error) => {
                self.refusal = Some(error);
                false
            }
        }
    }

    /// [Applies](Self::make) changes one by one. Returns true if all were accepted.
    pub(super) fn make_all<B: Backend + ?Sized>(changes: &mut [Self], backend: &mut B) -> bool {
        let mut all = true;
        for change in changes {
            all &= change.make(backend);
        }
        all
    }
}
