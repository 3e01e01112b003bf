//! Busy-polling before blocking, and when it pays off.

use std::time::{Duration, Instant};

/// The least and the greatest number of waits that block at once after a fruitless spin.
const LEAST: u32 = 64;
const MOST: u32 = 1024;

/// After a fruitless spin no wait spins for this many times its duration, however many waits there
/// are: spinning costs at most a sixteenth of the time. Longer if that keeps happening.
const PAUSE: u32 = 16;

/// The first waits block at once for this many times the limit: a new selector does not know yet
/// whether spinning pays off.
const FIRST: u32 = 4;

/// But no longer than this.
const MOST_FIRST: Duration = Duration::from_millis(100);

/// How many waits block at once until the clock is read again, if it is too early to spin.
const AGAIN: u32 = 16;

/// How long a wait busy-polls before it blocks, and which waits do.
///
/// A fruitless spin costs its time, and far more if the scheduler gives the core to another thread
/// meanwhile. The waits after it therefore block at once: twice as many each time, and half as many
/// when spinning pays off. The first waits do as well, as if a spin had been fruitless.
#[derive(Debug)]
pub(crate) struct Spin {
    limit: Duration,
    /// How many waits block at once for each `limit` that the last fruitless spin took.
    rest: u32,
    /// How many of them remain.
    left: u32,
    /// Until when no wait spins, as soon as one has read the clock.
    until: Option<Instant>,
}

impl Spin {
    /// `None` for a limit of zero: no wait spins.
    pub(crate) fn new(limit: Duration) -> Option<Box<Self>> {
        (!limit.is_zero()).then(|| Box::new(Self { limit, rest: LEAST, left: 0, until: None }))
    }

    /// Returns true if the next wait blocks at once, whatever the time. Called once per wait.
    pub(crate) fn rests(&mut self) -> bool {
        let rests = self.left > 0;
        self.left = self.left.saturating_sub(1);
        rests
    }

    /// How long a wait that does not rest spins. If it is too early, the next waits rest, so that few
    /// of them read the clock.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Duration> {
        let first = MOST_FIRST.min(FIRST * self.limit.min(MOST_FIRST));
        self.until = self.until.or_else(|| now.checked_add(first));
        if self.until.is_some_and(|until| now < until) {
            self.left = AGAIN;
            return None;
        }
        Some(self.limit)
    }

    /// Records when a spin ended, how long it took, and whether it found an event.
    pub(crate) fn ended(&mut self, now: Instant, took: Duration, found: bool) {
        if found && took <= self.limit {
            self.rest /= 2;
            return;
        }
        self.rest = (2 * self.rest).clamp(LEAST, MOST);
        let limits = took.as_nanos() / self.limit.as_nanos();
        let limits = u32::try_from(limits).unwrap_or(u32::MAX).max(1);
        self.left = self.rest.saturating_mul(limits);
        let spun = took.min(self.limit).saturating_mul(self.rest / LEAST);
        self.until = now.checked_add(took.max(spun).saturating_mul(PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);

    /// One that has spun, and may again.
    fn started() -> Spin {
        let mut spin = *Spin::new(LIMIT).unwrap();
        spin.until = Some(Instant::now());
        spin.ended(Instant::now(), LIMIT, true);
        spin.rest = 0;
        spin
    }

    /// How many waits block at once before one spins.
    fn rest(spin: &mut Spin) -> u32 {
        // So late that only the number of waits counts.
        let now = Instant::now() + Duration::from_secs(1000);
        let mut waits = 0;
        while spin.rests() || spin.due(now).is_none() {
            waits += 1;
            assert!(waits < 1_000_000, "it never spins again");
        }
        waits
    }

    #[test]
    fn spinning_that_pays_off_continues() {
        let mut spin = started();
        for _ in 0..3 {
            assert_eq!(rest(&mut spin), 0);
            spin.ended(Instant::now(), LIMIT / 2, true);
        }
    }

    #[test]
    fn fruitless_spinning_becomes_rare_then_frequent_again() {
        let mut spin = started();
        let mut in_vain = || {
            spin.ended(Instant::now(), LIMIT, false);
            rest(&mut spin)
        };
        assert_eq!([in_vain(), in_vain(), in_vain()], [64, 128, 256]);
        assert_eq!((0..10).map(|_| in_vain()).max(), Some(1024));
        for _ in 0..20 {
            spin.ended(Instant::now(), LIMIT / 2, true);
            assert_eq!(rest(&mut spin), 0);
        }
        spin.ended(Instant::now(), LIMIT, false);
        assert_eq!(rest(&mut spin), 64);
    }

    #[test]
    fn each_spin_that_pays_halves_the_rest() {
        let mut spin = started();
        for expected in [64, 128, 256] {
            spin.ended(Instant::now(), LIMIT, false);
            assert_eq!(rest(&mut spin), expected);
        }
        spin.ended(Instant::now(), LIMIT / 2, true);
        spin.ended(Instant::now(), LIMIT, false);
        assert_eq!(rest(&mut spin), 256, "twice the half");
    }

    #[test]
    fn a_spin_that_lost_the_core_counts_by_its_length() {
        let mut spin = started();
        spin.ended(Instant::now(), 60 * LIMIT, true);
        assert_eq!(rest(&mut spin), 60 * 64);
    }

    #[test]
    fn however_fast_waits_are_spinning_costs_no_more_than_a_sixteenth() {
        let mut spin = started();
        let end = Instant::now();
        spin.ended(end, 2 * LIMIT, false);
        while spin.rests() {}
        assert_eq!(spin.due(end + 31 * LIMIT), None);
        assert_eq!(rest(&mut spin), AGAIN, "waits that do not read the clock");
        assert_eq!(spin.due(end + 32 * LIMIT), Some(LIMIT));
    }

    #[test]
    fn fruitless_spins_become_rare_however_fast_waits_are() {
        let mut spin = *Spin::new(LIMIT).unwrap();
        let mut now = Instant::now();
        let pauses = [0; 6].map(|_| {
            let start = now;
            while spin.due(now).is_none() {
                now += LIMIT / 8;
            }
            spin.ended(now, LIMIT, false);
            (now - start).as_nanos() / LIMIT.as_nanos()
        });
        assert_eq!(pauses, [4, 32, 64, 128, 256, 256]);
    }

    #[test]
    fn the_first_waits_block_for_a_moment_whatever_the_limit() {
        for limit in [1, 1_000, 1_000_000, u64::MAX].map(Duration::from_nanos) {
            let mut spin = Spin::new(limit).unwrap();
            let now = Instant::now();
            assert_eq!(spin.due(now), None);
            let first = MOST_FIRST.min(FIRST * limit.min(MOST_FIRST));
            assert_eq!(spin.due(now + first), Some(limit));
        }
    }

    #[test]
    fn a_limit_of_zero_disables_spinning() {
        assert!(Spin::new(Duration::ZERO).is_none());
    }
}
