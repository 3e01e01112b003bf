//! Two threads that answer each other, each with a selector and, where there are two, a core of its
//! own: else the measure would be of where the system happens to put them.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::platform::contenders::{Contender, Want, everyone, wait, wrong};
use crate::platform::measure::{Pace, Row, Turn};
use crate::platform::report::{Point, Report};

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    let point =
        Point { parameters: "two threads".to_owned(), unit: "ns/round trip", pace: Pace::Timed };
    let (ours, theirs) = UnixStream::pair()?;
    let mut rows = everyone!(row(&ours, &theirs));
    rows.extend(everyone!(row(&ours, &theirs) for OursSpinning));
    report.measure(point, rows)
}

fn row<'a, C: Contender<'a> + 'a>(ours: &'a UnixStream, theirs: &'a UnixStream) -> Row<'a> {
    Row {
        name: C::NAME,
        base: C::BASE,
        turn: Box::new(move |iterations| turn::<C>(ours, theirs, iterations)),
    }
}

fn turn<'a, C: Contender<'a>>(
    ours: &'a UnixStream,
    theirs: &'a UnixStream,
    iterations: u64,
) -> io::Result<Turn> {
    const WARM_UP: u64 = 10;
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            stay_on(1)?;
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
            stay_on(0)?;
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

/// Keeps this thread on one of the cores that it may use.
fn stay_on(nth: usize) -> io::Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core) == Ok(true));
    let Some(core) = cores.nth(nth) else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(this, &set)?)
}

/// Waits for a message and reads it.
fn receive<'a, C: Contender<'a>>(contender: &mut C, mut stream: &UnixStream) -> io::Result<()> {
    let seen = wait(contender, None, |_, data| *data += 1)?;
    let count = stream.read(&mut [0; 16])?;
    if (seen, count) == (1, 1) { Ok(()) } else { Err(wrong(&format!("{seen} events"))) }
}
