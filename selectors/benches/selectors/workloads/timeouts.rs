//! How long after its timeout a wait returns, with nothing ready.

use std::io;
use std::time::{Duration, Instant};

use crate::platform::contenders::{Contender, Want, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn};
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

fn row<'a, C: Contender<'a> + 'a>(source: &'a Counters, timeout: Duration) -> Row<'a> {
    Row {
        name: C::NAME,
        base: C::BASE,
        turn: Box::new(move |iterations| turn::<C>(source, timeout, iterations)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the waits are short")]
fn turn<'a, C: Contender<'a>>(
    source: &'a Counters,
    timeout: Duration,
    iterations: u64,
) -> io::Result<Turn> {
    let mut contender = C::new()?;
    for source in source.iter() {
        contender.register(source, Want::Read, 0)?;
    }
    let mut late = 0.0;
    for _ in 0..iterations {
        let start = Instant::now();
        if contender.wait(Some(timeout), |_, data| *data += 1)? != 0 {
            return Err(wrong("an idle source was reported"));
        }
        late += start.elapsed().as_nanos() as f64 - timeout.as_nanos() as f64;
    }
    Ok(Turn::counted(late, iterations))
}
