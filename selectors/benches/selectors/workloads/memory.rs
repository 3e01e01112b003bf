//! The memory of the process for each registered source, beside file object and data. The kernel's
//! memory is not counted.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::platform::allocator;
use crate::platform::contenders::{Contender, Want, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn};
use crate::platform::report::{Point, Report};
use crate::platform::sources::Counters;

/// The file object and the data of a source.
const FILE_OBJECT_AND_DATA: usize = size_of::<BorrowedFd<'_>>() + size_of::<u64>();

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    Report::remark(&format!(
        "File object and data, {FILE_OBJECT_AND_DATA} bytes, are not counted; what a selector \
         without sources needs is not, either."
    ));
    for registered in report.scale(&[10_000]) {
        for (name, peak) in [("settled", false), ("at its peak", true)] {
            let point = Point {
                parameters: format!("{registered} registered, {name}"),
                unit: "bytes/source",
                pace: Pace::Fixed(1),
            };
            if report.affords(&point, registered) {
                let sources = Counters::new(registered)?;
                let mut rows = everyone!(row(&sources, peak));
                rows.extend(everyone!(row(&sources, peak) for OursDeferred));
                report.measure(point, rows)?;
            }
        }
    }
    Ok(())
}

fn row<'a, C: Contender<'a> + 'a>(sources: &'a Counters, peak: bool) -> Row<'a> {
    // The result is the same each time.
    let mut known = None;
    Row::of::<C>(move |_| match known {
        Some(turn) => Ok(turn),
        None => Ok(*known.insert(turn::<C>(sources, peak)?)),
    })
}

#[expect(clippy::cast_precision_loss, reason = "nobody needs that much")]
fn turn<'a, C: Contender<'a>>(sources: &'a Counters, peak: bool) -> io::Result<Turn> {
    let mut contender = C::new()?;
    let count = sources.iter().count();
    let (done, usage) = allocator::watch(|| {
        for (source, data) in sources.iter().zip(0..) {
            contender.register(source, Want::Read, data)?;
        }
        contender.wait(Some(Duration::ZERO), |_, data| *data += 1)
    });
    if done? != 0 {
        return Err(wrong("an idle source was reported"));
    }
    let bytes = if peak { usage.peak } else { usage.settled };
    let beside = bytes as f64 - (count * FILE_OBJECT_AND_DATA) as f64;
    Ok(Turn::counted(beside, count as u64))
}
