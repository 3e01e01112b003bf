//! Waiting with some of many sources ready, and looking the file object and the data of each of
//! them up. Nothing is drained: what is ready stays ready.

use std::hint::black_box;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::platform::contenders::{BareEpollEdge, Contender, Want, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};
use crate::platform::sources::Counters;

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    Report::remark(
        "Who is edge-triggered has its sources written to before each wait, beside the clock. A \
         wait takes longer after that, so mio is compared with epoll that is used alike.",
    );
    for registered in report.scale(&[1, 10, 100, 1_000, 10_000]) {
        let mut ready = vec![0, 1, 10, 100, registered];
        ready.retain(|&ready| ready <= registered);
        ready.dedup();
        for ready in ready {
            let point = Point {
                parameters: format!("{registered} registered, {ready} ready"),
                unit: if ready == 0 { "ns/wait" } else { "ns/event" },
                pace: Pace::Timed,
                sources: Some((registered, ready)),
            };
            measure(report, point, registered, ready, Duration::ZERO)?;
        }
    }
    Ok(())
}

/// The same with a timeout, which nobody has to wait for.
pub(super) fn run_timed(report: &mut Report) -> io::Result<()> {
    for timeout in [Duration::from_secs(1), Duration::from_micros(1_500)] {
        let point = Point {
            parameters: format!("100 registered, 1 ready, at most {timeout:?}"),
            unit: "ns/wait",
            pace: Pace::Timed,
            sources: None,
        };
        measure(report, point, 100, 1, timeout)?;
    }
    Ok(())
}

fn measure(
    report: &mut Report,
    point: Point,
    registered: usize,
    ready: usize,
    timeout: Duration,
) -> io::Result<()> {
    if !report.affords(&point, registered) {
        return Ok(());
    }
    let sources = Counters::new(registered)?;
    sources.make_ready(ready)?;
    let mut rows = everyone!(row(&sources, ready, timeout));
    rows.extend(everyone!(row(&sources, ready, timeout) for OursDeferred, OursAllocating,
        BareEpollEdge));
    if !timeout.is_zero() {
        rows.extend(everyone!(row(&sources, ready, timeout) for BareEpollFine));
    }
    report.measure(point, rows)
}

fn row<'a, C: Contender<'a> + 'a>(
    sources: &'a Counters,
    ready: usize,
    timeout: Duration,
) -> Row<'a> {
    Row {
        name: C::NAME,
        base: if C::EDGE { BareEpollEdge::NAME } else { C::BASE },
        turn: Box::new(move |iterations| turn::<C>(sources, ready, timeout, iterations)),
    }
}

fn turn<'a, C: Contender<'a>>(
    sources: &'a Counters,
    ready: usize,
    timeout: Duration,
    iterations: u64,
) -> io::Result<Turn> {
    let mut contender = C::new()?;
    for (source, data) in sources.iter().zip(0..) {
        contender.register(source, Want::Read, data)?;
    }
    let timeout = Some(timeout);
    let mut sum = 0;
    let mut look = |fd: BorrowedFd<'_>, data: &mut u64| {
        sum ^= *data ^ u64::from(fd.as_raw_fd().unsigned_abs());
    };
    // The first events that registering made, and the room for them, which some double.
    let (mut last, mut count) = (usize::MAX, 0);
    while count != last {
        if ready > 0 && C::EDGE {
            sources.make_ready(ready)?;
        }
        (last, count) = (count, contender.wait(timeout, &mut look)?);
    }
    let mut seen = 0;
    let mut elapsed = Duration::ZERO;
    if C::EDGE && ready > 0 {
        let own_cost = Worked::own_cost()?;
        for _ in 0..iterations {
            sources.make_ready(ready)?;
            let start = Worked::start()?;
            seen += contender.wait(timeout, &mut look)?;
            elapsed += start.elapsed()?.saturating_sub(own_cost);
        }
    } else {
        let start = Worked::start()?;
        for _ in 0..iterations {
            seen += contender.wait(timeout, &mut look)?;
        }
        elapsed += start.elapsed()?;
    }
    black_box(sum);
    let seen = u64::try_from(seen).unwrap_or(u64::MAX);
    // Who returns no more than so many at once needs several waits for more.
    let complete = seen == iterations * ready as u64 || (ready > 1_000 && seen > 0);
    if !complete {
        return Err(wrong(&format!("{seen} events in {iterations} waits with {ready} ready")));
    }
    Ok(Turn::timed(elapsed, if ready == 0 { iterations } else { seen }))
}
