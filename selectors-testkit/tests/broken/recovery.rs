//! READY-1, CLOSE-3, WAIT-6: backends that keep state that has ended, or drop state that has not.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use selectors::backend::{RawSource, Registered};
use selectors::{Event, Events, Mode, Readiness, Token};

use super::defect::{Answer, Beneath, Defect, Timeout};
use super::kinds::is_datagram;
use super::row::{Row, epoll, poll, rows};

/// After a certain readiness, reports a source only with that readiness.
struct GivesUp {
    after: Readiness,
    which: fn(RawSource) -> bool,
    given_up: BTreeSet<Token>,
}

impl GivesUp {
    fn after(after: Readiness, which: fn(RawSource) -> bool) -> Self {
        Self { after, which, given_up: BTreeSet::new() }
    }
}

impl Defect for GivesUp {
    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        let ends = |event: &Event| event.readiness().intersects(self.after);
        found.retain(|event| ends(event) || !self.given_up.contains(&event.token()));
        let is_one = |token: &Token| beneath.source(*token).is_some_and(|it| (self.which)(it.fd));
        let ended = found.iter().filter(|event| ends(event)).map(Event::token).filter(is_one);
        self.given_up.extend(ended.collect::<Vec<_>>());
        found
    }
}

/// Records fired sources by descriptor, and does not forget closed ones.
#[derive(Default)]
struct FiredByNumber(BTreeSet<RawSource>);

impl Defect for FiredByNumber {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        self.0.remove(&new.fd);
        beneath.modify(new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if !beneath.is_closed(old.token) {
            self.0.remove(&old.fd);
        }
        beneath.unregister(old)
    }

    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        found.retain(|event| {
            let source = beneath.source(event.token());
            let once = source.filter(|source| source.watch.mode == Mode::OneShot);
            once.is_none_or(|source| self.0.insert(source.fd))
        });
        found
    }
}

/// Undoes the changes since the last wait if a signal ends a wait.
#[derive(Default)]
struct UndoneBySignals(Vec<Registered>);

impl Defect for UndoneBySignals {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let old = beneath.source(new.token);
        beneath.modify(new)?;
        self.0.extend(old);
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        self.0.retain(|before| before.token != old.token);
        beneath.unregister(old)
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let answer = beneath.wait(events, timeout);
        let changed = std::mem::take(&mut self.0);
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {
            changed.into_iter().rev().try_for_each(|before| beneath.modify(before))?;
        }
        answer
    }
}

rows! {
    "READY-1" hung_up_for_good "stops reporting a source that has hung up"
        epoll GivesUp::after(Readiness::HANGUP, |_| true) =>
            ready_1_a_pipe_gets_another_writer;
    "READY-1" failed_for_good "stops reporting a datagram socket after an error"
        epoll GivesUp::after(Readiness::ERROR, is_datagram) =>
            ready_1_a_datagram_socket_recovers;
    "CLOSE-3" fired_by_number "records fired sources by descriptor, also closed ones"
        poll FiredByNumber::default() =>
            close_3_a_reused_number_has_not_fired;
    "WAIT-6" undone_by_signals "undoes changes if a signal ends the wait"
        poll UndoneBySignals::default() =>
            wait_6_a_signal_undoes_no_change;
}
