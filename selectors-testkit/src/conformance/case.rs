//! The context of a running case: its backend, its steps, and comparisons.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use selectors::{Backend, Event, Events, Readiness, Token};

use super::concurrency::Progress;
use super::{Counting, SelectorDefect, Subject};
use crate::fixtures::{is_lacking, open_descriptors, report_of_forked_child};

/// Within what time the last of the steps arrives in which a peer goes, and within the patience.
const STEPS: Duration = Duration::from_secs(1);

/// What a case came to, when it did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The backend is wrong: what was expected and seen, and the usual cause of that, where it
    /// is another than that of the rule.
    Broken(String, Option<Cause>),
    /// This system lacks what the case needs.
    NotRun(String),
    /// It has to wait until no other case runs.
    Later,
}

pub(crate) type Outcome = Result<(), Stop>;

/// What usually is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// What the case says.
    Known(&'static str),
    /// What the events look like: a case knows better.
    Guess(&'static str),
}

impl Cause {
    pub(crate) fn text(self) -> &'static str {
        let (Self::Known(text) | Self::Guess(text)) = self;
        text
    }
}

impl Stop {
    /// The backend is wrong.
    pub(crate) fn broken(why: impl Into<String>) -> Self {
        Self::Broken(why.into(), None)
    }

    /// What is to be said of it.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Broken(why, _) | Self::NotRun(why) => why,
            Self::Later => "  it cannot be alone".to_owned(),
        }
    }

    fn unexpected_error(error: &dyn fmt::Display) -> Self {
        Self::Broken(
            format!("  expected: no error\n  seen:     {error}"),
            Some(Cause::Guess(
                "an error of a system call is passed on that stands for something to be handled, \
                 or an argument that this system does not take",
            )),
        )
    }

    pub(crate) fn panicked(message: &str) -> Self {
        Self::Broken(
            format!("  expected: no panic\n  seen:     {message}"),
            Some(Cause::Known(
                "arithmetic that overflows, an index or a token that is taken for known, or an \
                 `unwrap` of a system call's result",
            )),
        )
    }
}

/// An error where none belongs is a failure, unless it is that of a fixture that this system has
/// no means for.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if is_lacking(&error) {
            return Self::NotRun(error.to_string());
        }
        Self::unexpected_error(&error)
    }
}

impl From<selectors::Error> for Stop {
    fn from(error: selectors::Error) -> Self {
        Self::unexpected_error(&error)
    }
}

impl<F, T> From<selectors::RegisterError<F, T>> for Stop {
    fn from(refused: selectors::RegisterError<F, T>) -> Self {
        refused.error.into()
    }
}

/// What a case works with: a way to make backends, and a place to say what it does.
pub(crate) struct Case<'a, B> {
    pub(super) new: &'a dyn Fn() -> io::Result<B>,
    pub(super) patience: Duration,
    pub(super) defect: Option<SelectorDefect>,
    pub(super) progress: &'a Progress,
    /// Whether it may wait for others to end, and others for it.
    pub(super) may_be_alone: bool,
}

#[expect(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "a case reads as what it does and expects"
)]
impl<B: Backend> Case<'_, B> {
    /// A backend, bare.
    pub(crate) fn backend(&self) -> Result<B, Stop> {
        self.progress.tick();
        (self.new)().map_err(|error| {
            if is_lacking(&error) {
                return self.cannot_run(error);
            }
            Stop::broken(format!("  cannot make a backend: {error}"))
        })
    }

    /// A selector over a new backend.
    pub(crate) fn selector<F, T>(&self) -> Result<Subject<F, T, B>, Stop> {
        Ok(Subject::new(self.backend()?, self.defect))
    }

    /// A selector over a new backend whose calls are counted.
    pub(crate) fn counting<F, T>(&self) -> Result<Subject<F, T, Counting<B>>, Stop> {
        Ok(Subject::new(Counting::new(self.backend()?), self.defect))
    }

    /// A selector whose backend reports a ghost, until so many rebuilds have failed.
    pub(crate) fn with_ghost<F, T>(
        &self,
        failures: usize,
    ) -> Result<Subject<F, T, Counting<B>>, Stop> {
        Ok(Subject::new(Counting::with_ghost(self.backend()?, failures), self.defect))
    }

    /// Lets no other case run until this one is over. For those that fork: a child has copies of
    /// whatever is open, so what another case closes would not be gone. And for those that look
    /// at all descriptors of the process.
    pub(crate) fn alone(&self) -> Outcome {
        if !self.may_be_alone {
            return Err(Stop::Later);
        }
        self.progress.join_alone();
        Ok(())
    }

    /// Runs `act` in a forked child, and returns what came of it there.
    pub(crate) fn in_forked_child(&self, act: impl FnOnce() -> Outcome) -> Outcome {
        // What the child does is not heard of here.
        let report = self
            .progress
            .while_child_works(|| report_of_forked_child(|| act().map_err(Stop::into_text)))?;
        report.map_err(|why| Stop::broken(format!("{why} (in the child)")))
    }

    /// As [`in_forked_child`](Self::in_forked_child), alone, where `act` makes backends: a child
    /// cannot say that this system has none.
    pub(crate) fn alone_in_forked_child(&self, act: impl FnOnce() -> Outcome) -> Outcome {
        self.alone()?;
        self.backend()?;
        self.in_forked_child(act)
    }

    /// Fails if a descriptor more is open for each of `times` than `before`. Threads of other tests
    /// may open some meanwhile.
    pub(crate) fn expect_descriptors(&self, before: usize, times: usize) -> Outcome {
        let more = open_descriptors().saturating_sub(before);
        self.expect_that(more < times / 2, "about as many open descriptors as before", more)
    }

    /// Fails unless waits for a single source come to report `expected`: what its peer does may
    /// arrive in steps.
    pub(crate) fn expect_in_steps<F>(
        &self,
        what: &str,
        selector: &mut Subject<F, (), B>,
        token: Token,
        expected: Readiness,
    ) -> Outcome {
        let (start, most) = (Instant::now(), STEPS.min(self.patience));
        let mut seen = self.only(&selector.select(self.long())?, token)?.readiness();
        while seen != expected && start.elapsed() < most {
            std::thread::yield_now();
            seen = self.only(&selector.select(self.long())?, token)?.readiness();
        }
        self.expect(what, seen, expected)
    }

    /// How long to wait for what must come.
    pub(crate) fn long(&self) -> Option<Duration> {
        self.progress.tick();
        Some(self.patience)
    }

    /// Notes what is done, for the failure message.
    pub(crate) fn did(&self, what: impl Into<String>) {
        self.progress.did(what.into());
    }

    /// Fails unless `seen` is what was `expected` of `what`.
    pub(crate) fn expect<V: PartialEq + fmt::Debug>(
        &self,
        what: &str,
        seen: V,
        expected: V,
    ) -> Outcome {
        let holds = seen == expected;
        self.expect_that(holds, &format!("{what} to be {expected:?}"), seen)
    }

    /// Fails unless `holds`.
    pub(crate) fn expect_that(&self, holds: bool, what: &str, seen: impl fmt::Debug) -> Outcome {
        self.progress.tick();
        if holds {
            return Ok(());
        }
        Err(Stop::broken(format!("  expected: {what}\n  seen:     {seen:?}")))
    }

    /// Fails unless `holds`, which usually has a `cause` of its own.
    pub(crate) fn expect_or(
        &self,
        cause: &'static str,
        holds: bool,
        what: &str,
        seen: impl fmt::Debug,
    ) -> Outcome {
        self.because(cause, self.expect_that(holds, what, seen))
    }

    /// What usually is wrong when this fails, if it is not what its rule says.
    pub(crate) fn because<V>(
        &self,
        cause: &'static str,
        outcome: Result<V, Stop>,
    ) -> Result<V, Stop> {
        outcome.map_err(|stop| match stop {
            Stop::Broken(why, None | Some(Cause::Guess(_))) => {
                Stop::Broken(why, Some(Cause::Known(cause)))
            }
            stop => stop,
        })
    }

    /// Fails unless exactly these tokens are in `events`, in any order.
    pub(crate) fn expect_tokens(&self, events: &Events, tokens: &[Token]) -> Outcome {
        self.progress.tick();
        let mut seen: Vec<_> = events.iter().map(Event::token).collect();
        let mut expected = tokens.to_vec();
        seen.sort();
        expected.sort();
        if seen == expected {
            return Ok(());
        }
        let names = |tokens: &[Token]| match tokens.len() {
            0 => "no event".to_owned(),
            1..=8 => format!("events of {tokens:?}"),
            many => format!("events of {many} sources"),
        };
        let listed: Vec<_> = events.iter().take(8).collect();
        let more = if events.len() > listed.len() { " and more" } else { "" };
        let why = format!(
            "  expected: {}\n  seen:     {}: {listed:?}{more}",
            names(&expected),
            names(&seen),
        );
        let events = seen.len();
        let part = (8..expected.len()).contains(&events)
            && seen.iter().all(|token| expected.binary_search(token).is_ok());
        let part = part.then_some(
            "only so many come at a time: the rest of a batch is left to the next wait, where the \
             kernel has to be asked for it at once, or a queue of changes was full",
        );
        seen.dedup();
        let twice = (seen.len() < events).then_some(
            "the kernel is asked again within one wait, which reports level-triggered sources again: \
             call `Events::mark_repeats`; or a list is kept from an earlier wait; or events of two \
             directions are not merged: declare `separate_directions`",
        );
        Err(Stop::Broken(why, twice.map(Cause::Known).or(part.map(Cause::Guess))))
    }

    /// The only event, which must be that of `token`.
    pub(crate) fn only(&self, events: &Events, token: Token) -> Result<Event, Stop> {
        self.expect_tokens(events, &[token])?;
        events.iter().next().copied().ok_or_else(|| Stop::broken("  no event"))
    }

    /// Ends a case that this system has no means for.
    pub(crate) fn cannot_run(&self, why: impl fmt::Display) -> Stop {
        Stop::NotRun(why.to_string())
    }

    /// Checks what `answer` says of a capability: that it works where it is declared, and is
    /// refused as unsupported where it is not. Returns whether there is more to check.
    pub(crate) fn declared_or_refused<V>(
        &self,
        declared: bool,
        answer: Result<V, selectors::Error>,
    ) -> Result<Option<V>, Stop> {
        self.progress.tick();
        match (declared, answer) {
            (true, answer) => Ok(Some(answer?)),
            (false, Err(selectors::Error::Unsupported { .. })) => Ok(None),
            (false, Err(error)) => Err(Stop::broken(format!(
                "  expected: Error::Unsupported, as the capability is not declared\n  seen:     \
                 {error:?}"
            ))),
            (false, Ok(_)) => Err(Stop::broken(
                "  expected: a refusal, as the capability is not declared\n  seen:     it was \
                 accepted",
            )),
        }
    }
}
