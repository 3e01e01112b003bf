//! Tokens, which identify registered sources.

use std::fmt;

/// Identifies a registration, from [`register`](crate::Selector::register) until
/// [`unregister`](crate::Selector::unregister).
///
/// A token is the index of a slot and the generation of that slot. Slots are reused, generations
/// are not: a token that outlives its source never identifies another one, even if the new source
/// has the same slot and the same descriptor number.
///
/// Tokens are only meaningful to the selector that issued them.
///
/// # Implementation notes
///
/// A token has 64 bits, so that it fits into the user data of kernel events (`epoll_data`,
/// `udata`): see [`to_bits`](Self::to_bits). The slot is the upper half.
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
/// let first = selector.register(ours, Interest::READ, ())?;
/// let (ours, ()) = selector.unregister(first)?;
/// let second = selector.register(ours, Interest::READ, ())?;
/// assert_ne!(first, second);
/// assert!(!selector.contains(first));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// The token of the selector's own waker. Backends report it like any other; the selector never
    /// returns it.
    pub(crate) const WAKER: Self = Self::reserved(0);

    #[inline]
    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self((slot as u64) << 32 | generation as u64)
    }

    /// A token that no source has: the registry never uses the last slot.
    pub(crate) const fn reserved(number: u32) -> Self {
        Self::new(u32::MAX, number)
    }

    #[inline]
    pub(crate) const fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub(crate) const fn generation(self) -> u32 {
        self.0 as u32
    }

    /// The token as a number, for backends that store it in the kernel.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Token;
    ///
    /// let token = Token::from_bits(7);
    /// assert_eq!(token.to_bits(), 7);
    /// ```
    #[must_use]
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The token for a number that [`to_bits`](Self::to_bits) returned. Any other number gives a
    /// token that identifies no source.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{DefaultSelector, Token};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: DefaultSelector<UnixStream> = DefaultSelector::new()?;
    /// assert!(selector.get(Token::from_bits(u64::MAX)).is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Formats slot and generation, such as `3v1`.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}v{}", self.slot(), self.generation()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}
