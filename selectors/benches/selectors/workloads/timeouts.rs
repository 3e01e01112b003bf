//! Waits that only their timeout ends: how late they return, and what they cost.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use super::dispatch::look;
use crate::platform::contenders::{Contender, Want, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};
use crate::platform::sources::Counters;

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    Report::remark("Less than nothing is a wait that ends before its timeout has passed.");
    let source = Counters::new(1)?;
    for micros in [100, 1_000, 10_000] {
        let timeout = Duration::from_micros(micros);
        let point = Point {
            parameters: format!("after {timeout:?}"),
            unit: "ns late",
            pace: Pace::Fixed(3),
        };
        let mut rows = everyone!(row(&source, timeout));
        rows.extend(everyone!(row(&source, timeout) for BareEpollFine));
        report.measure(point, rows)?;
    }
    Ok(())
}

/// The processor time of such a wait.
pub(super) fn run_expired(report: &mut Report) -> io::Result<()> {
    let source = Counters::new(1)?;
    for micros in [100, 1_000] {
        let timeout = Duration::from_micros(micros);
        let point = Point {
            parameters: format!("processor time of a wait that ends after {timeout:?}"),
            unit: "ns/wait",
            pace: Pace::Fixed(5),
        };
        let mut rows = everyone!(row_expired(&source, timeout));
        rows.extend(everyone!(row_expired(&source, timeout) for BareEpollFine));
        report.measure(point, rows)?;
    }
    Ok(())
}

fn row<'a, C: Contender<'a> + 'a>(source: &'a Counters, timeout: Duration) -> Row<'a> {
    Row::of::<C>(move |iterations| late::<C>(source, timeout, iterations))
}

fn row_expired<'a, C: Contender<'a> + 'a>(source: &'a Counters, timeout: Duration) -> Row<'a> {
    Row::of::<C>(move |iterations| expired::<C>(source, timeout, iterations))
}

fn idle<'a, C: Contender<'a>>(source: &'a Counters) -> io::Result<C> {
    let mut contender = C::new()?;
    for source in source.iter() {
        contender.register(source, Want::Read, 0)?;
    }
    Ok(contender)
}

fn expire<'a, C: Contender<'a>>(contender: &mut C, timeout: Duration) -> io::Result<()> {
    match look(contender, black_box(Some(timeout)), &mut 0)? {
        0 => Ok(()),
        _ => Err(wrong("an idle source was reported")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the waits are short")]
fn late<'a, C: Contender<'a>>(
    source: &'a Counters,
    timeout: Duration,
    iterations: u64,
) -> io::Result<Turn> {
    let mut contender = idle::<C>(source)?;
    let mut late = 0.0;
    for _ in 0..iterations {
        let start = Instant::now();
        expire(&mut contender, timeout)?;
        late += start.elapsed().as_nanos() as f64 - timeout.as_nanos() as f64;
    }
    Ok(Turn::counted(late, iterations))
}

fn expired<'a, C: Contender<'a>>(
    source: &'a Counters,
    timeout: Duration,
    iterations: u64,
) -> io::Result<Turn> {
    let mut contender = idle::<C>(source)?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(|_| expire(&mut contender, timeout))?;
    Ok(Turn::timed(start.elapsed()?, iterations))
}
