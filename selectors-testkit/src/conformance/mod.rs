//! The conformance suite: cases that test a backend against the [contract](mod@crate::contract).
//!
//! [`conformance_tests!`](crate::conformance_tests) defines a `#[test]` for each case. [`run`] runs all
//! cases without a harness and returns a [`Report`].
//!
//! A case that hangs fails by name, with its last step: as a test, its thread is abandoned and the other
//! tests continue; [`run`] ends the process, because the case runs on the calling thread. A case that
//! crashes the process is also named, and what it did last.

use std::fmt::{self, Write};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use selectors::{Backend, Interest};

use crate::contract;
use crate::fixtures::{name_if_aborted, panic_text};

mod between_waits;
mod bulk;
mod case;
mod cases;
mod close;
mod closing;
mod combinations;
mod concurrency;
mod counting;
mod counts;
pub(crate) mod emulation;
mod everything;
mod file_kinds;
mod forks;
mod kinds;
mod leaks;
mod limits;
mod modes;
mod modify;
mod numbers;
mod parking;
mod peers;
mod priority;
mod processor;
pub mod random;
mod rare_paths;
mod readiness;
mod rebuilding;
mod recovery;
mod refusals;
mod registry;
mod release;
mod shared;
mod side_effects;
mod stale_readiness;
mod states;
mod streams;
mod subject;
mod tally;
mod threads;
mod timeouts;
mod timing;
mod transitions;
mod unbounded;
mod waiting;
mod watchdog;

pub(crate) use case::{Case, Cause, Outcome, Stop};
pub use cases::CASES;
use cases::all;
use concurrency::Progress;
pub(crate) use counting::Counting;
pub use shared::{SHARED_CASES, check_shared, check_shared_patiently, run_shared};
#[doc(hidden)]
pub use subject::SelectorDefect;
pub(crate) use subject::Subject;
#[doc(hidden)]
pub use tally::{Tally, expect_all_run};
use watchdog::{Watchdog, limit, stuck};

/// A zero timeout, to check that nothing is reported.
pub(crate) const NOW: Option<Duration> = Some(Duration::ZERO);

const BOTH: Interest = Interest::READ.union(Interest::WRITE);

type Run<B> = fn(&mut Case<'_, B>) -> Outcome;

/// Runs one case, and returns why it failed.
fn attempt<'a>(
    name: &'static str,
    new: &(dyn Fn() -> io::Result<Boxed<'a>> + Sync),
    patience: Duration,
    defect: Option<SelectorDefect>,
    progress: &Progress,
    (case, may_be_alone): (Run<Boxed<'a>>, bool),
) -> Outcome {
    let _named = name_if_aborted(name);
    progress.join();
    let mut context = Case { new, patience, defect, progress, may_be_alone };
    let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut context)));
    progress.leave();
    let outcome = outcome.unwrap_or_else(|panic| Err(Stop::panicked(panic_text(&*panic))));
    outcome.map_err(|stop| match stop {
        Stop::Broken(why, cause) => {
            Stop::broken(message(name, progress, &why, cause.map(Cause::text)))
        }
        stop => stop,
    })
}

/// The message of a failure.
fn message(name: &str, progress: &Progress, why: &str, cause: Option<&str>) -> String {
    let rule = contract::rule_of(name);
    let mut message = format!("{name}\n  {}: {}\n", rule.id, rule.text);
    for step in progress.done() {
        let _ = writeln!(message, "  did:      {step}");
    }
    let _ = write!(message, "{why}\n  usually:  {}", cause.unwrap_or(rule.pitfall));
    message
}

/// Any backend, boxed, so that the cases are compiled once and not for each type.
type Boxed<'a> = Box<dyn Backend + Send + 'a>;

fn boxed<'a, B: Backend + Send + 'a>(
    new: impl Fn() -> io::Result<B> + Sync,
) -> impl Fn() -> io::Result<Boxed<'a>> + Sync {
    move || new().map(|backend| Box::new(backend) as Boxed<'a>)
}

/// How long a case waits for an event that must arrive, unless it sets another limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the case with this name, as one test of a harness, on a thread of its own. If the case hangs,
/// the thread is abandoned.
///
/// # Panics
///
/// If the case fails, with its message, and if there is no such case.
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
/// use selectors_testkit::conformance;
///
/// conformance::check("ready_1_idle_sources_are_silent", Poll::new);
/// ```
pub fn check<B: Backend + Send + 'static>(
    name: &'static str,
    new: impl Fn() -> io::Result<B> + Send + Sync + 'static,
) {
    check_patiently(name, new, PATIENCE);
}

/// As [`check`], waiting for at most `patience` for events that must arrive.
///
/// # Panics
///
/// As [`check`].
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
/// use selectors_testkit::conformance;
/// use std::time::Duration;
///
/// let patience = Duration::from_secs(20);
/// conformance::check_patiently("ready_1_idle_sources_are_silent", Poll::new, patience);
/// ```
pub fn check_patiently<B: Backend + Send + 'static>(
    name: &'static str,
    new: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    patience: Duration,
) {
    report_not_run(name, outcome_of(all(), name, Box::new(boxed(new)), patience));
}

/// Prints a case that could not run, past the harness, which hides the output of passing tests.
fn report_not_run(name: &str, outcome: Result<(), String>) {
    if let Err(why) = outcome {
        let _ = io::Write::write_all(&mut io::stderr(), not_run(name, &why).as_bytes());
    }
}

fn not_run(name: &str, why: &str) -> String {
    format!("not run: {name}: {why}\n")
}

/// Runs a case on a thread of its own. Returns the reason if it could not run.
fn outcome_of(
    all: Vec<(&'static str, Run<Boxed<'static>>)>,
    name: &'static str,
    new: Box<dyn Fn() -> io::Result<Boxed<'static>> + Send + Sync>,
    patience: Duration,
) -> Result<(), String> {
    let case = all.into_iter().find(|(other, _)| *other == name);
    let (_, case) = case.unwrap_or_else(|| panic!("no case is called {name}"));
    let progress = Arc::new(Progress::new());
    let (sender, outcome) = mpsc::channel();
    let its_progress = Arc::clone(&progress);
    thread::spawn(move || {
        let outcome = attempt(name, &new, patience, None, &its_progress, (case, true));
        drop(new);
        let _ = sender.send(outcome);
    });
    let outcome = loop {
        match outcome.recv_timeout(Duration::from_secs(1)) {
            Ok(outcome) => break outcome,
            Err(RecvTimeoutError::Timeout) if progress.silence() < limit(patience) => {}
            Err(_) => {
                // Cases that must run alone need not wait for it.
                progress.leave();
                break Err(Stop::broken(stuck(name, &progress)));
            }
        }
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(Stop::NotRun(why)) => Err(why),
        Err(Stop::Later) => unreachable!("it may be alone"),
        Err(Stop::Broken(message, _)) => panic!("{message}"),
    }
}

/// The results of all cases.
///
/// # Examples
///
/// ```
/// use selectors::backend::Poll;
/// use selectors_testkit::conformance::{CASES, Report, run};
///
/// let report: Report = run(Poll::new);
/// assert_eq!(report.passed.len() + report.failed.len() + report.not_run.len(), CASES.len());
/// for (name, why) in &report.not_run {
///     println!("{name} could not run: {why}");
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The cases that passed.
    pub passed: Vec<&'static str>,
    /// The cases that failed, each with its message.
    pub failed: Vec<(&'static str, String)>,
    /// The cases that could not run on this system, each with the reason.
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

/// Runs all cases, one after the other, with backends created by `new`.
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
pub fn run<B: Backend + Send>(new: impl Fn() -> io::Result<B> + Sync) -> Report {
    run_patiently(new, PATIENCE)
}

/// As [`run`], waiting for at most `patience` for events that must arrive. With a short patience the cases
/// of a broken backend end sooner, but on a busy machine those of a correct one may fail.
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
pub fn run_patiently<B: Backend + Send>(
    new: impl Fn() -> io::Result<B> + Sync,
    patience: Duration,
) -> Report {
    run_with(new, patience, None)
}

/// As [`run_patiently`], with selectors that have a defect.
#[doc(hidden)]
pub fn run_with<B: Backend + Send>(
    new: impl Fn() -> io::Result<B> + Sync,
    patience: Duration,
    defect: Option<SelectorDefect>,
) -> Report {
    run_all(all(), &boxed(new), patience, defect)
}

/// Runs these cases, one after the other.
fn run_all<'a>(
    all: Vec<(&'static str, Run<Boxed<'a>>)>,
    new: &(dyn Fn() -> io::Result<Boxed<'a>> + Sync),
    patience: Duration,
    defect: Option<SelectorDefect>,
) -> Report {
    let mut report = Report::default();
    Watchdog::watches(patience, |watchdog| {
        for (name, case) in all {
            let attempt =
                |progress: &_| attempt(name, new, patience, defect, progress, (case, true));
            report.add(name, watchdog.during(name, attempt));
        }
    });
    report
}

/// As [`run_with`], only the cases with these names, and several at a time: most cases mostly wait.
#[doc(hidden)]
pub fn run_side_by_side<B: Backend + Send>(
    new: impl Fn() -> io::Result<B> + Sync,
    patience: Duration,
    defect: Option<SelectorDefect>,
    names: &[&str],
) -> Report {
    const WORKERS: usize = 16;
    let new = boxed(new);
    let (mut cases, next) = (all(), AtomicUsize::new(0));
    cases.retain(|(name, _)| names.contains(name));
    let outcomes = Mutex::new(Vec::new());
    let mut report = Report::default();
    Watchdog::watches(patience, |watchdog| {
        let run = |name, case| {
            watchdog.during(name, |progress| attempt(name, &new, patience, defect, progress, case))
        };
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(&(name, case)) = cases.get(at) else { break };
                let outcome = run(name, (case, false));
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((at, outcome));
            }
        };
        thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
        let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by_key(|(at, _)| *at);
        for ((_, outcome), &(name, case)) in outcomes.into_iter().zip(&cases) {
            let outcome = match outcome {
                Err(Stop::Later) => run(name, (case, true)),
                outcome => outcome,
            };
            report.add(name, outcome);
        }
    });
    report
}

impl Report {
    fn add(&mut self, name: &'static str, outcome: Outcome) {
        match outcome {
            Ok(()) => self.passed.push(name),
            Err(Stop::NotRun(why)) => self.not_run.push((name, why)),
            Err(Stop::Later) => self.not_run.push((name, "others were running".to_owned())),
            Err(Stop::Broken(message, _)) => self.failed.push((name, message)),
        }
    }
}
