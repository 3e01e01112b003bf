//! Start-up and tear-down: creating a contender, registering a source, waiting, dropping.

use std::hint::black_box;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::dispatch::look;
use crate::platform::contenders::{Contender, Want, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};
use crate::platform::sources::Counters;

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    let source = Counters::new(1)?;
    source.make_ready(1)?;
    let point =
        Point { parameters: "new, register, wait, drop".to_owned(), unit: "ns", pace: Pace::Timed };
    report.measure(point, everyone!(row(&source)))
}

fn row<'a, C: Contender<'a> + 'a>(source: &'a Counters) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(source, iterations))
}

fn turn<'a, C: Contender<'a>>(source: &'a Counters, iterations: u64) -> io::Result<Turn> {
    let source = source.iter().next().ok_or_else(|| wrong("there is no source"))?;
    let start = Worked::start()?;
    start_often::<C>(source, iterations)?;
    Ok(Turn::timed(start.elapsed()?, iterations))
}

/// Creates a contender that many times, and waits for a ready source with it.
pub(crate) fn start_often<'a, C: Contender<'a>>(
    source: BorrowedFd<'a>,
    times: u64,
) -> io::Result<()> {
    let (timeout, mut sum) = (black_box(Some(Duration::ZERO)), 0);
    for _ in 0..times {
        let mut contender = C::new()?;
        contender.register(source, Want::Read, 0)?;
        if look(&mut contender, timeout, &mut sum)? != 1 {
            return Err(wrong("the source was not reported"));
        }
    }
    black_box(sum);
    Ok(())
}
