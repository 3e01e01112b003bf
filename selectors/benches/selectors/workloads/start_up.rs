//! From nothing to the first event, and back: making one, registering a source, waiting,
//! dropping.

use std::io;
use std::time::Duration;

use crate::platform::contenders::{Contender, Want, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};
use crate::platform::sources::Counters;

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    let source = Counters::new(1)?;
    source.make_ready(1)?;
    let point = Point {
        parameters: "new, register, wait, drop".to_owned(),
        unit: "ns",
        pace: Pace::Timed,
        sources: None,
    };
    report.measure(point, everyone!(row(&source)))
}

fn row<'a, C: Contender<'a> + 'a>(source: &'a Counters) -> Row<'a> {
    Row {
        name: C::NAME,
        base: C::BASE,
        turn: Box::new(move |iterations| turn::<C>(source, iterations)),
    }
}

fn turn<'a, C: Contender<'a>>(source: &'a Counters, iterations: u64) -> io::Result<Turn> {
    let start = Worked::start()?;
    for _ in 0..iterations {
        let mut contender = C::new()?;
        for source in source.iter() {
            contender.register(source, Want::Read, 0)?;
        }
        if contender.wait(Some(Duration::ZERO), |_, data| *data += 1)? != 1 {
            return Err(wrong("the source was not reported"));
        }
    }
    Ok(Turn::timed(start.elapsed()?, iterations))
}
