//! Writing to some sources, waiting, and reading what was written: a round of a loop.

use std::io;

use crate::platform::contenders::{Contender, Want, everyone, wait, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};
use crate::platform::sources::{Counters, drain};

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    for registered in report.scale(&[1, 10, 100, 1_000, 10_000]) {
        let mut some = vec![1, 100, registered];
        some.retain(|&ready| ready <= registered);
        some.dedup();
        for ready in some {
            let point = Point {
                parameters: format!("{registered} registered, {ready} written to"),
                unit: "ns/event",
                pace: Pace::Timed,
            };
            if report.affords(&point, registered) {
                let sources = Counters::new(registered)?;
                report.measure(point, everyone!(row(&sources, ready)))?;
            }
        }
    }
    Ok(())
}

fn row<'a, C: Contender<'a> + 'a>(sources: &'a Counters, ready: usize) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(sources, ready, iterations))
}

fn turn<'a, C: Contender<'a>>(
    sources: &'a Counters,
    ready: usize,
    iterations: u64,
) -> io::Result<Turn> {
    let mut contender = C::new()?;
    for (source, data) in sources.iter().zip(0..) {
        contender.register(source, Want::Read, data)?;
    }
    let mut round = || {
        sources.make_ready(ready)?;
        let mut drained = Ok(());
        let mut seen = 0;
        // The capacity of some is small at first.
        while seen < ready {
            seen += wait(&mut contender, None, |source, data| {
                *data += 1;
                if let Err(error) = drain(source) {
                    drained = Err(error);
                }
            })?;
        }
        drained?;
        if seen == ready { Ok(()) } else { Err(wrong(&format!("{seen} events of {ready}"))) }
    };
    (0..3).try_for_each(|_| round())?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(|_| round())?;
    Ok(Turn::timed(start.elapsed()?, iterations * ready as u64))
}
