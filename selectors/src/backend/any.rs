//! A backend that is chosen at run time.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::{
    Backend, BackendKind, BorrowedSource, Capabilities, Change, Changer, RawSource, Registered,
    Trigger,
};
use crate::{Error, Events, Result, Selector, Token, Watch};

/// A selector whose backend is chosen at run time, by its [`BackendKind`].
///
/// It behaves as the selector of that backend does, at the price of one indirect call for each
/// operation.
///
/// # Examples
///
/// ```
/// use selectors::{AnySelector, BackendKind, Interest};
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// for kind in BackendKind::available() {
///     let (ours, theirs) = UnixStream::pair()?;
///     let mut selector = AnySelector::new(kind)?;
///     selector.register(ours, Interest::READ, ())?;
///     drop(theirs);
///     assert_eq!(selector.select(Some(Duration::from_secs(5)))?.len(), 1, "{kind}");
/// }
/// # Ok(())
/// # }
/// ```
pub type AnySelector<F, T = ()> = Selector<F, T, AnyBackend>;

impl<F, T> AnySelector<F, T> {
    /// A selector over the backend of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where this system does not have it, and those of making the
    /// backend.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{AnySelector, BackendKind};
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let kind: BackendKind = "poll".parse()?;
    /// let selector: AnySelector<TcpStream> = AnySelector::new(kind)?;
    /// assert_eq!(selector.backend().kind(), BackendKind::Poll);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(kind: BackendKind) -> Result<Self> {
        let Some(open) = kind.opener() else {
            return Err(Error::Unsupported { feature: kind.name(), fd: None });
        };
        Selector::open(|| Ok(AnyBackend { kind, backend: open()? }))
    }
}

/// One of the backends that this system has.
pub struct AnyBackend {
    kind: BackendKind,
    backend: Box<dyn Backend + Send + Sync>,
}

impl AnyBackend {
    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> BackendKind {
        self.kind
    }
}

impl fmt::Debug for AnyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyBackend").field(&self.kind).finish()
    }
}

impl Backend for AnyBackend {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.backend.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.backend.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.backend.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.backend.wait(events, timeout)
    }

    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.backend.change_and_wait(changes, events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.backend.descriptor()
    }

    fn waker(&mut self, token: Token) -> io::Result<Option<Trigger>> {
        self.backend.waker(token)
    }

    fn changer(&self) -> io::Result<Option<Box<dyn Changer>>> {
        self.backend.changer()
    }

    fn now(&self) -> Instant {
        self.backend.now()
    }

    fn owns(&self, fd: RawSource) -> bool {
        self.backend.owns(fd)
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        self.backend.rebuild(sources, events)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.backend.after_fork()
    }
}
