//! Translation of the flags of a `pollfd`, for poll(2) and /dev/poll.

use selectors_sys::poll::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT};

use crate::{Interest, Readiness};

/// The flags that differ by facility and system. A flag that is not supported is 0: requesting it has no
/// effect, and it is never reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    /// Urgent data.
    pub(super) priority: i16,
    /// The peer has shut down its writing side.
    pub(super) read_closed: i16,
    /// The flags among POLLERR and POLLHUP that reliably mean an error and a hang-up.
    pub(super) hints: i16,
}

impl Flags {
    /// The `events` for an interest.
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

    /// The interest for which `events` were requested.
    pub(super) fn interest(self, flags: i16) -> Interest {
        let mut interest = Interest::empty();
        interest.set(Interest::READ, has(flags, POLLIN));
        interest.set(Interest::WRITE, has(flags, POLLOUT));
        interest.set(Interest::PRIORITY, has(flags, self.priority));
        interest
    }

    /// The readiness for the `revents` of a source whose `events` are `asked`. POLLERR and POLLHUP that are
    /// not hints become the READ and WRITE of `asked`, or PRIORITY if it has neither.
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
        if self.are_readiness_bits() {
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

    /// Returns true if the flags have the same bits as `Readiness`, as on Linux.
    #[expect(clippy::cast_sign_loss, reason = "flags are no numbers")]
    const fn are_readiness_bits(self) -> bool {
        POLLIN as u32 == Readiness::READ.bits()
            && POLLOUT as u32 == Readiness::WRITE.bits()
            && self.priority as u32 == Readiness::PRIORITY.bits()
            && POLLERR as u32 == Readiness::ERROR.bits()
            && POLLHUP as u32 == Readiness::HANGUP.bits()
            && self.read_closed as u32 == Readiness::READ_CLOSED.bits()
    }

    /// The `revents` for a readiness that select(2) has reported.
    pub(super) fn revents(self, readiness: Readiness) -> i16 {
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

/// Returns true if one of the flags in `of` is set.
#[inline]
pub(super) fn has(flags: i16, of: i16) -> bool {
    flags & of != 0
}

#[cfg(test)]
mod tests {
    use selectors_sys::poll::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI};

    use super::{Flags, Interest, Readiness};

    /// POLLRDHUP of Linux, and no flag elsewhere.
    const CLOSED: i16 = 0x2000;

    const fn flags(hints: i16) -> Flags {
        Flags { priority: POLLPRI, read_closed: 0, hints }
    }

    #[test]
    fn an_interest_survives_both_translations() {
        let flags = Flags { read_closed: CLOSED, ..flags(0) };
        assert_eq!(flags.of(Interest::READ), POLLIN | CLOSED);
        assert_eq!(flags.of(Interest::WRITE | Interest::PRIORITY), POLLOUT | POLLPRI);
        assert_eq!(flags.of(Interest::all()), POLLIN | CLOSED | POLLOUT | POLLPRI);
        for interest in (0..=u8::MAX).filter_map(Interest::from_bits) {
            assert_eq!(flags.interest(flags.of(interest)), interest);
        }
    }

    #[test]
    fn each_flag_is_one_of_readiness_with_equal_bits_and_with_others() {
        for read_closed in [0, CLOSED] {
            let flags = Flags { read_closed, ..flags(POLLERR | POLLHUP) };
            let readiness = |revents| flags.readiness(revents, POLLIN);
            assert_eq!(readiness(POLLIN), Readiness::READ);
            assert_eq!(readiness(POLLOUT), Readiness::WRITE);
            assert_eq!(readiness(POLLPRI), Readiness::PRIORITY);
            assert_eq!(readiness(POLLERR | POLLIN), Readiness::ERROR | Readiness::READ);
            assert_eq!(readiness(POLLNVAL | POLLIN), Readiness::ERROR);
            assert_eq!(readiness(read_closed).is_empty(), read_closed == 0);
        }
        let flags = Flags { read_closed: CLOSED, ..flags(0) };
        assert_eq!(flags.readiness(CLOSED, POLLIN), Readiness::READ_CLOSED);
    }

    #[test]
    fn readiness_from_select_becomes_flags_of_poll() {
        let flags = flags(0);
        assert_eq!(flags.revents(Readiness::READ | Readiness::WRITE), POLLIN | POLLOUT);
        assert_eq!(flags.revents(Readiness::READ | Readiness::PRIORITY), POLLIN | POLLPRI);
        assert_eq!(flags.revents(Readiness::ERROR), POLLNVAL);
        assert_eq!(flags.revents(Readiness::READ | Readiness::ERROR), POLLIN | POLLNVAL);
        assert_eq!(flags.revents(Readiness::empty()), 0);
    }

    #[test]
    fn an_error_that_is_no_hint_is_every_direction_of_the_interest() {
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
    fn a_hint_is_translated_as_one() {
        let hung_up = Readiness::READ | Readiness::HANGUP;
        let flags = flags(POLLHUP);
        assert_eq!(flags.readiness(POLLIN | POLLHUP, POLLIN), hung_up);
        assert_eq!(flags.readiness(POLLHUP, POLLIN), Readiness::HANGUP);
        assert_eq!(flags.readiness(POLLERR | POLLHUP, POLLIN), hung_up);
    }
}
