//! Timeouts: rounding, deadlines, and the ranges of kernel types.
//!
//! All rounding is away from zero, so that a wait lasts *at least* as long as requested.

use std::time::{Duration, Instant};

/// The longest wait passed to a backend at once: 10⁶ seconds fit into 32 bits of
/// milliseconds, into a 32-bit `time_t`, and below the 10⁸ seconds at which NetBSD and OpenBSD
/// return EINVAL. A longer wait is split.
const LONGEST: Duration = Duration::from_secs(1_000_000);

/// How long to sleep between two polls while the kernel keeps reporting a source that is not
/// registered, with `left` of the timeout remaining.
pub(crate) fn ghost_pause(left: Option<Duration>) -> Duration {
    const PAUSE: Duration = Duration::from_millis(1);
    left.map_or(PAUSE, |left| left.min(PAUSE))
}

/// When the timeout of a `select` expires.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// No timeout, or one beyond the range of the clock.
    Never,
    /// At this time of the monotonic clock.
    At(Instant),
}

impl Deadline {
    pub(crate) fn after(timeout: Duration, now: Instant) -> Self {
        match now.checked_add(timeout) {
            Some(moment) => Self::At(moment),
            None => Self::Never,
        }
    }

    /// The timeout for the next call: `None` is without limit, zero after the deadline.
    pub(crate) fn remaining(self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::At(moment) => Some(moment.saturating_duration_since(now()).min(LONGEST)),
        }
    }
}

/// The nanoseconds of a timeout that whole milliseconds cannot express.
#[cfg(unix)]
#[inline]
pub(crate) fn nanos_below_millis(timeout: Duration) -> u32 {
    timeout.subsec_nanos() % 1_000_000
}

/// Converts a timeout to milliseconds for poll(2) and epoll_wait(2): rounded up, -1 for no timeout,
/// and at most `i32::MAX` (about 24 days).
///
/// # Examples
///
/// ```
/// use selectors::backend::millis_rounded_up;
/// use std::time::Duration;
///
/// assert_eq!(millis_rounded_up(None), -1);
/// assert_eq!(millis_rounded_up(Some(Duration::ZERO)), 0);
/// assert_eq!(millis_rounded_up(Some(Duration::from_nanos(1))), 1);
/// assert_eq!(millis_rounded_up(Some(Duration::MAX)), i32::MAX);
/// ```
#[must_use]
#[inline]
pub fn millis_rounded_up(timeout: Option<Duration>) -> i32 {
    const MOST: u64 = i32::MAX as u64;
    timeout.map_or(-1, |timeout| {
        let rest = timeout.subsec_nanos().div_ceil(1_000_000);
        let millis = timeout.as_secs().min(MOST) * 1_000 + u64::from(rest);
        millis.min(MOST) as i32
    })
}

/// Converts a timeout to seconds and nanoseconds, for a `struct timespec` whose fields have the
/// types `S` and `N`: exact, and at most 10⁶ seconds, which every kernel accepts.
///
/// # Examples
///
/// ```
/// use selectors::backend::seconds_and_nanos;
/// use std::time::Duration;
///
/// assert_eq!(seconds_and_nanos::<i64, i64>(Duration::from_millis(1_500)), (1, 500_000_000));
/// assert_eq!(seconds_and_nanos::<i32, i32>(Duration::MAX), (1_000_000, 0));
/// ```
#[must_use]
pub fn seconds_and_nanos<S: From<i32>, N: From<i32>>(timeout: Duration) -> (S, N) {
    let timeout = timeout.min(LONGEST);
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most 10⁹")]
    (S::from(timeout.as_secs() as i32), N::from(timeout.subsec_nanos() as i32))
}

/// Converts a timeout to seconds and microseconds, for a `struct timeval` whose fields have the
/// types `S` and `U`: rounded up, and at most 10⁶ seconds, which every system accepts.
///
/// # Examples
///
/// ```
/// use selectors::backend::seconds_and_micros_rounded_up;
/// use std::time::Duration;
///
/// let timeval = seconds_and_micros_rounded_up::<i32, i32>;
/// assert_eq!(timeval(Duration::ZERO), (0, 0));
/// assert_eq!(timeval(Duration::from_nanos(1_000_001_001)), (1, 2));
/// assert_eq!(timeval(Duration::from_nanos(999_999_001)), (1, 0));
/// assert_eq!(timeval(Duration::MAX), (1_000_000, 0));
/// ```
#[must_use]
pub fn seconds_and_micros_rounded_up<S: From<i32>, U: From<i32>>(timeout: Duration) -> (S, U) {
    let (seconds, nanos) = seconds_and_nanos::<i32, i32>(timeout);
    let micros = (nanos + 999) / 1_000;
    (S::from(seconds + micros / 1_000_000), U::from(micros % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_3_rounding_is_away_from_zero() {
        let millis = |nanos| millis_rounded_up(Some(Duration::from_nanos(nanos)));
        assert_eq!(millis(1), 1);
        assert_eq!(millis(999_999), 1);
        assert_eq!(millis(1_000_000), 1);
        assert_eq!(millis(1_000_001), 2);
    }

    #[test]
    #[cfg(unix)]
    fn nanoseconds_below_milliseconds_are_what_milliseconds_leave() {
        let below = |nanos| nanos_below_millis(Duration::from_nanos(nanos));
        assert_eq!((below(1), below(2_000_000), below(7_123_456_789)), (1, 0, 456_789));
    }

    #[test]
    fn wait_3_micros_carry_into_seconds() {
        let micros = |nanos| seconds_and_micros_rounded_up::<i32, i32>(Duration::from_nanos(nanos));
        assert_eq!(micros(0), (0, 0));
        assert_eq!(micros(1), (0, 1));
        assert_eq!(micros(1_000), (0, 1));
        assert_eq!(micros(1_001), (0, 2));
        assert_eq!(micros(7_999_999_000), (7, 999_999));
        assert_eq!(micros(7_999_999_001), (8, 0));
        assert_eq!(micros(8_000_000_000), (8, 0));
    }

    #[test]
    fn wait_4_a_pause_beside_a_ghost_does_not_outlast_the_timeout() {
        let millisecond = Duration::from_millis(1);
        assert_eq!(ghost_pause(None), millisecond);
        assert_eq!(ghost_pause(Some(2 * millisecond)), millisecond);
        assert_eq!(ghost_pause(Some(millisecond / 2)), millisecond / 2);
    }

    #[test]
    fn wait_5_no_timeout_is_too_long() {
        assert_eq!(millis_rounded_up(Some(Duration::from_millis(i32::MAX as u64))), i32::MAX);
        assert_eq!(millis_rounded_up(Some(Duration::MAX)), i32::MAX);
        let now = Instant::now();
        assert!(matches!(Deadline::after(Duration::MAX, now), Deadline::Never));
        assert_eq!(Deadline::after(Duration::MAX, now).remaining(|| now), None);
        let year = Duration::from_secs(365 * 24 * 3600);
        assert_eq!(Deadline::after(year, now).remaining(|| now), Some(LONGEST));
        assert!(LONGEST.as_millis() < i32::MAX as u128);
    }

    #[test]
    fn a_deadline_passes() {
        let now = Instant::now();
        let deadline = Deadline::after(Duration::from_secs(2), now);
        assert_eq!(deadline.remaining(|| now), Some(Duration::from_secs(2)));
        assert_eq!(deadline.remaining(|| now + Duration::from_secs(3)), Some(Duration::ZERO));
        assert_eq!(Deadline::Never.remaining(|| now), None);
    }
}
