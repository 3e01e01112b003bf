//! Repeats one operation of a workload, for a tool that counts instructions: `.ci/instructions`.

use std::hint::black_box;
use std::io;
use std::time::Duration;

use super::contenders::{Contender, Mode, Wakes, Want, everyone, wrong};
use super::sources::{Counters, Silent};
use super::workloads::changes::{CHANGING, Change};
use super::workloads::dispatch::look;
use super::workloads::start_up::start_often;
use super::workloads::wake::wake_often;

/// An operation of a contender, and its name.
type Job<'a> = (&'static str, Box<dyn FnOnce() -> io::Result<()> + 'a>);

/// Repeats `operation` of the contender with this name in the tables.
///
/// Set-up and tear-down take the same instructions, however often it is repeated.
pub(crate) fn run(contender: &str, operation: &str, times: u64) -> io::Result<()> {
    let (counters, silent) = (Counters::new(200)?, Silent::new(CHANGING)?);
    let jobs = if operation == "wake" {
        everyone!(waking(times) for
            BareEpoll, OursEpoll, OursPoll, OursSelect, OursAny, Mio, PollingLevel, Popol)
    } else {
        let mut jobs = everyone!(job(&counters, &silent, operation, times));
        jobs.extend(everyone!(job(&counters, &silent, operation, times) for OursDeferred));
        jobs
    };
    match jobs.into_iter().find(|(name, _)| *name == contender) {
        Some((_, job)) => job(),
        None => Err(wrong(&format!("{contender} cannot do {operation}"))),
    }
}

fn waking<C: Wakes<'static>>(times: u64) -> Job<'static> {
    let job = move || {
        let mut contender = C::new()?;
        let waker = contender.waker()?;
        C::wake(&waker)?;
        wake_often::<C>(&waker, times)
    };
    (C::NAME, Box::new(job))
}

fn job<'a, C: Contender<'a> + 'a>(
    counters: &'a Counters,
    silent: &'a Silent,
    operation: &'a str,
    times: u64,
) -> Job<'a> {
    let job = move || match operation.strip_prefix("ready-") {
        Some(ready) => wait::<C>(counters, ready.parse().map_err(io::Error::other)?, times),
        None if operation == "start-up" => start_up::<C>(counters, times),
        None => change::<C>(silent, operation, times),
    };
    (C::NAME, Box::new(job))
}

/// Waits with this many of all sources ready, and looks each of them up.
fn wait<'a, C: Contender<'a>>(counters: &'a Counters, ready: usize, times: u64) -> io::Result<()> {
    const WARM_UP: u64 = 10;
    let mut contender = C::new()?;
    for (source, data) in counters.iter().zip(0..) {
        contender.register(source, Want::Read, data)?;
    }
    counters.make_ready(ready)?;
    let (timeout, mut sum) = (black_box(Some(Duration::ZERO)), 0);
    for _ in 0..WARM_UP + times {
        if C::MODE == Mode::Edge {
            counters.make_ready(ready)?;
        }
        look(&mut contender, timeout, &mut sum)?;
    }
    black_box(sum);
    Ok(())
}

/// Creates a contender that many times, and waits for one source with it.
fn start_up<'a, C: Contender<'a>>(counters: &'a Counters, times: u64) -> io::Result<()> {
    counters.make_ready(1)?;
    let source = counters.iter().next().ok_or_else(|| wrong("there is no source"))?;
    start_often::<C>(source, 2 + times)
}

/// Changes [`CHANGING`] sources that many times.
fn change<'a, C: Contender<'a>>(silent: &'a Silent, change: &str, times: u64) -> io::Result<()> {
    let change = match change {
        "modify" => Change::Modify,
        "modify-to-same" => Change::ModifyToSame,
        "register-unregister" => Change::RegisterUnregister,
        other => return Err(wrong(&format!("there is no operation {other}"))),
    };
    let mut contender = C::new()?;
    let keys = change.prepare(&mut contender, silent)?;
    (0..2 + times).try_for_each(|nth| change.make(&mut contender, silent, &keys, nth))
}
