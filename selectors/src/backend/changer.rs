//! Changes that are made while another thread waits.

use std::fmt;
use std::io;

use super::platform::NativeChanger;
use super::{BorrowedSource, RawSource};
use crate::{Token, Watch};

/// Changes a [`Backend`](super::Backend) while another thread waits. Returned by
/// [`Backend::changer`](super::Backend::changer), as an [`AnyChanger`], if the kernel supports that.
///
/// The methods do the same as those of the backend, and are called by one thread at a time. A change
/// is effective, in the current wait as well, when the method returns. A source may be registered
/// through the backend and modified through the changer, or vice versa, except one that the backend
/// tracks in user space: see [`register`](Self::register).
///
/// # Examples
///
/// ```
/// use selectors::backend::{Backend, DefaultBackend, Poll};
///
/// # fn main() -> std::io::Result<()> {
/// # #[cfg(target_os = "linux")]
/// assert!(DefaultBackend::new()?.changer()?.is_some());
/// assert!(Poll::new()?.changer()?.is_none(), "poll(2) is passed all sources by each call");
/// # Ok(())
/// # }
/// ```
pub trait Changer: Send {
    /// As [`Backend::register`](super::Backend::register). Returns false for a source that the kernel
    /// cannot watch and the backend must track in user space; it is then registered with the backend.
    /// So is one that may be one of the backend's own.
    ///
    /// No event of a source may be reported if its registration is then refused.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::register`](super::Backend::register).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Changer, DefaultBackend};
    /// use selectors::{Interest, Mode, Token, Watch};
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let backend = DefaultBackend::new()?;
    /// if let Some(mut changer) = backend.changer()? {
    ///     let (token, watch) = (Token::from_bits(1), Watch::new(Interest::READ, Mode::Level));
    ///     assert!(changer.register(ours.as_fd(), token, watch)?, "the kernel watches it");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<bool>;

    /// As [`Backend::modify`](super::Backend::modify). Called for no source that is, or is to be, in
    /// [`Mode::Exclusive`](crate::Mode::Exclusive): the backend modifies those.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::modify`](super::Backend::modify).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Changer, DefaultBackend};
    /// use selectors::{Interest, Mode, Token, Watch};
    /// use std::os::fd::{AsFd, AsRawFd};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let backend = DefaultBackend::new()?;
    /// if let Some(mut changer) = backend.changer()? {
    ///     let (token, watch) = (Token::from_bits(1), Watch::new(Interest::READ, Mode::Level));
    ///     assert!(changer.register(ours.as_fd(), token, watch)?, "the kernel watches it");
    ///     let new = Watch::new(Interest::WRITE, Mode::Level);
    ///     changer.modify(ours.as_raw_fd(), token, watch, new)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()>;

    /// As [`Backend::unregister`](super::Backend::unregister).
    ///
    /// # Errors
    ///
    /// Those of [`Backend::unregister`](super::Backend::unregister).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::{Backend, Changer, DefaultBackend};
    /// use selectors::{Interest, Mode, Token, Watch};
    /// use std::os::fd::{AsFd, AsRawFd};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let backend = DefaultBackend::new()?;
    /// if let Some(mut changer) = backend.changer()? {
    ///     let (token, watch) = (Token::from_bits(1), Watch::new(Interest::READ, Mode::Level));
    ///     assert!(changer.register(ours.as_fd(), token, watch)?, "the kernel watches it");
    ///     changer.unregister(ours.as_raw_fd(), token, watch)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()>;
}

/// Any [`Changer`]: that of one of this system's backends, or one of your own.
///
/// # Examples
///
/// ```
/// use selectors::backend::{AnyChanger, Backend, DefaultBackend};
///
/// # fn main() -> std::io::Result<()> {
/// let changer: Option<AnyChanger> = DefaultBackend::new()?.changer()?;
/// println!("changes by other threads are {}", if changer.is_some() { "made at once" } else { "queued" });
/// # Ok(())
/// # }
/// ```
pub struct AnyChanger(Any);

enum Any {
    /// One that is called often.
    Native(NativeChanger),
    Other(Box<dyn Changer>),
}

impl AnyChanger {
    /// Boxes a changer.
    ///
    /// # Examples
    ///
    /// A backend that can be changed as the one in it, and counts the changes:
    ///
    /// ```
    /// use selectors::backend::{AnyChanger, BorrowedSource, Changer, RawSource};
    /// use selectors::{Token, Watch};
    /// use std::io;
    ///
    /// struct Counting(AnyChanger, usize);
    ///
    /// impl Changer for Counting {
    ///     fn register(
    ///         &mut self,
    ///         source: BorrowedSource<'_>,
    ///         token: Token,
    ///         watch: Watch,
    ///     ) -> io::Result<bool> {
    ///         self.1 += 1;
    ///         self.0.register(source, token, watch)
    ///     }
    ///
    ///     fn modify(
    ///         &mut self,
    ///         fd: RawSource,
    ///         token: Token,
    ///         old: Watch,
    ///         new: Watch,
    ///     ) -> io::Result<()> {
    ///         self.1 += 1;
    ///         self.0.modify(fd, token, old, new)
    ///     }
    ///
    ///     fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
    ///         self.1 += 1;
    ///         self.0.unregister(fd, token, watch)
    ///     }
    /// }
    ///
    /// fn counting(changer: AnyChanger) -> AnyChanger {
    ///     AnyChanger::new(Counting(changer, 0))
    /// }
    /// ```
    #[must_use]
    pub fn new(changer: impl Changer + 'static) -> Self {
        Self(Any::Other(Box::new(changer)))
    }

    #[cfg_attr(not(epoll), expect(dead_code, reason = "there is none"))]
    pub(super) fn native(changer: NativeChanger) -> Self {
        Self(Any::Native(changer))
    }
}

#[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
impl Changer for AnyChanger {
    #[inline(always)]
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<bool> {
        match &mut self.0 {
            Any::Native(native) => native.register(source, token, watch),
            Any::Other(other) => other.register(source, token, watch),
        }
    }

    #[inline(always)]
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        match &mut self.0 {
            Any::Native(native) => native.modify(fd, token, old, new),
            Any::Other(other) => other.modify(fd, token, old, new),
        }
    }

    #[inline(always)]
    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        match &mut self.0 {
            Any::Native(native) => native.unregister(fd, token, watch),
            Any::Other(other) => other.unregister(fd, token, watch),
        }
    }
}

impl fmt::Debug for AnyChanger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyChanger").finish_non_exhaustive()
    }
}
