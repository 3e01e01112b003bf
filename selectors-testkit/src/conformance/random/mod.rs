//! Random programs, whose results are compared with a small model of a selector.
//!
//! A program is generated from a seed. If it fails, it is shortened as long as it still fails, and
//! printed step by step with its seed.
//!
//! The suite runs a few. To run more, from another seed, or until one fails:
//!
//! ```text
//! SELECTORS_RANDOM_SEED=7 SELECTORS_RANDOM_PROGRAMS=100000 cargo test random
//! SELECTORS_RANDOM_PROGRAMS=endless cargo test --release epoll::mode_5_random
//! ```

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use selectors::Backend;

use super::{Case, Cause, Outcome, Stop};
use crate::fixtures::{panic_text, report_of_forked_child};

pub(super) mod files;
pub(super) mod numbers;
mod processes;
mod waits;
mod world;

use numbers::Numbers;
use world::{Options, World};

/// How many programs the suite runs of each kind, and of those that run in a process of their own.
const PROGRAMS: u64 = 24;
const PROCESSES: u64 = 4;

/// The number of steps of a program.
const STEPS: usize = 80;

/// How often a failing program is run to find a shorter one, within the patience of a case: a program
/// that fails because an event does not arrive takes long.
const ATTEMPTS: usize = 300;

/// One step: an operation and its arguments. Each number is taken modulo the number of choices, so any
/// list of steps is a program, including one from which steps were removed.
type Step = [u8; 4];

fn program(seed: u64) -> Vec<Step> {
    let mut numbers = Numbers::new(seed);
    (0..STEPS).map(|_| std::array::from_fn(|_| numbers.byte())).collect()
}

/// A program that failed.
struct Failure {
    /// What was expected and seen.
    why: String,
    /// What the program did until then.
    log: Vec<String>,
    /// The number of steps that it took.
    steps: usize,
}

/// Ends an entry of a failure that comes from another process. An entry may have several lines.
const END: char = '\u{1e}';

impl Failure {
    fn without_log(stop: Stop) -> Self {
        Self { why: stop.into_text(), log: Vec::new(), steps: 0 }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{}{END}{}{END}", self.steps, self.why);
        for line in &self.log {
            text.push_str(line);
            text.push(END);
        }
        text
    }

    fn from_text(text: &str) -> Self {
        let mut lines = text.split_terminator(END).map(str::to_owned);
        match lines.next().map(|steps| (steps.parse(), steps)) {
            Some((Ok(steps), _)) => {
                Self { steps, why: lines.next().unwrap_or_default(), log: lines.collect() }
            }
            // The process ended in another way.
            unknown => {
                let why = unknown.map_or_else(String::new, |(_, why)| why);
                Self { why: Stop::of_child(&why).into_text(), log: Vec::new(), steps: usize::MAX }
            }
        }
    }
}

/// Runs a program, in a process of its own if it changes the state of the process.
fn run<B: Backend>(case: &Case<'_, B>, steps: &[Step], options: Options) -> Result<(), Failure> {
    if !options.fork && !options.limit {
        return run_here(case, steps, options);
    }
    // The steps of the child do not count as progress here.
    let report = case.progress.while_child_works(|| {
        report_of_forked_child(|| {
            run_here(case, steps, options).map_err(|failure| failure.to_text())
        })
    });
    match report {
        Ok(report) => report.map_err(|text| Failure::from_text(&text)),
        Err(error) => Err(Failure::without_log(error.into())),
    }
}

fn run_here<B: Backend>(
    case: &Case<'_, B>,
    steps: &[Step],
    options: Options,
) -> Result<(), Failure> {
    let mut world = match World::new(case, options) {
        Ok(world) => world,
        Err(stop) => return Err(Failure::without_log(stop)),
    };
    let mut taken = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for &step in steps {
            taken += 1;
            world.step(step)?;
        }
        world.end()
    }));
    let stop = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(stop)) => stop,
        Err(panic) => Stop::panicked(panic_text(&*panic)),
    };
    Err(Failure { why: stop.into_text(), log: world.into_log(), steps: taken })
}

/// Removes steps that the failure does not need: those after it, most of those before it if it does not
/// need them, and then ever smaller groups of others.
fn shrink<B: Backend>(
    case: &Case<'_, B>,
    mut steps: Vec<Step>,
    mut failure: Failure,
    options: Options,
) -> Failure {
    let start = Instant::now();
    steps.truncate(failure.steps);
    // Often the last step fails by itself. If it waits in vain, there is time for few attempts.
    for last in [1, 2, 4] {
        let end = steps[steps.len().saturating_sub(last)..].to_vec();
        if let Err(shorter) = run(case, &end, options) {
            (steps, failure) = (end, shorter);
            steps.truncate(failure.steps);
            break;
        }
    }
    let (mut size, mut attempts) = (steps.len() / 2, 0);
    while size > 0 && attempts < ATTEMPTS && start.elapsed() < case.patience {
        let mut at = 0;
        while at < steps.len() && attempts < ATTEMPTS && start.elapsed() < case.patience {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            attempts += 1;
            match run(case, &fewer, options) {
                Ok(()) => at += size,
                Err(shorter) => {
                    fewer.truncate(shorter.steps);
                    (steps, failure) = (fewer, shorter);
                }
            }
        }
        size /= 2;
    }
    failure
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn check<B: Backend>(case: &Case<'_, B>, options: Options) -> Outcome {
    if cfg!(windows) {
        return Err(
            case.cannot_run("this system does not let a program choose the number of a socket")
        );
    }
    // Fails here if the system lacks something.
    World::new(case, options)?.end()?;
    let first: u64 =
        setting("SELECTORS_RANDOM_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let programs = match setting("SELECTORS_RANDOM_PROGRAMS") {
        Some(number) => number.parse().unwrap_or(u64::MAX),
        None if options.fork || options.limit => PROCESSES,
        None => PROGRAMS,
    };
    for seed in first..first.saturating_add(programs) {
        let steps = program(seed);
        let Err(failure) = run(case, &steps, options) else { continue };
        let Failure { why, log, .. } = shrink(case, steps, failure, options);
        case.did(format!("ran random program {seed} (SELECTORS_RANDOM_SEED={seed}), shortened:"));
        for line in log {
            case.did(line);
        }
        let cause = "see the steps: this is the shortest failing program that was found";
        return Err(Stop::Broken(why, Some(Cause::Known(cause))));
    }
    Ok(())
}

pub(super) fn ready_1_random_programs<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    check(case, Options::default())
}

pub(super) fn mode_5_random_programs_of_all_modes<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    check(case, Options { modes: true, ..Options::default() })
}

pub(super) fn close_5_random_programs_that_close<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    check(case, Options { modes: true, close: true, ..Options::default() })
}

pub(super) fn proc_4_random_programs_that_fork<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    check(case, Options { modes: true, close: true, fork: true, limit: false })
}

pub(super) fn wait_12_random_programs_without_descriptors<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    check(case, Options { modes: true, limit: true, ..Options::default() })
}

/// Ignores whether an operation on a file has failed: its peer may be gone, or its buffer full or empty.
fn ignore<V>(result: io::Result<V>) {
    drop(result);
}
