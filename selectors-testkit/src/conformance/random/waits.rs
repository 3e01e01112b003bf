//! Waits, and what they must report.

use std::thread;
use std::time::{Duration, Instant};

use selectors::{Backend, Event, Events, Mode, Readiness};

use super::super::streams::{REQUESTABLE, truth};
use super::super::{NOW, Outcome, Stop};
use super::world::{Source, World};
use crate::fixtures::{if_any, signal_storm};

/// The readiness that must be reported of a source, and the readiness that may be. `None` if unknown.
type Bounds = Option<(Readiness, Readiness)>;

/// What must end a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A source, an earlier wake, or this timeout.
    Any(Option<Duration>),
    /// A wake from another thread.
    Wake,
    /// A signal.
    Signal,
    /// This timeout, although signals arrive.
    DespiteSignals(Duration),
}

impl<B: Backend> World<'_, '_, B> {
    /// The readiness of a source within its interest, according to poll(2).
    fn actual(&self, source: &Source) -> Result<Readiness, Stop> {
        Ok(truth(source.interest, |one| self.files[source.file].is_ready(one))?)
    }

    fn bounds(&self, source: &Source) -> Result<Bounds, Stop> {
        if source.misused {
            return Ok(None);
        }
        let most = if source.fired { Readiness::empty() } else { self.actual(source)? };
        let mut least = most;
        if source.mode == Mode::Edge {
            least &= source.edges;
        }
        // Beyond the limit the poll backend falls back to select(2), which reports no hang-ups.
        let reports_hang_ups = self.capabilities.write_hangup && self.limited.is_none();
        if self.files[source.file].hung_up && !reports_hang_ups {
            least -= Readiness::WRITE;
        }
        Ok(Some((least, most)))
    }

    fn end_of_wait(&mut self, must: bool, may: bool, b: u8) -> Result<End, Stop> {
        let short = Duration::from_micros(u64::from(b));
        Ok(match b % 16 {
            0 if must => End::Any(self.case.long()),
            1 if must => End::Any(None),
            2 if !may => End::Any(Some(short)),
            3 if !may && self.get_waker()? => End::Wake,
            4 if !may => End::Signal,
            5 if !may => End::DespiteSignals(short * 4),
            _ => End::Any(NOW),
        })
    }

    fn wait(&mut self, end: End, c: u8) -> Result<Events, Stop> {
        match end {
            End::Any(timeout) => self.wait_for(timeout, c),
            End::Wake => {
                self.woken = true;
                let waker = self.waker.clone();
                thread::scope(|scope| {
                    let other = scope.spawn(move || waker.map_or(Ok(()), |waker| waker.wake()));
                    let events = self.wait_for(self.case.long(), c)?;
                    other.join().map_err(|_| Stop::panicked("a panic of Waker::wake"))??;
                    Ok(events)
                })
            }
            End::Signal | End::DespiteSignals(_) => {
                let Some(_storm) = if_any(signal_storm(Duration::from_micros(50)))? else {
                    return self.wait_for(NOW, c);
                };
                self.selector.set_interruptible(end == End::Signal);
                let timeout = match end {
                    End::DespiteSignals(timeout) => Some(timeout),
                    _ => self.case.long(),
                };
                let events = self.wait_for(timeout, c);
                self.selector.set_interruptible(false);
                let events = events?;
                let interrupted = events.interrupted();
                self.case.expect("whether it was interrupted", interrupted, end == End::Signal)?;
                Ok(events)
            }
        }
    }

    fn wait_for(&mut self, timeout: Option<Duration>, c: u8) -> Result<Events, Stop> {
        match c % 4 {
            0 => {
                // A list with the events of an earlier wait.
                let mut events = std::mem::take(&mut self.events);
                self.call(|selector| selector.select_into(&mut events, timeout))??;
                self.events = events.clone();
                Ok(events)
            }
            1 => {
                let deadline = timeout.map(|timeout| self.selector.backend().now() + timeout);
                Ok(self.call(|selector| selector.select_until(deadline))??)
            }
            _ => Ok(self.call(|selector| selector.select(timeout))??),
        }
    }

    pub(super) fn select(&mut self, b: u8, c: u8) -> Outcome {
        let bounds: Vec<_> =
            self.sources.iter().map(|source| self.bounds(source)).collect::<Result<_, _>>()?;
        let must = bounds.iter().flatten().any(|(least, _)| !least.is_empty()) || self.woken;
        let may =
            must || bounds.iter().any(|bounds| bounds.is_none_or(|(_, most)| !most.is_empty()));
        let end = self.end_of_wait(must, may, b)?;
        self.note(match end {
            End::Any(timeout) => format!("  select({timeout:?})"),
            End::Wake => "  select, and a thread wakes it".to_owned(),
            End::Signal => "  select, and a signal interrupts it".to_owned(),
            End::DespiteSignals(timeout) => format!("  select({timeout:?}), while signals come"),
        });
        let start = Instant::now();
        let events = self.wait(end, c)?;
        let waited = start.elapsed();
        self.case.expect("whether it was woken", events.woken(), self.woken)?;
        self.woken = false;
        for (at, bounds) in bounds.into_iter().enumerate() {
            self.check(at, bounds, &events)?;
        }
        let known = |token| self.sources.iter().any(|source| source.token == token);
        for event in &events {
            self.case.expect_that(known(event.token()), "events of registered sources", event)?;
        }
        let timeout = match end {
            End::Any(timeout) => timeout.filter(|_| events.is_empty() && !events.woken()),
            End::DespiteSignals(timeout) => Some(timeout),
            End::Wake | End::Signal => None,
        };
        if let Some(timeout) = timeout {
            self.case.expect_that(waited >= timeout, "a wait as long as its timeout", waited)?;
        }
        Ok(())
    }

    /// Checks the events of a source.
    fn check(&mut self, at: usize, bounds: Bounds, events: &Events) -> Outcome {
        let token = self.sources[at].token;
        let name = self.name(at);
        let mut of_it = events.iter().filter(|event| event.token() == token);
        let seen = of_it.next().map_or(Readiness::empty(), Event::readiness);
        let Source { misused, may_be_ghost, .. } = self.sources[at];
        let may_be_twice = may_be_ghost || misused && self.capabilities.deferred;
        let twice = of_it.next().is_some() && !may_be_twice;
        self.case.expect_that(!twice, &format!("one event of {name}"), events)?;
        let hints = seen - REQUESTABLE;
        let seen = seen & REQUESTABLE;
        if let Some((least, most)) = bounds {
            let what = if least == most {
                format!("{most:?} of {name}")
            } else {
                format!("at least {least:?}, and at most {most:?}, of {name}")
            };
            let holds = seen.contains(least) && most.contains(seen);
            self.case.expect_that(holds, &what, seen | hints)?;
            let wrong = hints & self.files[self.sources[at].file].wrong_hints();
            let what = format!("no {wrong:?} of {name}");
            self.case.expect_that(wrong.is_empty(), &what, hints)?;
        }
        let source = &mut self.sources[at];
        source.fired |= source.mode == Mode::OneShot && !seen.is_empty();
        source.edges = Readiness::empty();
        Ok(())
    }
}
