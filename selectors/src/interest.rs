//! What a source is watched for: interest and trigger mode.

use bitflags::bitflags;

bitflags! {
    /// What a source is watched for: any union of READ, WRITE and PRIORITY.
    ///
    /// The counterpart of Python's `EVENT_READ | EVENT_WRITE`. An empty interest *parks* a source:
    /// it stays registered, and nothing of it is reported, hang-ups and errors included, until its
    /// interest is modified. Unknown bits are refused
    /// ([`Error::InvalidInterest`](crate::Error::InvalidInterest)).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Interest;
    ///
    /// let both = Interest::READ | Interest::WRITE;
    /// assert!(both.contains(Interest::WRITE));
    /// assert_eq!(both - Interest::WRITE, Interest::READ);
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[doc(alias("EVENT_READ", "EVENT_WRITE", "events"))]
    pub struct Interest: u8 {
        /// A read would not block: data, end-of-file, a pending connection or an error.
        #[doc(alias("EVENT_READ", "POLLIN", "EPOLLIN", "EVFILT_READ"))]
        const READ = 0x01;
        /// Urgent data, such as TCP's out-of-band byte: POLLPRI of poll(2). A capability:
        /// [`Capabilities::priority`](crate::Capabilities::priority).
        #[doc(alias("POLLPRI", "EPOLLPRI", "exceptfds"))]
        const PRIORITY = 0x02;
        /// A write would not block: space in the buffer, a finished connect or an error.
        #[doc(alias("EVENT_WRITE", "POLLOUT", "EPOLLOUT", "EVFILT_WRITE"))]
        const WRITE = 0x04;
    }
}

impl Interest {
    /// This interest if `wanted`, otherwise none: to compute in one expression what a source is to be
    /// watched for.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Interest;
    ///
    /// const LIMIT: usize = 64 * 1024;
    /// let unsent: Vec<u8> = Vec::new();
    ///
    /// // Read while there is room, and write while there is something to write.
    /// let interest =
    ///     Interest::READ.when(unsent.len() < LIMIT) | Interest::WRITE.when(!unsent.is_empty());
    /// assert_eq!(interest, Interest::READ);
    /// ```
    #[must_use]
    pub const fn when(self, wanted: bool) -> Self {
        if wanted { self } else { Self::empty() }
    }

    /// Whether every bit has a name.
    pub(crate) const fn is_valid(self) -> bool {
        Self::all().contains(self)
    }
}

/// How often a source that stays ready is reported.
///
/// Every source has a mode of its own, and all of them mix freely in one selector.
///
/// # Portability
///
/// | mode | where |
/// |---|---|
/// | `Level`, `OneShot` | every backend |
/// | `Edge` | epoll, kqueue: [`Capabilities::edge`](crate::Capabilities::edge) |
/// | `Exclusive` | epoll: [`Capabilities::exclusive`](crate::Capabilities::exclusive) |
///
/// On other backends `register_with` and `modify_with` return
/// [`Error::Unsupported`](crate::Error::Unsupported).
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest, Mode};
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// let token = selector.register_with(ours, Interest::READ, (), Mode::OneShot)?;
/// drop(theirs);
/// assert_eq!(selector.select(None)?.len(), 1);
/// assert_eq!(selector.select(Some(Duration::ZERO))?.len(), 0);
/// selector.modify(token, Interest::READ)?; // arms it again
/// assert_eq!(selector.select(None)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Reported by every `select` for as long as it is ready.
    #[default]
    #[doc(alias = "level-triggered")]
    Level,
    /// Reported once, then silent (hang-up and error too) until the next `modify`, which may
    /// be to the same interest.
    #[doc(alias("EPOLLONESHOT", "EV_ONESHOT"))]
    OneShot,
    /// Reported once for each new readiness: again when more data arrives, and again after a
    /// `modify` that changes something. Read and write until `WouldBlock`, or it stays silent.
    #[doc(alias("edge-triggered", "EPOLLET", "EV_CLEAR"))]
    Edge,
    /// Level-triggered with exclusive wake-up: of several selectors that wait for one
    /// listener, at least one wakes, and mostly not all. Goes with READ and WRITE, not with
    /// PRIORITY, and without the hint READ_CLOSED: epoll_ctl(2).
    #[doc(alias = "EPOLLEXCLUSIVE")]
    Exclusive,
}

/// What a source is watched for, and how: what a [`Backend`](crate::Backend) is given.
///
/// # Examples
///
/// ```
/// use selectors::{Interest, Mode, Watch};
///
/// let watch = Watch::new(Interest::READ, Mode::Level);
/// assert_eq!(watch.interest, Interest::READ);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watch {
    /// What is asked for: never empty, never with unknown bits.
    pub interest: Interest,
    /// How often it is reported: never one that the backend does not declare.
    pub mode: Mode,
}

impl Watch {
    /// `interest`, reported as `mode` says.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, Mode, Watch};
    ///
    /// assert_eq!(Watch::new(Interest::WRITE, Mode::OneShot).mode, Mode::OneShot);
    /// ```
    #[must_use]
    pub const fn new(interest: Interest, mode: Mode) -> Self {
        Self { interest, mode }
    }
}
