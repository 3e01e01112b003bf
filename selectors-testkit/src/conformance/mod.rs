//! The suite: cases that hold a backend to the [contract](mod@crate::contract).
//!
//! [`conformance_tests!`](crate::conformance_tests) makes a `#[test]` of every case;
//! [`run`] runs them all and returns a [`Report`], for harnesses of other kinds.

use std::fmt::{self, Write};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use selectors::{Backend, Event, Events, Token};

use crate::contract;
use crate::fixtures::is_lacking;

mod cases;
mod close;
mod counting;
mod modes;
mod modify;
mod readiness;
mod registry;
mod shared;
mod streams;
mod subject;
mod threads;
mod waiting;

pub use cases::CASES;
use cases::all;
pub(crate) use counting::Counting;
pub use shared::{SHARED_CASES, check_shared, run_shared};
#[doc(hidden)]
pub use subject::SelectorDefect;
pub(crate) use subject::Subject;

/// No time at all: for what is to be silent.
pub(crate) const NOW: Option<Duration> = Some(Duration::ZERO);

/// What a case came to, when it did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The backend is wrong.
    Broken(String),
    /// This system lacks what the case needs.
    NotRun(String),
}

pub(crate) type Outcome = Result<(), Stop>;

/// An error where none belongs is a failure, unless it is that of a fixture that this system has
/// no means for.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if is_lacking(&error) {
            return Self::NotRun(error.to_string());
        }
        Self::Broken(format!("  expected: no error\n  seen:     {error}"))
    }
}

impl From<selectors::Error> for Stop {
    fn from(error: selectors::Error) -> Self {
        Self::Broken(format!("  expected: no error\n  seen:     {error}"))
    }
}

impl<F, T> From<selectors::RegisterError<F, T>> for Stop {
    fn from(refused: selectors::RegisterError<F, T>) -> Self {
        refused.error.into()
    }
}

/// Who may run beside whom: see [`Case::alone`].
static COMPANY: RwLock<()> = RwLock::new(());

enum Company {
    Any(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    None(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

impl Company {
    fn any() -> Self {
        Self::Any(COMPANY.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn none() -> Self {
        Self::None(COMPANY.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a case works with: a way to make backends, and a place to say what it does.
pub(crate) struct Case<'a, B> {
    new: &'a dyn Fn() -> io::Result<B>,
    patience: Option<Duration>,
    defect: Option<SelectorDefect>,
    done: Vec<String>,
    company: Option<Company>,
}

#[expect(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    reason = "a case reads as what it does and expects"
)]
impl<B: Backend> Case<'_, B> {
    /// A backend, bare.
    pub(crate) fn backend(&self) -> Result<B, Stop> {
        (self.new)().map_err(|error| Stop::Broken(format!("  cannot make a backend: {error}")))
    }

    /// A selector over a new backend.
    pub(crate) fn selector<F, T>(&self) -> Result<Subject<F, T, B>, Stop> {
        Ok(Subject::new(self.backend()?, self.defect))
    }

    /// A selector over a new backend whose calls are counted.
    pub(crate) fn counting<F, T>(&self) -> Result<Subject<F, T, Counting<B>>, Stop> {
        Ok(Subject::new(Counting::new(self.backend()?), self.defect))
    }

    /// Lets no other case run until this one is over. For those that fork: a child has copies of
    /// whatever is open, so what another case closes would not be gone. And for those that look
    /// at all descriptors of the process.
    pub(crate) fn alone(&mut self) {
        self.company = None;
        self.company = Some(Company::none());
    }

    /// How long to wait for what must come.
    pub(crate) fn long(&self) -> Option<Duration> {
        self.patience
    }

    /// Notes what is done, for the failure message.
    pub(crate) fn did(&mut self, what: impl Into<String>) {
        self.done.push(what.into());
    }

    /// Fails unless `seen` is what was `expected` of `what`.
    pub(crate) fn expect<V: PartialEq + fmt::Debug>(
        &self,
        what: &str,
        seen: V,
        expected: V,
    ) -> Outcome {
        if seen == expected {
            return Ok(());
        }
        Err(Stop::Broken(format!("  expected: {what} to be {expected:?}\n  seen:     {seen:?}")))
    }

    /// Fails unless `holds`.
    pub(crate) fn expect_that(&self, holds: bool, what: &str, seen: impl fmt::Debug) -> Outcome {
        if holds {
            return Ok(());
        }
        Err(Stop::Broken(format!("  expected: {what}\n  seen:     {seen:?}")))
    }

    /// Fails unless exactly these tokens are in `events`, in any order.
    pub(crate) fn expect_tokens(&self, events: &Events, tokens: &[Token]) -> Outcome {
        let mut seen: Vec<_> = events.iter().map(Event::token).collect();
        let mut expected = tokens.to_vec();
        seen.sort();
        expected.sort();
        if seen == expected {
            return Ok(());
        }
        let names = |tokens: &[Token]| match tokens.len() {
            0 => "no event".to_owned(),
            _ => format!("events of {tokens:?}"),
        };
        Err(Stop::Broken(format!(
            "  expected: {}\n  seen:     {}: {:?}",
            names(&expected),
            names(&seen),
            events.iter().collect::<Vec<_>>(),
        )))
    }

    /// The only event, which must be that of `token`.
    pub(crate) fn only(&self, events: &Events, token: Token) -> Result<Event, Stop> {
        self.expect_tokens(events, &[token])?;
        events.iter().next().copied().ok_or_else(|| Stop::Broken("  no event".to_owned()))
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
        match (declared, answer) {
            (true, answer) => Ok(Some(answer?)),
            (false, Err(selectors::Error::Unsupported { .. })) => Ok(None),
            (false, Err(error)) => Err(Stop::Broken(format!(
                "  expected: Error::Unsupported, as the capability is not declared\n  seen:     \
                 {error:?}"
            ))),
            (false, Ok(_)) => Err(Stop::Broken(
                "  expected: a refusal, as the capability is not declared\n  seen:     it was \
                 accepted"
                    .to_owned(),
            )),
        }
    }
}

/// Runs one case, and says why it failed.
fn attempt<B: Backend>(
    name: &str,
    new: &dyn Fn() -> io::Result<B>,
    patience: Duration,
    defect: Option<SelectorDefect>,
    case: fn(&mut Case<'_, B>) -> Outcome,
) -> Outcome {
    let company = Some(Company::any());
    let mut context = Case { new, patience: Some(patience), defect, done: Vec::new(), company };
    let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut context)));
    let why = match outcome {
        Ok(Err(Stop::Broken(why))) => why,
        Ok(outcome) => return outcome,
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("  expected: no panic\n  seen:     {}", message.unwrap_or("a panic"))
        }
    };
    let rule = contract::rule_of(name);
    let mut message = format!("{name}\n  {}: {}\n", rule.id, rule.text);
    for step in &context.done {
        let _ = writeln!(message, "  did:      {step}");
    }
    let _ = write!(message, "{why}\n  usually:  {}", rule.pitfall);
    Err(Stop::Broken(message))
}

/// How long a case waits for what must come, unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the case of this name, as one test of a harness.
///
/// # Panics
///
/// If the backend is wrong, with what there is to say about it, and if there is no such case.
pub fn check<B: Backend>(name: &str, new: impl Fn() -> io::Result<B>) {
    let case = all::<B>().into_iter().find(|(other, _)| *other == name);
    let (_, case) = case.unwrap_or_else(|| panic!("no case is called {name}"));
    match attempt(name, &new, PATIENCE, None, case) {
        Ok(()) => {}
        Err(Stop::NotRun(why)) => println!("not run: {name}: {why}"),
        Err(Stop::Broken(message)) => panic!("{message}"),
    }
}

/// What came of running every case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The cases that passed.
    pub passed: Vec<&'static str>,
    /// The cases that failed, each with what there is to say about it.
    pub failed: Vec<(&'static str, String)>,
    /// The cases that this system has no means for, each with what is missing.
    pub not_run: Vec<(&'static str, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (_, message) in &self.failed {
            writeln!(f, "failed: {message}\n")?;
        }
        for (name, why) in &self.not_run {
            writeln!(f, "not run: {name}: {why}")?;
        }
        write!(
            f,
            "{} passed, {} failed, {} not run",
            self.passed.len(),
            self.failed.len(),
            self.not_run.len()
        )
    }
}

/// Runs every case over backends that `new` makes, one after the other.
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
///
/// let report = selectors_testkit::conformance::run(Poll::new);
/// println!("{report}");
/// assert!(report.failed.is_empty());
/// ```
pub fn run<B: Backend>(new: impl Fn() -> io::Result<B>) -> Report {
    run_patiently(new, PATIENCE)
}

/// As [`run`], waiting for no longer than `patience` for what must come. A short patience ends
/// the cases of a broken backend sooner, and on a busy machine may fail those of a right one.
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
/// use std::time::Duration;
///
/// let patience = Duration::from_secs(20);
/// let report = selectors_testkit::conformance::run_patiently(Poll::new, patience);
/// assert!(report.failed.is_empty(), "{report}");
/// ```
pub fn run_patiently<B: Backend>(new: impl Fn() -> io::Result<B>, patience: Duration) -> Report {
    run_with(new, patience, None)
}

/// As [`run_patiently`], over selectors with a defect of their own.
#[doc(hidden)]
pub fn run_with<B: Backend>(
    new: impl Fn() -> io::Result<B>,
    patience: Duration,
    defect: Option<SelectorDefect>,
) -> Report {
    let mut report = Report::default();
    for (name, case) in all::<B>() {
        match attempt(name, &new, patience, defect, case) {
            Ok(()) => report.passed.push(name),
            Err(Stop::NotRun(why)) => report.not_run.push((name, why)),
            Err(Stop::Broken(message)) => report.failed.push((name, message)),
        }
    }
    report
}
