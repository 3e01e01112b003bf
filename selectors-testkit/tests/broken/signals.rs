//! WAIT-6: backends that mishandle signals.

use std::io::{self, ErrorKind};

use selectors::{Event, Events, Token};

use super::defect::{Answer, Beneath, Defect, Timeout};
use super::proc::is_wake;
use super::row::{Row, poll, rows};

/// Retries after a signal, with the full timeout.
struct RetriesByItself;

impl Defect for RetriesByItself {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        // A limit, because a storm of signals would keep it here.
        for _ in 0..20 {
            match beneath.wait(events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
        Ok(())
    }
}

/// Retries once after a signal.
struct RetriesOnce;

impl Defect for RetriesOnce {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        match beneath.wait(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => beneath.wait(events, timeout),
            answer => answer,
        }
    }
}

/// Retries once after a signal if the timeout has a fraction of a millisecond.
struct RetriesFineWaits;

impl Defect for RetriesFineWaits {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if timeout.is_some_and(|timeout| timeout.subsec_nanos() % 1_000_000 != 0) {
            return RetriesOnce.wait(beneath, events, timeout);
        }
        beneath.wait(events, timeout)
    }
}

/// Returns something else than `Interrupted`.
struct TakesSignalsFor(fn() -> Answer);

impl Defect for TakesSignalsFor {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        match beneath.wait(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => (self.0)(),
            answer => answer,
        }
    }
}

/// Fetches events from the kernel after a signal, and drops them.
#[derive(Default)]
struct LosesEventsToSignals {
    interrupted: bool,
    lost: Vec<Token>,
}

impl Defect for LosesEventsToSignals {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let found = beneath.found(timeout);
        let found = found.inspect_err(|error| {
            self.interrupted |= error.kind() == ErrorKind::Interrupted;
        })?;
        if self.interrupted && !found.is_empty() {
            self.interrupted = false;
            self.lost.extend(found.iter().map(Event::token));
        }
        events.extend(found.into_iter().filter(|event| !self.lost.contains(&event.token())));
        Ok(())
    }
}

/// Drops the wake that comes after a wait that a signal has interrupted.
#[derive(Default)]
struct LosesWakesToSignals {
    interrupted: bool,
}

impl Defect for LosesWakesToSignals {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let found = beneath.found(timeout);
        let found = found.inspect_err(|error| {
            self.interrupted |= error.kind() == ErrorKind::Interrupted;
        })?;
        let drops = std::mem::take(&mut self.interrupted);
        events.extend(found.into_iter().filter(|event| !drops || !is_wake(event)));
        Ok(())
    }
}

rows! {
    "WAIT-6" loses_wakes "loses a wake after a signal"
        poll LosesWakesToSignals::default() =>
            wait_6_no_event_is_lost;
    "WAIT-6" retries "retries by itself after a signal"
        poll RetriesByItself =>
            wait_6_no_event_is_lost
            wait_6_a_signal_undoes_no_change
            wait_2_without_a_timeout_a_signal_ends_it
            wait_2_without_sources_a_signal_ends_it
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends
            reg_12_no_wait_leaks;
    "WAIT-6" retries_once "retries once after a signal"
        poll RetriesOnce =>
            wait_6_on_request_a_signal_ends_it;
    "WAIT-6" retries_fine "retries once after a signal if the timeout is fine"
        poll RetriesFineWaits =>
            wait_6_on_request_a_signal_ends_it;
    "WAIT-6" early "returns early on EINTR"
        poll TakesSignalsFor(|| Ok(())) =>
            wait_6_no_event_is_lost
            wait_6_a_signal_undoes_no_change
            wait_2_without_a_timeout_a_signal_ends_it
            wait_2_without_sources_a_signal_ends_it
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends
            reg_12_no_wait_leaks;
    "WAIT-6" fails "fails when a signal arrives"
        poll TakesSignalsFor(|| Err(io::Error::other("interrupted"))) =>
            wait_6_a_signal_undoes_no_change
            wait_2_without_a_timeout_a_signal_ends_it
            proc_7_a_signal_handler_may_wake
            wait_2_without_sources_a_signal_ends_it
            wait_6_a_signal_does_not_end_the_wait
            wait_6_no_event_is_lost
            wait_6_on_request_a_signal_ends_it
            wait_9_the_backend_appends
            reg_12_no_wait_leaks
            reg_12_process_settings_do_not_change;
    "WAIT-6" loses "loses events when a signal arrives"
        poll LosesEventsToSignals::default() =>
            wait_6_a_signal_undoes_no_change
            proc_7_a_signal_handler_may_wake
            wait_6_no_event_is_lost;
}
