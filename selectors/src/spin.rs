//! Busy-polling, and when it is worth it.

use std::time::Duration;

/// After a spin that found nothing, at least and at most so many waits block at once.
const LEAST: u32 = 64;
const MOST: u32 = 1024;

/// For how long a wait busy-polls before it blocks, and which waits do.
///
/// A spin that finds nothing costs its time, and far more where another thread is given the core
/// meanwhile. So the next waits block at once: more of them each time that it happens, fewer again
/// when spinning pays.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    pub(crate) limit: Duration,
    /// How many waits are to block at once for each limit that the last fruitless spin took.
    rest: u32,
    /// How many of them are left.
    left: u32,
}

impl Spin {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether the wait that begins is to spin.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.left == 0 && !self.limit.is_zero();
        self.left = self.left.saturating_sub(1);
        due
    }

    /// Takes note of a spin that took so long, and whether it found an event.
    pub(crate) fn ended(&mut self, took: Duration, found: bool) {
        if found && took <= self.limit {
            self.rest /= 2;
            return;
        }
        self.rest = (2 * self.rest).clamp(LEAST, MOST);
        let limits = took.as_nanos() / self.limit.as_nanos().max(1);
        let limits = u32::try_from(limits).unwrap_or(u32::MAX).max(1);
        self.left = self.rest.saturating_mul(limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);

    /// How many waits block at once before one spins.
    fn rest(spin: &mut Spin) -> u32 {
        let mut waits = 0;
        while !spin.is_due() {
            waits += 1;
        }
        waits
    }

    #[test]
    fn spinning_that_pays_goes_on() {
        let mut spin = Spin::new(LIMIT);
        for _ in 0..3 {
            assert_eq!(rest(&mut spin), 0);
            spin.ended(LIMIT / 2, true);
        }
    }

    #[test]
    fn spinning_in_vain_becomes_rare_and_often_again() {
        let mut spin = Spin::new(LIMIT);
        let mut in_vain = || {
            spin.ended(LIMIT, false);
            rest(&mut spin)
        };
        assert_eq!([in_vain(), in_vain(), in_vain()], [64, 128, 256]);
        assert_eq!((0..10).map(|_| in_vain()).max(), Some(1024));
        for _ in 0..20 {
            spin.ended(LIMIT / 2, true);
            assert_eq!(rest(&mut spin), 0);
        }
        spin.ended(LIMIT, false);
        assert_eq!(rest(&mut spin), 64);
    }

    #[test]
    fn who_lost_the_core_rests_for_as_much_longer() {
        let mut spin = Spin::new(LIMIT);
        spin.ended(60 * LIMIT, true);
        assert_eq!(rest(&mut spin), 60 * 64);
    }

    #[test]
    fn no_limit_is_no_spinning() {
        let mut spin = Spin::default();
        assert!(!spin.is_due());
    }
}
