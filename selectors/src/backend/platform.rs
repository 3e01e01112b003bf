//! The backends of each system, and its default.

use std::io;

#[cfg(native_devpoll)]
use super::Devpoll;
#[cfg(epoll)]
use super::Epoll;
#[cfg(native_kqueue)]
use super::Kqueue;
#[cfg(unix)]
use super::Poll;
#[cfg(not(epoll))]
use super::changer::Changer;
use super::{Backend, BackendKind, Select};

/// Creates a backend.
pub(super) type Open = fn() -> io::Result<Box<dyn Backend + Send + Sync>>;

/// The backends of this system, the best first.
pub(super) const BACKENDS: &[(BackendKind, Open)] = &[
    #[cfg(epoll)]
    (BackendKind::Epoll, || Ok(Box::new(Epoll::new()?))),
    #[cfg(native_kqueue)]
    (BackendKind::Kqueue, || Ok(Box::new(Kqueue::new()?))),
    #[cfg(native_devpoll)]
    (BackendKind::Devpoll, || Ok(Box::new(Devpoll::new()?))),
    #[cfg(unix)]
    (BackendKind::Poll, || Ok(Box::new(Poll::new()?))),
    (BackendKind::Select, || Ok(Box::new(Select::new()?))),
];

/// A changer that is not boxed.
#[cfg(epoll)]
pub(super) use super::epoll::EpollChanger as NativeChanger;
/// There is none.
#[cfg(not(epoll))]
pub(super) type NativeChanger = Box<dyn Changer>;

/// Whether a forked child has the descriptors of its parent's backends. It does not have a kqueue.
pub(crate) const INHERITS_DESCRIPTORS: bool = cfg!(not(kqueue));

/// The best backend of this system: see [`DefaultSelector`].
///
/// # Examples
///
/// ```
/// use selectors::Selector;
/// use selectors::backend::DefaultBackend;
/// use std::net::TcpStream;
///
/// # fn main() -> std::io::Result<()> {
/// let selector: Selector<TcpStream> = Selector::with_backend(DefaultBackend::new()?);
/// assert!(selector.is_empty());
/// # Ok(())
/// # }
/// ```
#[cfg(epoll)]
pub type DefaultBackend = Epoll;
/// The best backend of this system: see [`DefaultSelector`].
#[cfg(native_kqueue)]
pub type DefaultBackend = Kqueue;
/// The best backend of this system: see [`DefaultSelector`].
#[cfg(native_devpoll)]
pub type DefaultBackend = Devpoll;
/// The best backend of this system: see [`DefaultSelector`].
#[cfg(windows)]
pub type DefaultBackend = Select;

/// A selector over the best backend of this system. Python's `DefaultSelector`.
///
/// Construct it with `DefaultSelector::new()`. It is an alias of `EpollSelector` on Linux and Android,
/// of `KqueueSelector` on the BSDs, macOS and iOS, of `DevpollSelector` on illumos and Solaris, and of
/// `SelectSelector` on Windows.
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
/// assert_eq!(*selector.get(token).unwrap().data, "label");
/// # Ok(())
/// # }
/// ```
pub type DefaultSelector<F, T = ()> = crate::Selector<F, T, DefaultBackend>;
