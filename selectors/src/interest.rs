//! Interest and trigger mode of a source.

use bitflags::bitflags;

bitflags! {
    /// What a source is watched for: any union of READ, WRITE and PRIORITY.
    ///
    /// The counterpart of Python's `EVENT_READ | EVENT_WRITE`. An empty interest *parks* a source:
    /// it stays registered but is not reported, not even for a hang-up or an error, until its
    /// interest is modified. An interest with unknown bits is refused with
    /// [`Error::InvalidInterest`](crate::Error::InvalidInterest).
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
        /// Urgent data, such as TCP's out-of-band byte: POLLPRI of poll(2). Only on backends with
        /// [`Capabilities::priority`](crate::Capabilities::priority). Unix sockets have `MSG_OOB` on
        /// Linux only, since 5.15.
        ///
        /// Without READ and WRITE, an error or a hang-up is reported as PRIORITY, except with select(2),
        /// which cannot wait for them alone.
        #[doc(alias("POLLPRI", "EPOLLPRI", "exceptfds"))]
        const PRIORITY = 0x02;
        /// A write would not block: space in the buffer, a finished connect or an error.
        #[doc(alias("EVENT_WRITE", "POLLOUT", "EPOLLOUT", "EVFILT_WRITE"))]
        const WRITE = 0x04;
    }
}

impl Interest {
    /// Returns this interest if `wanted`, otherwise an empty one, so that the interest of a source
    /// can be computed in one expression.
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

    /// Returns true if there are no unknown bits.
    pub(crate) const fn is_valid(self) -> bool {
        Self::all().contains(self)
    }
}

/// How often a source is reported while it stays ready.
///
/// The mode belongs to the source. Sources of different modes can be in one selector.
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
/// What a file has to do before it is reported again in `Edge` mode is up to its kernel: see the
/// [surprises](crate::guide::surprises).
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
/// selector.modify(token, Interest::READ)?; // rearms it
/// assert_eq!(selector.select(None)?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Reported by every `select` while it is ready.
    #[default]
    #[doc(alias = "level-triggered")]
    Level,
    /// Reported once, then not again, not even for a hang-up or an error, until it is rearmed:
    /// [`rearm`](crate::Selector::rearm), or [`modify`](crate::Selector::modify) to any interest.
    #[doc(alias("EPOLLONESHOT", "EV_ONESHOT"))]
    OneShot,
    /// Reported once for each change to ready: again when more data arrives, and after a `modify`
    /// that changes something. Read and write until `WouldBlock`, or call
    /// [`rearm`](crate::Selector::rearm); otherwise the source may not be reported again.
    #[doc(alias("edge-triggered", "EPOLLET", "EV_CLEAR"))]
    Edge,
    /// Level-triggered with exclusive wake-up: of several selectors that wait for one listener at
    /// least one wakes, usually not all. Cannot be combined with PRIORITY, does not report the hint
    /// READ_CLOSED, and refuses a source that is an epoll instance (EINVAL): see epoll_ctl(2).
    #[doc(alias = "EPOLLEXCLUSIVE")]
    Exclusive,
}

/// Interest and mode of a source, as a [`Backend`](crate::Backend) receives them.
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
#[non_exhaustive]
pub struct Watch {
    /// What the source is watched for: never empty, never with unknown bits.
    pub interest: Interest,
    /// How often it is reported: never a mode that the backend does not declare.
    pub mode: Mode,
}

impl Watch {
    /// Combines an interest and a mode.
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
