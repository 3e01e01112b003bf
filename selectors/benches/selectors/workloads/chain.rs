//! libevent's benchmark: data read from one pair is written to the next, until there were a given
//! number of writes.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::platform::contenders::{Contender, Want, everyone, wait, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    for pairs in report.scale(&[100, 1_000]) {
        for (active, writes) in [(1, 100), (100, 1_000)] {
            if active > pairs {
                continue;
            }
            let point = Point {
                parameters: format!("{pairs} pairs, {active} active, {writes} writes"),
                unit: "ns/write",
                pace: Pace::Timed,
            };
            if report.affords(&point, 2 * pairs) {
                let pairs = pairs_of(pairs)?;
                report.measure(point, everyone!(row(&pairs, active, writes)))?;
            }
        }
    }
    Ok(())
}

type Pair = (UnixStream, UnixStream);

fn pairs_of(count: usize) -> io::Result<Vec<Pair>> {
    let pair = |_| {
        let pair = UnixStream::pair()?;
        pair.0.set_nonblocking(true)?;
        Ok(pair)
    };
    (0..count).map(pair).collect()
}

fn row<'a, C: Contender<'a> + 'a>(pairs: &'a [Pair], active: usize, writes: usize) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(pairs, active, writes, iterations))
}

fn turn<'a, C: Contender<'a>>(
    pairs: &'a [Pair],
    active: usize,
    writes: usize,
    iterations: u64,
) -> io::Result<Turn> {
    let mut contender = C::new()?;
    for ((reader, _), data) in pairs.iter().zip(0..) {
        contender.register(reader.as_fd(), Want::Read, data)?;
    }
    let start = Worked::start()?;
    for _ in 0..iterations {
        chain(&mut contender, pairs, active, writes)?;
    }
    Ok(Turn::timed(start.elapsed()?, iterations * writes as u64))
}

/// One run: `active` initial writes, then more until there were `writes`.
fn chain<'a, C: Contender<'a>>(
    contender: &mut C,
    pairs: &[Pair],
    active: usize,
    writes: usize,
) -> io::Result<()> {
    for nth in 0..active {
        (&pairs[nth * pairs.len() / active].1).write_all(b"e")?;
    }
    let (mut written, mut read) = (active, 0);
    while read < writes {
        let mut failed = None;
        wait(contender, None, |_, &mut place| {
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            let mut step = || {
                // Read everything: an edge-triggered contender does not report the rest.
                let mut buffer = [0; 128];
                let count = (&pairs[place].0).read(&mut buffer)?;
                read += count;
                let more = count.min(writes - written);
                written += more;
                if more == 0 {
                    return Ok(());
                }
                (&pairs[(place + 1) % pairs.len()].1).write_all(&buffer[..more])
            };
            if let Err(error) = step() {
                failed = Some(error);
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    if read == writes { Ok(()) } else { Err(wrong(&format!("read {read} of {writes}"))) }
}
