//! The context of a running case: its backend, its steps, and comparisons.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use selectors::backend::Capabilities;
use selectors::{Backend, Event, Events, Readiness, Token};

use super::concurrency::Progress;
use super::readiness::HINTS;
use super::{Counting, SelectorDefect, Subject};
use crate::fixtures::{is_lacking, open_descriptors, panic_text, report_of_forked_child};

/// The outcome of a case that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The backend is wrong: what was expected and seen, and the usual cause if it differs from
    /// that of the rule.
    Broken(String, Option<Cause>),
    /// This system lacks a facility that the case needs.
    NotRun(String),
    /// The case has to wait until no other case runs.
    Later,
}

/// What separates the usual cause from the rest in the report of a forked child.
const KNOWN: &str = "\u{1e}usually\u{1e}";
const GUESS: &str = "\u{1e}perhaps\u{1e}";

pub(crate) type Outcome = Result<(), Stop>;

/// The usual cause of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Stated by the case.
    Known(&'static str),
    /// Derived from the events; one stated by the case takes precedence.
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

    /// The text for the report.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Broken(why, _) | Self::NotRun(why) => why,
            Self::Later => "  it cannot be alone".to_owned(),
        }
    }

    /// The text for a report to the parent process, with the usual cause.
    fn into_report(self) -> String {
        match self {
            Self::Broken(why, Some(Cause::Known(cause))) => format!("{why}{KNOWN}{cause}"),
            Self::Broken(why, Some(Cause::Guess(cause))) => format!("{why}{GUESS}{cause}"),
            stop => stop.into_text(),
        }
    }

    /// The failure of a forked child, from its report.
    pub(crate) fn of_child(report: &str) -> Self {
        // Lives as long as the message of a failure.
        let cause = |text: &str| &*String::leak(text.to_owned());
        let (why, cause) = match (report.split_once(KNOWN), report.split_once(GUESS)) {
            (Some((why, text)), _) => (why, Some(Cause::Known(cause(text)))),
            (None, Some((why, text))) => (why, Some(Cause::Guess(cause(text)))),
            (None, None) if report.contains("  expected: ") => (report, None),
            // It did not live to report more.
            (None, None) => {
                let why =
                    format!("  expected: the child to end\n  seen:     {report} (in the child)");
                let cause = "`after_fork` keeps what a child does not have: a thread, a lock that \
                    another thread held, a kernel object of the parent";
                return Self::Broken(why, Some(Cause::Guess(cause)));
            }
        };
        let place = if why.contains("(in the child") { "" } else { " (in the child)" };
        Self::Broken(format!("{why}{place}"), cause)
    }

    fn unexpected_error(error: &dyn fmt::Display) -> Self {
        Self::Broken(
            format!("  expected: no error\n  seen:     {error}"),
            Some(Cause::Guess(
                "an error of a system call is returned that should be handled, or an argument is \
                 passed that this system does not accept",
            )),
        )
    }

    pub(crate) fn panicked(message: &str) -> Self {
        Self::Broken(
            format!("  expected: no panic\n  seen:     {message}"),
            Some(Cause::Known(
                "arithmetic that overflows, an index or a token that is assumed to be valid, or an \
                 `unwrap` of the result of a system call",
            )),
        )
    }
}

/// An unexpected error is a failure, unless it means that this system lacks a fixture.
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
        let stop = Self::unexpected_error(&error);
        match (usual_cause(&error), stop) {
            (Some(cause), Self::Broken(why, _)) => Self::Broken(why, Some(cause)),
            (_, stop) => stop,
        }
    }
}

/// The usual cause of an error that no case expects.
fn usual_cause(error: &selectors::Error) -> Option<Cause> {
    use selectors::Error::{Os, Unsupported};
    match error {
        Unsupported { feature, .. } if feature.contains("deferred") => Some(Cause::Known(
            "the backend declares `deferred`, and a `SharedSelector` refuses such a backend: remove \
             its `shared_conformance_tests!`",
        )),
        Os { operation, .. } if operation.contains("unregister") => Some(Cause::Guess(
            "`unregister` returns the error of the kernel for a descriptor that was closed, or whose \
             number was reused: such errors (EBADF, ENOENT) mean that it is no longer watched",
        )),
        Os { operation, source, .. }
            if operation.contains("wait") && source.kind() == io::ErrorKind::InvalidInput =>
        {
            Some(Cause::Known(
                "poll(2) and ppoll(2) return EINVAL for more entries than the limit on descriptors, \
                 which can be lowered at any time: select(2), epoll_wait(2) and kevent(2) do not",
            ))
        }
        _ => None,
    }
}

impl<F, T> From<selectors::RegisterError<F, T>> for Stop {
    fn from(refused: selectors::RegisterError<F, T>) -> Self {
        refused.error.into()
    }
}

/// The usual cause of hints that differ from those that are declared and true.
pub(super) fn hint_cause(
    seen: Readiness,
    expected: Readiness,
    capabilities: Capabilities,
) -> Option<&'static str> {
    let mut declared = Readiness::empty();
    declared.set(Readiness::READ_CLOSED, capabilities.read_closed);
    declared.set(Readiness::HANGUP, capabilities.hangup);
    declared.set(Readiness::ERROR, capabilities.error);
    if (seen & HINTS).intersects(!declared) {
        Some("a hint is reported that the `Capabilities` of the backend do not declare")
    } else if (expected - seen).intersects(HINTS) {
        Some(
            "a hint is declared, but the kernel is not asked for it, as with POLLRDHUP or EPOLLRDHUP, \
             or it is not translated",
        )
    } else {
        None
    }
}

/// The context of a case: it creates backends, and records the steps.
pub(crate) struct Case<'a, B> {
    pub(super) new: &'a (dyn Fn() -> io::Result<B> + Sync),
    pub(super) patience: Duration,
    pub(super) defect: Option<SelectorDefect>,
    pub(super) progress: &'a Progress,
    /// Whether the case may wait until no other case runs.
    pub(super) may_be_alone: bool,
}

#[expect(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "cases call these as `case.did(…)` and `case.expect(…)`"
)]
impl<B: Backend> Case<'_, B> {
    /// A backend without a selector.
    pub(crate) fn backend(&self) -> Result<B, Stop> {
        self.progress.tick();
        (self.new)().map_err(|error| {
            if is_lacking(&error) {
                return self.cannot_run(error);
            }
            Stop::broken(format!("  cannot create a backend: {error}"))
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

    /// A selector whose backend reports a ghost until this many rebuilds have failed.
    pub(crate) fn with_ghost<F, T>(
        &self,
        failures: usize,
    ) -> Result<Subject<F, T, Counting<B>>, Stop> {
        Ok(Subject::new(Counting::with_ghost(self.backend()?, failures), self.defect))
    }

    /// Lets no other case run until this one has ended. For cases that fork, because a child holds
    /// copies of all open files, so that files that another case closes would stay open; and for
    /// cases that inspect all descriptors of the process.
    pub(crate) fn alone(&self) -> Outcome {
        if !self.may_be_alone {
            return Err(Stop::Later);
        }
        self.progress.join_alone();
        Ok(())
    }

    /// Runs `act` in a forked child, and returns its outcome.
    pub(crate) fn in_forked_child(&self, act: impl FnOnce() -> Outcome) -> Outcome {
        let before = self.progress.done().len();
        let in_child = || {
            let outcome = catch_unwind(AssertUnwindSafe(act));
            let outcome = outcome.unwrap_or_else(|panic| Err(Stop::panicked(panic_text(&*panic))));
            outcome.map_err(|stop| {
                // The child's own steps, which its parent has not recorded.
                let done = self.progress.done();
                let did = |all: String, step| all + "  did:      " + step + "\n";
                let steps = done.iter().map(String::as_str).skip(before).fold(String::new(), did);
                steps + &stop.into_report()
            })
        };
        let report = self.progress.while_child_works(|| report_of_forked_child(in_child))?;
        report.map_err(|report| Stop::of_child(&report))
    }

    /// As [`in_forked_child`](Self::in_forked_child), alone, for an `act` that creates backends: a
    /// child cannot report that this system has none.
    pub(crate) fn alone_in_forked_child(&self, act: impl FnOnce() -> Outcome) -> Outcome {
        self.alone()?;
        self.backend()?;
        self.in_forked_child(act)
    }

    /// Fails if each of `times` operations has leaked a descriptor, compared with `before`. Threads
    /// of other tests may open some meanwhile.
    pub(crate) fn expect_descriptors(&self, before: usize, times: usize) -> Outcome {
        let more = open_descriptors().saturating_sub(before);
        self.expect_that(more < times / 2, "about as many open descriptors as before", more)
    }

    /// Fails unless waits for a single source eventually report `expected`: actions of its peer may
    /// arrive in steps.
    pub(crate) fn expect_in_steps<F>(
        &self,
        what: &str,
        selector: &mut Subject<F, (), B>,
        token: Token,
        expected: Readiness,
    ) -> Outcome {
        let start = Instant::now();
        let capabilities = selector.capabilities();
        let mut seen = self.only(&selector.select(self.long())?, token)?.readiness();
        while seen != expected && start.elapsed() < self.patience {
            std::thread::yield_now();
            seen = self.only(&selector.select(self.long())?, token)?.readiness();
        }
        let outcome = self.expect(what, seen, expected);
        match hint_cause(seen, expected, capabilities) {
            Some(cause) => self.because(cause, outcome),
            None => outcome,
        }
    }

    /// How long to wait for an event that must arrive.
    pub(crate) fn long(&self) -> Option<Duration> {
        self.progress.tick();
        Some(self.patience)
    }

    /// Records a step, for the failure message.
    pub(crate) fn did(&self, what: impl Into<String>) {
        self.progress.did(what.into());
    }

    /// Records a step in place of the last one, which was similar and went well.
    pub(crate) fn did_instead(&self, what: impl Into<String>) {
        self.progress.did_instead(what.into());
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

    /// Fails unless `holds`, with a usual `cause` that differs from that of the rule.
    pub(crate) fn expect_or(
        &self,
        cause: &'static str,
        holds: bool,
        what: &str,
        seen: impl fmt::Debug,
    ) -> Outcome {
        self.because(cause, self.expect_that(holds, what, seen))
    }

    /// Sets the usual cause if it differs from that of the rule.
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
            "the number of events or changes is limited: the rest of a batch is left to the next \
             wait instead of being fetched at once, or a queue of changes was full",
        );
        seen.dedup();
        let twice = (seen.len() < events).then_some(
            "the kernel is asked again within one wait, which reports level-triggered sources again: \
             call `Events::mark_repeats`; or a list is kept from an earlier wait; or events of two \
             directions are not merged: declare `separate_directions`",
        );
        // A list of 64 or 256, one of which may be the waker.
        let full = [events, events + 1].iter().any(|length| length.is_power_of_two());
        let part = part.map(if full { Cause::Known } else { Cause::Guess });
        Err(Stop::Broken(why, twice.map(Cause::Known).or(part)))
    }

    /// The only event, which must be that of `token`.
    pub(crate) fn only(&self, events: &Events, token: Token) -> Result<Event, Stop> {
        self.expect_tokens(events, &[token])?;
        events.iter().next().copied().ok_or_else(|| Stop::broken("  no event"))
    }

    /// Ends a case that cannot run on this system.
    pub(crate) fn cannot_run(&self, why: impl fmt::Display) -> Stop {
        Stop::NotRun(why.to_string())
    }

    /// Checks the `answer` to a request that needs a capability: accepted if it is declared,
    /// otherwise refused as unsupported. Returns true if it was accepted, so that the case
    /// continues.
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
