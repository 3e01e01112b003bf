//! Two threads that reply to each other, each with a selector, and pinned to a core: otherwise the
//! result would depend on where the system schedules them.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use crate::platform::contenders::{Contender, Want, everyone, wait, wrong};
use crate::platform::cores::{Load, stay_on};
use crate::platform::measure::{Pace, Row, Turn};
use crate::platform::report::{Point, Report};

/// Where the two threads run.
type Cores = [usize; 2];

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut rows = everyone!(row(&ours, &theirs, [0, 1]));
    rows.extend(everyone!(row(&ours, &theirs, [0, 1]) for OursSpinning));
    report.measure(point("a core each"), rows)?;
    for (name, cores, loaded) in [
        ("both on one core", [0, 0], false),
        ("a core each, and on each a busy loop of nice 10", [0, 1], true),
    ] {
        let load = if loaded { Some(Load::start()?) } else { None };
        let rows = everyone!(row(&ours, &theirs, cores) for BareEpoll, OursEpoll, OursSpinning,
            PollingLevel, BareEpollEdge, Mio);
        report.measure(point(name), rows)?;
        drop(load);
    }
    Ok(())
}

fn point(parameters: &str) -> Point {
    Point { parameters: parameters.to_owned(), unit: "ns/round trip", pace: Pace::Timed }
}

fn row<'a, C: Contender<'a> + 'a>(
    ours: &'a UnixStream,
    theirs: &'a UnixStream,
    cores: Cores,
) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(ours, theirs, cores, iterations))
}

fn turn<'a, C: Contender<'a>>(
    ours: &'a UnixStream,
    theirs: &'a UnixStream,
    [here, there]: Cores,
    iterations: u64,
) -> io::Result<Turn> {
    const WARM_UP: u64 = 10;
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            stay_on(there)?;
            let mut contender = C::new()?;
            contender.register(theirs.as_fd(), Want::Read, 0)?;
            for _ in 0..iterations + WARM_UP {
                receive(&mut contender, theirs)?;
                let mut theirs = theirs;
                theirs.write_all(b"o")?;
            }
            io::Result::Ok(())
        });
        let one = scope.spawn(move || {
            stay_on(here)?;
            let mut contender = C::new()?;
            contender.register(ours.as_fd(), Want::Read, 0)?;
            let mut round = || {
                let mut writer = ours;
                writer.write_all(b"i")?;
                receive(&mut contender, ours)
            };
            (0..WARM_UP).try_for_each(|_| round())?;
            let start = Instant::now();
            (0..iterations).try_for_each(|_| round())?;
            io::Result::Ok(start.elapsed())
        });
        let panicked = |_| wrong("a thread panicked");
        let elapsed = one.join().map_err(panicked)??;
        other.join().map_err(panicked)??;
        Ok(Turn::timed(elapsed, iterations))
    })
}

/// Waits for a message and reads it.
fn receive<'a, C: Contender<'a>>(contender: &mut C, mut stream: &UnixStream) -> io::Result<()> {
    let seen = wait(contender, None, |_, data| *data += 1)?;
    let count = stream.read(&mut [0; 16])?;
    if (seen, count) == (1, 1) { Ok(()) } else { Err(wrong(&format!("{seen} events"))) }
}
