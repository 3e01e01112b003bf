//! A backend that is chosen at run time.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::{
    AnyChanger, Backend, BackendKind, BorrowedSource, Capabilities, Change, RawSource, Registered,
    Trigger,
};
use crate::{Error, Events, Result, Selector, Token, Watch};

/// A selector whose backend is chosen at run time, by its [`BackendKind`].
///
/// It behaves like the selector of that backend. Each operation costs an additional indirect call.
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
    /// Creates a selector over the backend of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if this system does not have it; [`Error::Os`] if creating the backend
    /// failed.
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
    /// assert_eq!(selector.backend().kind(), Some(BackendKind::Poll));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(kind: BackendKind) -> Result<Self> {
        AnyBackend::open(kind).map(Self::with_backend)
    }
}

/// Any backend: one of this system, or one of your own.
///
/// # Examples
///
/// ```
/// use selectors::backend::{AnyBackend, Backend};
/// use selectors::BackendKind;
///
/// # fn main() -> std::io::Result<()> {
/// for kind in BackendKind::available() {
///     let backend = AnyBackend::open(kind)?;
///     println!("{kind}: {:?}", backend.capabilities());
/// }
/// # Ok(())
/// # }
/// ```
pub struct AnyBackend {
    kind: Option<BackendKind>,
    backend: Box<dyn Backend + Send + Sync>,
}

impl AnyBackend {
    /// Boxes a backend.
    ///
    /// # Examples
    ///
    /// Backends of your own, or stacked ones, with a single type:
    ///
    /// ```
    /// use selectors::backend::{AnyBackend, Deferred, Poll};
    /// use selectors::{AnySelector, Selector};
    /// use std::net::TcpStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let backend = AnyBackend::new(Deferred::new(Poll::new()?));
    /// let selector: AnySelector<TcpStream> = Selector::with_backend(backend);
    /// assert!(selector.capabilities().deferred);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(backend: impl Backend + Send + Sync + 'static) -> Self {
        Self { kind: None, backend: Box::new(backend) }
    }

    /// Creates the backend of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if this system does not have it; [`Error::Os`] if creating the backend
    /// failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::BackendKind;
    /// use selectors::backend::AnyBackend;
    ///
    /// let backend = AnyBackend::open(BackendKind::Select)?;
    /// assert_eq!(backend.kind(), Some(BackendKind::Select));
    /// # Ok::<(), selectors::Error>(())
    /// ```
    pub fn open(kind: BackendKind) -> Result<Self> {
        let backend = kind.open()?.map_err(|error| Error::os("create a selector", None, error))?;
        Ok(Self { kind: Some(kind), backend })
    }

    /// The kind of the backend if it was created by [`open`](Self::open).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::BackendKind;
    /// use selectors::backend::{AnyBackend, Select};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert_eq!(AnyBackend::open(BackendKind::Select)?.kind(), Some(BackendKind::Select));
    /// assert_eq!(AnyBackend::new(Select::new()?).kind(), None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn kind(&self) -> Option<BackendKind> {
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

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        self.backend.waker(token)
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
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
