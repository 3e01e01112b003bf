//! Waking from another thread: one that waits, one that does not, and one that is woken already.

use std::io;
use std::thread;
use std::time::Instant;

use crate::platform::contenders::{Wakes, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};

/// When a wake comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Pending,
    Before,
    Blocked,
}

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    for (moment, name, unit) in [
        (Moment::Pending, "a wake is pending", "ns/wake"),
        (Moment::Before, "before the wait", "ns/wake and wait"),
        (Moment::Blocked, "two threads wake each other", "ns/round trip"),
    ] {
        let point = Point { parameters: name.to_owned(), unit, pace: Pace::Timed };
        let rows = everyone!(row(moment) for
            BareEpoll, OursEpoll, OursPoll, OursSelect, OursAny, BareEpollEdge,
            Mio, PollingLevel, Popol);
        report.measure(point, rows)?;
    }
    Ok(())
}

fn row<C: Wakes<'static>>(moment: Moment) -> Row<'static> {
    let turn = match moment {
        Moment::Pending => pending::<C>,
        Moment::Before => before::<C>,
        Moment::Blocked => blocked::<C>,
    };
    Row::of::<C>(turn)
}

/// Wakes so many times.
#[inline(never)]
pub(crate) fn wake_often<C: Wakes<'static>>(waker: &C::Waker, times: u64) -> io::Result<()> {
    (0..times).try_for_each(|_| C::wake(waker))
}

fn pending<C: Wakes<'static>>(iterations: u64) -> io::Result<Turn> {
    let mut contender = C::new()?;
    let waker = contender.waker()?;
    C::wake(&waker)?;
    let start = Worked::start()?;
    wake_often::<C>(&waker, iterations)?;
    let elapsed = start.elapsed()?;
    contender.sleep()?;
    Ok(Turn::timed(elapsed, iterations))
}

fn before<C: Wakes<'static>>(iterations: u64) -> io::Result<Turn> {
    let mut contender = C::new()?;
    let waker = contender.waker()?;
    let mut round = |_| {
        C::wake(&waker)?;
        contender.sleep()
    };
    (0..3).try_for_each(&mut round)?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(&mut round)?;
    Ok(Turn::timed(start.elapsed()?, iterations))
}

fn blocked<C: Wakes<'static>>(iterations: u64) -> io::Result<Turn> {
    const WARM_UP: u64 = 10;
    let (send, receive) = std::sync::mpsc::channel();
    let mut ours = C::new()?;
    let waker = ours.waker()?;
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            let mut theirs = C::new()?;
            send.send(theirs.waker()?).map_err(|_| wrong("nobody is there to wake"))?;
            (0..iterations + WARM_UP).try_for_each(|_| {
                theirs.sleep()?;
                C::wake(&waker)
            })?;
            io::Result::Ok(())
        });
        let waker = receive.recv().map_err(|_| wrong("there is no other waker"))?;
        let mut round = |_| {
            C::wake(&waker)?;
            ours.sleep()
        };
        (0..WARM_UP).try_for_each(&mut round)?;
        let start = Instant::now();
        (0..iterations).try_for_each(&mut round)?;
        let elapsed = start.elapsed();
        match other.join() {
            Ok(answer) => answer?,
            Err(_) => return Err(wrong("the other thread panicked")),
        }
        Ok(Turn::timed(elapsed, iterations))
    })
}
