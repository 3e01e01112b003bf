//! Running all cases without a harness, and their results.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use selectors::Backend;

use super::watchdog::Watchdog;
use super::{Boxed, Outcome, PATIENCE, Run, SelectorDefect, Stop, all, attempt, boxed};

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
pub(super) fn run_all<'a>(
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
