//! Two threads that wake the loop of a third for each result.

use std::hint::black_box;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::platform::contenders::{Wakes, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn};
use crate::platform::report::{Point, Report};

const WORKERS: usize = 2;

/// The length of a job: some microseconds.
const STEPS: u64 = 10_000;

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    let point = Point {
        parameters: format!("{WORKERS} workers, a wake for each result"),
        unit: "ns/result",
        pace: Pace::Timed,
    };
    let rows = everyone!(row() for BareEpoll, OursEpoll, OursPoll, OursSelect, OursAny,
        BareEpollEdge, Mio, PollingLevel, Popol);
    report.measure(point, rows)
}

fn row<C: Wakes<'static> + 'static>() -> Row<'static> {
    Row::of::<C>(turn::<C>)
}

fn turn<C: Wakes<'static>>(jobs: u64) -> io::Result<Turn> {
    let mut contender = C::new()?;
    let waker = contender.waker()?;
    let (next, results) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let start = Instant::now();
        let work = || {
            loop {
                let job = next.fetch_add(1, Ordering::Relaxed);
                if job >= jobs {
                    return io::Result::Ok(());
                }
                let result = (0..STEPS).fold(job, |sum, step| black_box(sum ^ step));
                results.lock().map_err(|_| wrong("a worker panicked"))?.push(result);
                C::wake(&waker)?;
            }
        };
        let workers = [(); WORKERS].map(|()| scope.spawn(work));
        let (mut collected, mut batch) = (0, Vec::new());
        while collected < jobs {
            contender.sleep()?;
            // The list is reused for the next batch.
            batch.clear();
            let mut results = results.lock().map_err(|_| wrong("a worker panicked"))?;
            std::mem::swap(&mut *results, &mut batch);
            drop(results);
            collected += black_box(&batch).len() as u64;
        }
        let elapsed = start.elapsed();
        for worker in workers {
            worker.join().map_err(|_| wrong("a worker panicked"))??;
        }
        Ok(Turn::timed(elapsed, jobs))
    })
}
