//! Changes that a kernel takes while another thread waits.

use std::io;

use super::{BorrowedSource, RawSource};
use crate::{Token, Watch};

/// The part of a [`Backend`](super::Backend) that other threads use while one waits: what
/// [`Backend::changer`](super::Backend::changer) returns where the kernel takes changes meanwhile.
///
/// Its methods do what those of the backend of the same names do, are called by one thread at a
/// time, and are effective, for the wait that is going on too, when they return. The same source
/// may be registered through the one and modified through the other, as long as neither keeps a
/// source to itself: see [`register`](Self::register).
///
/// # Examples
///
/// ```
/// use selectors::backend::{Backend, DefaultBackend, Poll};
///
/// # fn main() -> std::io::Result<()> {
/// # #[cfg(target_os = "linux")]
/// assert!(DefaultBackend::new()?.changer()?.is_some());
/// assert!(Poll::new()?.changer()?.is_none(), "poll(2) takes all sources at once");
/// # Ok(())
/// # }
/// ```
pub trait Changer: Send {
    /// As [`Backend::register`](super::Backend::register). `false` leaves a source to the backend,
    /// which then has it for as long as it is watched: one that the kernel does not watch itself,
    /// or that may be one of the backend's own.
    ///
    /// It is all or nothing: no event of a source may be reported that is then refused.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::register`](super::Backend::register).
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
    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()>;

    /// As [`Backend::unregister`](super::Backend::unregister).
    ///
    /// # Errors
    ///
    /// Those of [`Backend::unregister`](super::Backend::unregister).
    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()>;
}
