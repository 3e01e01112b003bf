//! The conformance suite: cases that test a backend against the [contract](mod@crate::contract).
//!
//! [`conformance_tests!`](crate::conformance_tests) defines a `#[test]` for each case. [`run`] runs all
//! cases without a harness and returns a [`Report`].
//!
//! A case that hangs fails by name, with its last step: as a test, its thread is abandoned and the other
//! tests continue; [`run`] ends the process, because the case runs on the calling thread. A case that
//! crashes the process is also named, and what it did last.

use std::fmt::Write;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
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
mod interruptions;
mod kinds;
mod leaks;
mod limits;
mod lists;
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
mod report;
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
use report::run_all;
pub use report::{Report, run, run_patiently};
#[doc(hidden)]
pub use report::{run_side_by_side, run_with};
pub use shared::{SHARED_CASES, check_shared, check_shared_patiently, run_shared};
#[doc(hidden)]
pub use subject::SelectorDefect;
pub(crate) use subject::Subject;
#[doc(hidden)]
pub use tally::{Tally, expect_all_run};
use watchdog::{limit, stuck};

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
