//! Exponential back-off before restarting something that has ended.

use std::time::{Duration, Instant};

/// The longest pause, unless the first one is longer.
const MINUTE: Duration = Duration::from_secs(60);

/// Pauses that double while the restarted thing ends soon.
#[derive(Debug)]
pub struct BackOff {
    first: Duration,
    next: Duration,
    started: Instant,
}

impl BackOff {
    /// Starts with this pause, and returns to it after a run that was longer than the pause before it.
    #[must_use]
    pub fn new(first: Duration) -> Self {
        Self { first, next: first, started: Instant::now() }
    }

    /// Records a start.
    pub fn started(&mut self, now: Instant) {
        self.started = now;
    }

    /// Records an end, and returns when to start again.
    pub fn ended(&mut self, now: Instant) -> Instant {
        if now - self.started > self.next {
            self.next = self.first;
        }
        let pause = self.next;
        self.next = MINUTE.min(pause * 2).max(self.first);
        now + pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_minute_and_begins_again_after_a_good_run() {
        let mut now = Instant::now();
        let mut back_off = BackOff::new(Duration::from_secs(10));
        for expected in [10, 20, 40, 60, 60] {
            back_off.started(now);
            let again = back_off.ended(now);
            assert_eq!(again - now, Duration::from_secs(expected));
            now = again;
        }
        back_off.started(now);
        now += Duration::from_secs(61);
        assert_eq!(back_off.ended(now) - now, Duration::from_secs(10));
    }
}
