//! Random programs, run over a backend and beside a small model of what a selector is to report.
//!
//! Each program is made from a number, its seed. A program that fails is made shorter for as long
//! as it goes on failing, and printed step by step with its seed.
//!
//! The suite runs a few. For more, from another seed, or without an end (until one fails):
//!
//! ```text
//! SELECTORS_RANDOM_SEED=7 SELECTORS_RANDOM_PROGRAMS=100000 cargo test random
//! SELECTORS_RANDOM_PROGRAMS=endless cargo test --release epoll::mode_5_random
//! ```

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use selectors::Backend;

use super::{Case, Outcome, Stop};
use crate::fixtures::report_of_forked_child;

pub(super) mod files;
pub(super) mod numbers;
mod processes;
mod waits;
mod world;

use numbers::Numbers;
use world::{Terms, World};

/// How many programs the suite runs of each kind, and of those that take a process of their own.
const PROGRAMS: u64 = 24;
const PROCESSES: u64 = 4;

/// How many steps a program has.
const STEPS: usize = 80;

/// How often a failing program is run to find a shorter one, within the patience of a case: a
/// program that fails because something does not come takes its time.
const ATTEMPTS: usize = 300;

/// One step: what to do, and with what, each as a number that is taken modulo what there is. So
/// every list of steps is a program, also one that others were left out of.
type Step = [u8; 4];

fn program(seed: u64) -> Vec<Step> {
    let mut numbers = Numbers::new(seed);
    (0..STEPS).map(|_| std::array::from_fn(|_| numbers.byte())).collect()
}

/// What a program came to: what went wrong, what was done until then, and in how many steps.
struct Failure {
    why: String,
    log: Vec<String>,
    steps: usize,
}

/// Ends a line of a failure that comes from another process, where lines can be of several lines.
const END: char = '\u{1e}';

impl Failure {
    fn alone(stop: Stop) -> Self {
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
            // It ended otherwise.
            unknown => {
                let why = unknown.map_or_else(String::new, |(_, why)| why);
                Self { why: format!("  {why}"), log: Vec::new(), steps: usize::MAX }
            }
        }
    }
}

/// Runs a program, in a process of its own if it changes what is the process's.
fn run<B: Backend>(case: &Case<'_, B>, steps: &[Step], terms: Terms) -> Result<(), Failure> {
    if !terms.fork && !terms.limit {
        return run_here(case, steps, terms);
    }
    // What the child does is not heard of here.
    let report = case.progress.while_child_works(|| {
        report_of_forked_child(|| run_here(case, steps, terms).map_err(|failure| failure.to_text()))
    });
    match report {
        Ok(report) => report.map_err(|text| Failure::from_text(&text)),
        Err(error) => Err(Failure::alone(error.into())),
    }
}

fn run_here<B: Backend>(case: &Case<'_, B>, steps: &[Step], terms: Terms) -> Result<(), Failure> {
    let mut world = match World::new(case, terms) {
        Ok(world) => world,
        Err(stop) => return Err(Failure::alone(stop)),
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
        Err(_) => Stop::panicked("a panic"),
    };
    Err(Failure { why: stop.into_text(), log: world.into_log(), steps: taken })
}

/// Leaves out what need not be there for the failure: what comes after it, and then ever smaller
/// pieces.
fn shrink<B: Backend>(
    case: &Case<'_, B>,
    mut steps: Vec<Step>,
    mut failure: Failure,
    terms: Terms,
) -> Failure {
    let start = Instant::now();
    steps.truncate(failure.steps);
    let (mut size, mut attempts) = (steps.len() / 2, 0);
    while size > 0 && attempts < ATTEMPTS && start.elapsed() < case.patience {
        let mut at = 0;
        while at < steps.len() && attempts < ATTEMPTS && start.elapsed() < case.patience {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            attempts += 1;
            match run(case, &fewer, terms) {
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

fn check<B: Backend>(case: &Case<'_, B>, terms: Terms) -> Outcome {
    if cfg!(windows) {
        return Err(case.cannot_run("this system has no choice of a socket's number"));
    }
    // What the system lacks shows here.
    World::new(case, terms)?.end()?;
    let first: u64 =
        setting("SELECTORS_RANDOM_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let programs = match setting("SELECTORS_RANDOM_PROGRAMS") {
        Some(number) => number.parse().unwrap_or(u64::MAX),
        None if terms.fork || terms.limit => PROCESSES,
        None => PROGRAMS,
    };
    for seed in first..first.saturating_add(programs) {
        let steps = program(seed);
        let Err(failure) = run(case, &steps, terms) else { continue };
        let Failure { why, log, .. } = shrink(case, steps, failure, terms);
        case.did(format!("ran random program {seed} (SELECTORS_RANDOM_SEED={seed}), shortened:"));
        for line in log {
            case.did(line);
        }
        let cause = "see the last steps: what they did is the shortest way to the failure that was \
                     found";
        return Err(Stop::Broken(why, Some(cause)));
    }
    Ok(())
}

pub(super) fn ready_1_random_programs<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    check(case, Terms::default())
}

pub(super) fn mode_5_random_programs_of_all_modes<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    check(case, Terms { modes: true, ..Terms::default() })
}

pub(super) fn close_5_random_programs_that_close<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    check(case, Terms { modes: true, close: true, ..Terms::default() })
}

pub(super) fn proc_4_random_programs_that_fork<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    check(case, Terms { modes: true, close: true, fork: true, limit: false })
}

pub(super) fn wait_12_random_programs_without_descriptors<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    check(case, Terms { modes: true, limit: true, ..Terms::default() })
}

/// An answer of the world around a selector: a peer may be gone, full or empty.
fn quietly<V>(answer: io::Result<V>) {
    drop(answer);
}
