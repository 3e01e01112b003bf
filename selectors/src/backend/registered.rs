//! Sources that the selector has registered, by the number of their descriptor, which may have been closed.

use std::io;

use super::{AnyChanger, Backend, Changer, RawSource, bad_source, borrow, is_open};
use crate::{Token, Watch};

/// A registered source: see [`Backend::rebuild`].
///
/// # Examples
///
/// ```
/// use selectors::backend::{RawSource, Registered};
/// use std::collections::BTreeMap;
///
/// /// A backend's own table of sources, made again in `rebuild`.
/// fn table(sources: &mut dyn Iterator<Item = Registered>) -> BTreeMap<RawSource, Registered> {
///     sources.map(|source| (source.fd, source)).collect()
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// Its descriptor.
    pub fd: RawSource,
    /// Its token.
    pub token: Token,
    /// Its interest and mode.
    pub watch: Watch,
}

impl Registered {
    /// A source with its descriptor, its token, and its interest and mode.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::backend::Registered;
    /// use selectors::{Interest, Mode, Token, Watch};
    ///
    /// let watch = Watch::new(Interest::READ, Mode::Level);
    /// assert_eq!(Registered::new(0, Token::from_bits(1), watch).watch, watch);
    /// ```
    #[must_use]
    pub const fn new(fd: RawSource, token: Token, watch: Watch) -> Self {
        Self { fd, token, watch }
    }
}

/// Opens a descriptor of the selector's own whose number is not `taken`: that of a source that was closed
/// while registered is free, but the two could not be distinguished.
pub(crate) fn open_untaken<S>(
    open: impl Fn() -> io::Result<S>,
    number: impl Fn(&S) -> RawSource,
    taken: impl Fn(RawSource) -> bool,
) -> io::Result<S> {
    let mut unfit = Vec::new();
    loop {
        let opened = open()?;
        if !taken(number(&opened)) {
            return Ok(opened);
        }
        unfit.push(opened);
    }
}

/// Whether a source was closed: its number is free, or one of the backend's own.
pub(crate) fn is_lost<B: Backend + ?Sized>(backend: &B, fd: RawSource) -> bool {
    !is_open(fd) || backend.owns(fd)
}

/// Registers a source of the selector by its number. Refuses a number of the backend's own, because
/// then the source was closed.
pub(crate) fn register_raw<B: Backend + ?Sized>(
    backend: &mut B,
    fd: RawSource,
    token: Token,
    watch: Watch,
) -> io::Result<()> {
    if backend.owns(fd) {
        return Err(bad_source());
    }
    // SAFETY: the selector owns the file object, which keeps the descriptor open. If it was closed
    // nevertheless, the kernel refuses the number, or watches the file that has it now and does not
    // modify it.
    let source = unsafe { borrow(fd) };
    backend.register(source, token, watch)
}

/// [`register_raw`] through a [`Changer`].
#[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
#[inline(always)]
pub(crate) fn register_raw_with(
    changer: &mut AnyChanger,
    fd: RawSource,
    token: Token,
    watch: Watch,
) -> io::Result<bool> {
    // SAFETY: as in `register_raw`.
    let source = unsafe { borrow(fd) };
    changer.register(source, token, watch)
}
