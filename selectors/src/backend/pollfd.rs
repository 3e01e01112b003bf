//! What the flags of a `pollfd` mean: to poll(2), and to /dev/poll, which takes the same.

use selectors_sys::poll::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT};

use crate::{Interest, Readiness};

/// The flags in which facilities and systems differ. One that they lack is no bit, so it may be asked
/// for and is never seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    /// What urgent data is asked for by.
    pub(super) priority: i16,
    /// What tells that the peer has shut down its writing half.
    pub(super) read_closed: i16,
    /// Those among POLLERR and POLLHUP that mean what they say.
    pub(super) hints: i16,
}

impl Flags {
    /// The flags that an interest is asked for by.
    #[inline]
    pub(super) fn of(self, interest: Interest) -> i16 {
        let mut flags = 0;
        if interest.contains(Interest::READ) {
            flags |= POLLIN | self.read_closed;
        }
        if interest.contains(Interest::WRITE) {
            flags |= POLLOUT;
        }
        if interest.contains(Interest::PRIORITY) {
            flags |= self.priority;
        }
        flags
    }

    /// The interest that was asked for by these flags.
    pub(super) fn interest(self, flags: i16) -> Interest {
        let mut interest = Interest::empty();
        interest.set(Interest::READ, has(flags, POLLIN));
        interest.set(Interest::WRITE, has(flags, POLLOUT));
        interest.set(Interest::PRIORITY, has(flags, self.priority));
        interest
    }

    /// What the kernel has found of a source that was `asked` for. POLLERR and POLLHUP where they
    /// are no hints are READ and WRITE, or PRIORITY if that is all that was asked for.
    #[inline]
    pub(super) fn readiness(self, flags: i16, asked: i16) -> Readiness {
        if flags & POLLNVAL != 0 {
            return Readiness::ERROR;
        }
        let over = flags & (POLLERR | POLLHUP) & !self.hints;
        let mut ready = flags & !over;
        if over != 0 {
            let directions = asked & (POLLIN | POLLOUT);
            ready |= if directions == 0 { asked } else { directions };
        }
        if self.are_those_of_readiness() {
            return Readiness::from_bits_truncate(u32::from(u16::from_ne_bytes(
                ready.to_ne_bytes(),
            )));
        }
        let any = |of: i16| has(ready, of);
        let mut readiness = Readiness::empty();
        readiness.set(Readiness::READ, any(POLLIN));
        readiness.set(Readiness::WRITE, any(POLLOUT));
        readiness.set(Readiness::PRIORITY, any(self.priority));
        readiness.set(Readiness::ERROR, any(POLLERR));
        readiness.set(Readiness::HANGUP, any(POLLHUP));
        readiness.set(Readiness::READ_CLOSED, any(self.read_closed));
        readiness
    }

    /// Whether the flags are the bits that a `Readiness` is made of, as poll(2)'s are on Linux.
    #[expect(clippy::cast_sign_loss, reason = "flags are no numbers")]
    const fn are_those_of_readiness(self) -> bool {
        POLLIN as u32 == Readiness::READ.bits()
            && POLLOUT as u32 == Readiness::WRITE.bits()
            && self.priority as u32 == Readiness::PRIORITY.bits()
            && POLLERR as u32 == Readiness::ERROR.bits()
            && POLLHUP as u32 == Readiness::HANGUP.bits()
            && self.read_closed as u32 == Readiness::READ_CLOSED.bits()
    }

    /// The flags that the kernel would have reported a readiness by, as far as select(2) can tell.
    pub(super) fn found(self, readiness: Readiness) -> i16 {
        let mut flags = 0;
        if readiness.contains(Readiness::READ) {
            flags |= POLLIN;
        }
        if readiness.contains(Readiness::WRITE) {
            flags |= POLLOUT;
        }
        if readiness.contains(Readiness::PRIORITY) {
            flags |= self.priority;
        }
        if readiness.contains(Readiness::ERROR) {
            flags |= POLLNVAL;
        }
        flags
    }
}

/// Whether one of the flags is set: of those that are no bit, never.
#[inline]
pub(super) fn has(flags: i16, of: i16) -> bool {
    flags & of != 0
}

#[cfg(test)]
mod tests {
    use selectors_sys::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI};

    use super::{Flags, Readiness};

    const fn flags(hints: i16) -> Flags {
        Flags { priority: POLLPRI, read_closed: 0, hints }
    }

    #[test]
    fn what_is_no_hint_wakes_who_waits() {
        let both = Readiness::READ | Readiness::WRITE;
        let flags = flags(0);
        for over in [POLLERR, POLLHUP, POLLERR | POLLHUP] {
            assert_eq!(flags.readiness(over, POLLIN | POLLOUT), both);
            assert_eq!(flags.readiness(over, POLLIN | POLLPRI), Readiness::READ);
            assert_eq!(flags.readiness(over | POLLOUT, POLLOUT), Readiness::WRITE);
            assert_eq!(flags.readiness(over, POLLPRI), Readiness::PRIORITY);
        }
    }

    #[test]
    fn what_is_a_hint_is_one() {
        let hung_up = Readiness::READ | Readiness::HANGUP;
        let flags = flags(POLLHUP);
        assert_eq!(flags.readiness(POLLIN | POLLHUP, POLLIN), hung_up);
        assert_eq!(flags.readiness(POLLHUP, POLLIN), Readiness::HANGUP);
        assert_eq!(flags.readiness(POLLERR | POLLHUP, POLLIN), hung_up);
    }
}
