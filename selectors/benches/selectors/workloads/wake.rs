//! Waking a thread that waits, one that does not, and one that was already woken.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use crate::platform::contenders::{Wakes, everyone, wrong};
use crate::platform::cores::stay_on;
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};

/// When a thread is woken.
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

/// Wakes that many times.
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

/// Pins each of the two threads to its own core, if there are two.
fn blocked<C: Wakes<'static>>(iterations: u64) -> io::Result<Turn> {
    const WARM_UP: u64 = 10;
    let (to_other, from_one) = channel();
    let (to_one, from_other) = channel();
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            stay_on(1)?;
            let (mut contender, waker) = meet::<C>(&to_one, &from_one)?;
            (0..iterations + WARM_UP).try_for_each(|_| {
                contender.sleep()?;
                C::wake(&waker)
            })
        });
        let one = scope.spawn(move || {
            stay_on(0)?;
            let (mut contender, waker) = meet::<C>(&to_other, &from_other)?;
            let mut round = |_| {
                C::wake(&waker)?;
                contender.sleep()
            };
            (0..WARM_UP).try_for_each(&mut round)?;
            let start = Instant::now();
            (0..iterations).try_for_each(&mut round)?;
            io::Result::Ok(start.elapsed())
        });
        let panicked = |_| wrong("a thread panicked");
        let elapsed = one.join().map_err(panicked)??;
        other.join().map_err(panicked)??;
        Ok(Turn::timed(elapsed, iterations))
    })
}

/// Exchanges wakers with the other thread. Returns a contender and the other thread's waker.
fn meet<C: Wakes<'static>>(
    sender: &Sender<C::Waker>,
    receiver: &Receiver<C::Waker>,
) -> io::Result<(C, C::Waker)> {
    let mut contender = C::new()?;
    sender.send(contender.waker()?).map_err(|_| wrong("the other thread has ended"))?;
    let other = receiver.recv().map_err(|_| wrong("there is no other waker"))?;
    Ok((contender, other))
}
