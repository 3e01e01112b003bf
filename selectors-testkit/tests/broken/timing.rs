//! WAIT: backends that confuse timeouts, or block when they must not.

use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, ppoll};
use nix::sys::time::TimeSpec;
use selectors::Events;

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::row::{Row, epoll, poll, rows};
use super::variants::Times;

/// Uses only the fraction of a second of a timeout of few seconds.
fn without_seconds(timeout: Timeout) -> Timeout {
    let part = |timeout: Duration| Duration::from_nanos(timeout.subsec_nanos().into());
    timeout.map(|timeout| if timeout.as_secs() > 60 { timeout } else { part(timeout) })
}

/// Keeps 32 bits of microseconds.
fn micros_in_32_bits(timeout: Timeout) -> Timeout {
    let cut = |timeout: Duration| u64::try_from(timeout.as_micros() & u128::from(u32::MAX)).ok();
    timeout.map(|timeout| match cut(timeout) {
        Some(micros) if timeout.as_secs() > 60 => Duration::from_micros(micros),
        _ => timeout,
    })
}

/// Treats seconds as milliseconds.
fn seconds_are_millis(timeout: Timeout) -> Timeout {
    let few = |timeout: Duration| Duration::from_millis(timeout.as_secs());
    timeout.map(|timeout| if timeout.as_secs() == 0 { timeout } else { few(timeout) })
}

/// Rounds timeouts of more than a few milliseconds up to a tenth of a second.
fn in_tenths(timeout: Timeout) -> Timeout {
    let long = |timeout: &Duration| *timeout > Duration::from_millis(10);
    let tenth = Duration::from_millis(100);
    timeout.map(|timeout| if long(&timeout) { timeout.max(tenth) } else { timeout })
}

/// Rounds timeouts of more than a millisecond up to a multiple of eight.
fn in_eights(timeout: Timeout) -> Timeout {
    let long = |timeout: &Duration| (1..1_000).contains(&timeout.as_millis());
    let eights = |timeout: Duration| timeout.as_micros().div_ceil(8_000) * 8;
    let round = |timeout| Duration::from_millis(u64::try_from(eights(timeout)).unwrap_or(u64::MAX));
    timeout.map(|timeout| if long(&timeout) { round(timeout) } else { timeout })
}

fn twice(timeout: Timeout) -> Timeout {
    let long = |timeout: &Duration| *timeout >= Duration::from_millis(1);
    timeout.map(|timeout| if long(&timeout) { timeout.saturating_mul(2) } else { timeout })
}

/// Rounds up by adding, even to zero.
fn never_nothing(timeout: Timeout) -> Timeout {
    timeout.map(|timeout| timeout.max(Duration::from_micros(1)))
}

/// Alternates between sleeping and polling.
struct Naps(Duration);

impl Defect for Naps {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let (start, before) = (Instant::now(), events.len());
        loop {
            beneath.wait(events, NOW)?;
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            if events.len() > before || left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            let nap = left.map_or(self.0, |left| left.min(self.0));
            ppoll(&mut [] as &mut [PollFd<'_>], Some(TimeSpec::from_duration(nap)), None)?;
        }
    }
}

/// Waits without a timeout by repeated short waits in the kernel.
struct WaitsInSlices(Duration);

impl Defect for WaitsInSlices {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let before = events.len();
        while timeout.is_none() && events.len() == before {
            beneath.wait(events, Some(self.0))?;
        }
        if timeout.is_none() { Ok(()) } else { beneath.wait(events, timeout) }
    }
}

/// Sleeps for a millisecond in every nth wait with a zero timeout.
struct YieldsEach {
    each: u32,
    count: u32,
}

impl Defect for YieldsEach {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.count += u32::from(timeout == NOW);
        if timeout == NOW && self.count % self.each == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        beneath.wait(events, timeout)
    }
}

/// Delays a wait, unless the timeout is zero.
struct Dawdles {
    /// Before it polls, or after it has found an event.
    first: bool,
    /// Until this much time has passed since the wait began, or for this long.
    since_begin: bool,
    time: Duration,
}

impl Defect for Dawdles {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let (start, before) = (Instant::now(), events.len());
        let dawdles = timeout.is_none_or(|timeout| timeout >= 2 * self.time);
        if dawdles && self.first {
            thread::sleep(self.time);
        }
        beneath.wait(events, timeout)?;
        if dawdles && !self.first && events.len() > before {
            let passed = if self.since_begin { start.elapsed() } else { Duration::ZERO };
            thread::sleep(self.time.saturating_sub(passed));
        }
        Ok(())
    }
}

/// Rounds long timeouts up to whole seconds.
fn seconds_from_a_tenth(timeout: Timeout) -> Timeout {
    let is_long = |timeout: &Duration| *timeout >= Duration::from_millis(100);
    let seconds = |timeout: Duration| Duration::from_secs(timeout.as_secs().saturating_add(1));
    timeout.map(|timeout| if is_long(&timeout) { seconds(timeout) } else { timeout })
}

rows! {
    "WAIT-1" naps_first "sleeps for a millisecond before it polls"
        epoll Dawdles { first: true, since_begin: false, time: Duration::from_millis(1) } =>
            wait_1_a_wait_with_a_ready_source_does_not_sleep;
    "WAIT-1" collects "waits for 4 ms more after the first event"
        epoll Dawdles { first: false, since_begin: false, time: Duration::from_millis(4) } =>
            wait_1_a_wait_with_a_ready_source_does_not_sleep;
    "WAIT-1" in_slices "polls every 25 ms"
        epoll Dawdles { first: false, since_begin: true, time: Duration::from_millis(25) } =>
            wait_1_a_wait_with_a_ready_source_does_not_sleep
            wait_1_an_event_ends_the_wait_soon;
    "WAIT-1" every_50th "sleeps for a millisecond in every 50th wait of no time"
        poll YieldsEach { each: 50, count: 0 } =>
            wait_1_zero_does_not_sleep;
    "WAIT-1" every_1000th "sleeps for a millisecond in every 1,000th wait of no time"
        epoll YieldsEach { each: 1_000, count: 0 } =>
            wait_1_zero_does_not_sleep;
    "WAIT-1" never_nothing "waits for a moment when it is not to wait"
        epoll Times(never_nothing) =>
            wait_1_zero_does_not_sleep;
    "WAIT-3" without_seconds "drops the seconds of a timeout"
        poll Times(without_seconds) =>
            wait_3_no_timeout_is_truncated;
    "WAIT-3" micros_in_32_bits "keeps 32 bits of microseconds"
        poll Times(micros_in_32_bits) =>
            wait_3_no_timeout_is_truncated;
    "WAIT-3" seconds_are_millis "treats seconds as milliseconds"
        poll Times(seconds_are_millis) =>
            wait_3_no_timeout_is_truncated;
    "WAIT-4" in_tenths "rounds up to tenths of a second"
        poll Times(in_tenths) =>
            wait_4_waits_are_not_too_long;
    "WAIT-4" in_eights "rounds up to 8 ms"
        epoll Times(in_eights) =>
            wait_4_waits_are_not_too_long;
    "WAIT-4" in_seconds "rounds up to seconds from 100 ms on"
        poll Times(seconds_from_a_tenth) =>
            wait_4_waits_are_not_too_long;
    "WAIT-4" twice "waits for twice the time"
        poll Times(twice) =>
            wait_4_waits_are_not_too_long;
    "WAIT-11" naps "naps instead of waiting"
        poll Naps(Duration::from_millis(2)) =>
            wait_11_a_wait_sleeps_once;
    "WAIT-11" waits_in_slices "waits again and again when there is no timeout"
        epoll WaitsInSlices(Duration::from_millis(2)) =>
            wait_11_a_wait_sleeps_once;
}
