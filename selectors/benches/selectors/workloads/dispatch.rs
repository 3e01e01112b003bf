//! A wait with some of many sources ready, and a look-up of the file object and the data of each.
//! Nothing is drained, so ready sources stay ready.

use std::hint::black_box;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::platform::contenders::{Contender, Mode, Want, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};
use crate::platform::sources::Counters;

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    Report::remark(
        "Who is edge-triggered has its sources written to before each wait, beside the clock. A \
         wait takes longer after that, so it is compared with epoll that is used alike.",
    );
    for registered in report.scale(&[1, 10, 100, 1_000, 10_000, 18_000]) {
        // Registering many takes long.
        let mut ready = match registered {
            18_000 => vec![0, 1],
            10_000 => vec![1, registered],
            _ => vec![0, 1, 100, registered],
        };
        ready.retain(|&ready| ready <= registered);
        ready.dedup();
        for ready in ready {
            let point = Point {
                parameters: format!("{registered} registered, {ready} ready"),
                unit: if ready == 0 { "ns/wait" } else { "ns/event" },
                pace: Pace::Timed,
            };
            measure(report, point, registered, ready, Duration::ZERO)?;
        }
    }
    Ok(())
}

/// The same with a timeout that never expires.
pub(super) fn run_timed(report: &mut Report) -> io::Result<()> {
    for micros in [1_000_000, 10_000, 1_500, 100] {
        let timeout = Duration::from_micros(micros);
        let point = Point {
            parameters: format!("100 registered, 1 ready, at most {timeout:?}"),
            unit: "ns/wait",
            pace: Pace::Timed,
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
    let mut rows = if registered <= 10_000 {
        everyone!(row(&sources, ready, timeout))
    } else {
        // Registering that many takes long, so only contenders whose waits do not.
        everyone!(row(&sources, ready, timeout) for BareEpoll, OursEpoll, PollingLevel,
            BareEpollEdge, OursEdge, Mio)
    };
    if timeout.is_zero() && registered == 1_000 {
        rows.extend(everyone!(row(&sources, ready, timeout) for OursDeferred, OursAllocating));
    }
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
    Row::of::<C>(move |iterations| turn::<C>(sources, ready, timeout, iterations))
}

/// One wait, in a function that is not inlined, as in a program, and a look-up of the file object and
/// the data of each ready source.
#[inline(never)]
pub(crate) fn look<'a, C: Contender<'a>>(
    contender: &mut C,
    timeout: Option<Duration>,
    sum: &mut u64,
) -> io::Result<usize> {
    contender.wait(timeout, |fd, data| *sum ^= *data ^ u64::from(fd.as_raw_fd().unsigned_abs()))
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
    let (timeout, mut sum) = (black_box(Some(timeout)), 0);
    // The first wait reports the edges of registering, and some grow their capacity.
    let (mut last, mut count) = (usize::MAX, 0);
    while count != last {
        if ready > 0 && C::MODE == Mode::Edge {
            sources.make_ready(ready)?;
        }
        (last, count) = (count, look(&mut contender, timeout, &mut sum)?);
    }
    let mut seen = 0;
    let mut elapsed = Duration::ZERO;
    if C::MODE == Mode::Edge && ready > 0 {
        let own_cost = Worked::own_cost()?;
        for _ in 0..iterations {
            sources.make_ready(ready)?;
            let start = Worked::start()?;
            seen += look(&mut contender, timeout, &mut sum)?;
            elapsed += start.elapsed()?.saturating_sub(own_cost);
        }
    } else {
        let start = Worked::start()?;
        for _ in 0..iterations {
            seen += look(&mut contender, timeout, &mut sum)?;
        }
        elapsed += start.elapsed()?;
    }
    black_box(sum);
    let seen = u64::try_from(seen).unwrap_or(u64::MAX);
    // With a fixed event capacity, more events take several waits.
    let complete = seen == iterations * ready as u64 || (ready > 1_000 && seen > 0);
    if !complete {
        return Err(wrong(&format!("{seen} events in {iterations} waits with {ready} ready")));
    }
    Ok(Turn::timed(elapsed, if ready == 0 { iterations } else { seen }))
}
