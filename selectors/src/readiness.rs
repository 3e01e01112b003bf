//! What a source is ready for.

use bitflags::bitflags;

use crate::Interest;

bitflags! {
    /// What a source is ready for, plus additional hints reported by the kernel.
    ///
    /// At least one of READ, WRITE and PRIORITY is set in every event, and never one outside the
    /// registered interest. An error or a hang-up sets each of READ and WRITE in the interest
    /// (PRIORITY if it has neither), so the code that reads or writes sees it as well; the
    /// other three flags are hints.
    ///
    /// # Portability
    ///
    /// A hint is reported only if the backend supports it, which
    /// [`Capabilities`](crate::Capabilities) declares, and only when it is true. Portable code
    /// detects end-of-file by reading and errors by the call that fails.
    ///
    /// # Implementation notes
    ///
    /// The bits have the values of poll(2) and epoll(7) on Linux, where they need no translation.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::Readiness;
    ///
    /// let readiness = Readiness::READ | Readiness::READ_CLOSED;
    /// assert!(readiness.contains(Readiness::READ));
    /// assert!(!readiness.intersects(Readiness::HANGUP | Readiness::ERROR));
    /// ```
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Readiness: u32 {
        /// A read would not block: data, end-of-file, a pending connection or an error.
        #[doc(alias = "EVENT_READ")]
        const READ = Interest::READ.bits() as u32;
        /// Urgent data.
        const PRIORITY = Interest::PRIORITY.bits() as u32;
        /// A write would not block: space in the buffer, a finished connect or an error.
        #[doc(alias = "EVENT_WRITE")]
        const WRITE = Interest::WRITE.bits() as u32;
        /// Hint: an error is pending on the descriptor, such as a reset or refused connection.
        /// `SO_ERROR` clears it, but not the error queue of a socket with `IP_RECVERR`, which is
        /// reported until recvmsg(2) with `MSG_ERRQUEUE` has read it.
        #[doc(alias("POLLERR", "EPOLLERR"))]
        const ERROR = 0x08;
        /// Hint: both directions are shut down. On Linux also those of a TCP socket that is not
        /// connected yet: register it after the call of connect(2).
        #[doc(alias("POLLHUP", "EPOLLHUP"))]
        const HANGUP = 0x10;
        /// Hint: the peer has shut down its writing side, or this process the reading side
        /// (`SHUT_RD`).
        #[doc(alias("POLLRDHUP", "EPOLLRDHUP", "EV_EOF"))]
        const READ_CLOSED = 0x2000;
    }
}

impl Readiness {
    /// The flags that an interest can contain.
    const REQUESTABLE: Self = Self::READ.union(Self::WRITE).union(Self::PRIORITY);
    const HINTS: Self = Self::ERROR.union(Self::HANGUP).union(Self::READ_CLOSED);

    /// Masks raw readiness by the interest of its source. If nothing remains, the source is not
    /// reported.
    #[inline]
    pub(crate) const fn masked_by(self, interest: Interest) -> Self {
        let mask = Self::from_bits_retain(interest.bits() as u32);
        if self.intersects(Self::HINTS) { self.with_hints(mask) } else { self.intersection(mask) }
    }

    /// [`masked_by`](Self::masked_by) for raw readiness with a hint.
    #[cold]
    const fn with_hints(self, mask: Self) -> Self {
        let directions = if !self.intersects(Self::ERROR.union(Self::HANGUP)) {
            // End-of-file is read readiness.
            self.union(Self::READ).intersection(mask)
        } else if mask.intersects(Self::READ.union(Self::WRITE)) {
            // An error ends the wait whatever the interest is.
            self.union(Self::READ).union(Self::WRITE).intersection(mask)
        } else {
            Self::PRIORITY
        };
        let directions = directions.intersection(Self::REQUESTABLE);
        if directions.is_empty() {
            directions
        } else {
            directions.union(self.intersection(Self::HINTS))
        }
    }
}

/// The readiness of a source that is ready for all of `interest`, without hints.
///
/// # Examples
///
/// ```
/// use selectors::{Interest, Readiness};
///
/// assert_eq!(Readiness::from(Interest::WRITE), Readiness::WRITE);
/// ```
impl From<Interest> for Readiness {
    fn from(interest: Interest) -> Self {
        Self::from_bits_retain(u32::from(interest.bits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(raw: Readiness, interest: Interest) -> Readiness {
        raw.masked_by(interest)
    }

    #[test]
    fn readiness_outside_the_interest_is_masked() {
        let all = Readiness::READ | Readiness::WRITE | Readiness::PRIORITY;
        assert_eq!(masked(all, Interest::READ), Readiness::READ);
        assert_eq!(masked(all, Interest::PRIORITY), Readiness::PRIORITY);
        assert_eq!(masked(Readiness::WRITE, Interest::READ), Readiness::empty());
        assert_eq!(masked(Readiness::empty(), Interest::all()), Readiness::empty());
    }

    #[test]
    fn an_error_wakes_every_direction_of_the_interest() {
        for bad in [Readiness::ERROR, Readiness::HANGUP, Readiness::ERROR | Readiness::HANGUP] {
            assert_eq!(masked(bad, Interest::READ), bad | Readiness::READ);
            assert_eq!(masked(bad, Interest::WRITE), bad | Readiness::WRITE);
            assert_eq!(
                masked(bad, Interest::all()),
                bad | Readiness::READ | Readiness::WRITE,
                "PRIORITY is added only to an interest in nothing else"
            );
            assert_eq!(masked(bad, Interest::PRIORITY), bad | Readiness::PRIORITY);
        }
        let urgent = Readiness::ERROR | Readiness::PRIORITY;
        assert_eq!(masked(urgent, Interest::all()), urgent | Readiness::READ | Readiness::WRITE);
    }

    #[test]
    fn end_of_file_is_read_readiness() {
        let closed = Readiness::READ_CLOSED;
        assert_eq!(masked(closed, Interest::READ), closed | Readiness::READ);
        assert_eq!(masked(closed, Interest::WRITE), Readiness::empty());
        assert_eq!(masked(closed | Readiness::WRITE, Interest::WRITE), closed | Readiness::WRITE);
    }
}
