//! Changes by one thread while another waits, the time until an added source is reported, and waits.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::platform::contenders::{File, Shares, everyone, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};
use crate::platform::sources::Silent;

/// How many sources are added, modified and deleted together.
const CHANGING: usize = 100;

/// The time after which a waiting thread is assumed to sleep.
const UNTIL_ASLEEP: Duration = Duration::from_micros(30);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Add,
    Modify,
    Delete,
    /// From the call that adds a ready source until the waiting thread has received its event.
    AddToEvent,
    /// Without a source, and without blocking.
    Wait,
    /// With one source that is armed and ready.
    ArmAndWait,
}

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    for (what, name, unit) in [
        (What::Add, "add while another thread waits", "ns/add"),
        (What::Modify, "modify while another thread waits", "ns/modify"),
        (What::Delete, "delete while another thread waits", "ns/delete"),
        (What::AddToEvent, "add of a ready source until its event", "ns/source"),
        (What::Wait, "wait without blocking, nothing ready", "ns/wait"),
        (What::ArmAndWait, "arm a ready source and wait for it", "ns/round"),
    ] {
        let point = Point { parameters: name.to_owned(), unit, pace: Pace::Timed };
        let rows = everyone!(row(what) for OursShared, OursSharedPoll, PollingShared, MioShared);
        report.measure(point, rows)?;
    }
    Ok(())
}

fn row<C: Shares>(what: What) -> Row<'static> {
    let turn = move |iterations| match what {
        What::Add | What::Modify | What::Delete => changes::<C>(what, iterations),
        What::AddToEvent => add_to_event::<C>(iterations),
        What::Wait => wait::<C>(iterations),
        What::ArmAndWait => arm_and_wait::<C>(iterations),
    };
    Row { name: C::NAME, base: "polling", turn: Box::new(turn) }
}

/// A file that can be read.
fn ready() -> io::Result<File> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    Ok(Arc::new(EventFd::from_value_and_flags(1, flags)?.into()))
}

/// One wait, in a function that is not inlined, as in a program.
#[inline(never)]
fn wait_for<C: Shares>(waiter: &mut C, timeout: Option<Duration>) -> io::Result<usize> {
    waiter.wait(timeout)
}

/// Runs `work` beside a thread that waits until it is over, and counts the events in `seen`.
fn beside_a_waiter<C: Shares>(
    work: impl FnOnce(&C::Changer, &AtomicU64) -> io::Result<Duration>,
) -> io::Result<Duration> {
    let (mut waiter, changer) = C::new()?;
    let (seen, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let count = wait_for(&mut waiter, None)?;
                seen.fetch_add(count as u64, Ordering::Release);
            }
            io::Result::Ok(())
        });
        let worked = work(&changer, &seen);
        over.store(true, Ordering::Release);
        C::wake(&changer)?;
        match thread.join() {
            Ok(answer) => answer.and(worked),
            Err(_) => Err(wrong("the waiting thread panicked")),
        }
    })
}

fn changes<C: Shares>(what: What, iterations: u64) -> io::Result<Turn> {
    let silent = Silent::new(CHANGING)?;
    let files = silent.iter().map(|file| file.try_clone_to_owned().map(Arc::new));
    let files = files.collect::<io::Result<Vec<_>>>()?;
    let elapsed = beside_a_waiter::<C>(|changer, _| {
        let mut elapsed = Duration::ZERO;
        let mut time = |now: What, start: Instant| {
            if what == now {
                elapsed += start.elapsed();
            }
        };
        for _ in 0..iterations {
            let mut handles = Vec::with_capacity(CHANGING);
            let start = Instant::now();
            for file in &files {
                handles.push(C::add(changer, Arc::clone(file), false)?);
            }
            time(What::Add, start);
            if what == What::Modify {
                let start = Instant::now();
                for handle in &handles {
                    C::modify(changer, handle, true)?;
                }
                time(What::Modify, start);
            }
            let start = Instant::now();
            handles.into_iter().try_for_each(|handle| C::delete(changer, handle))?;
            time(What::Delete, start);
        }
        Ok(elapsed)
    })?;
    Ok(Turn::timed(elapsed, iterations * CHANGING as u64))
}

fn add_to_event<C: Shares>(iterations: u64) -> io::Result<Turn> {
    let file = ready()?;
    let elapsed = beside_a_waiter::<C>(|changer, seen| {
        let mut elapsed = Duration::ZERO;
        for nth in 0..iterations {
            // Otherwise the contender that takes longest to wait again would be found awake.
            let idle = Instant::now();
            while idle.elapsed() < UNTIL_ASLEEP {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            let handle = C::add(changer, Arc::clone(&file), false)?;
            while seen.load(Ordering::Acquire) <= nth {
                std::hint::spin_loop();
            }
            elapsed += start.elapsed();
            C::delete(changer, handle)?;
        }
        Ok(elapsed)
    })?;
    Ok(Turn::timed(elapsed, iterations))
}

fn wait<C: Shares>(iterations: u64) -> io::Result<Turn> {
    let (mut waiter, _changer) = C::new()?;
    let timeout = black_box(Some(Duration::ZERO));
    let mut round = |_| wait_for(&mut waiter, timeout).map(drop);
    (0..3).try_for_each(&mut round)?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(&mut round)?;
    Ok(Turn::timed(start.elapsed()?, iterations))
}

fn arm_and_wait<C: Shares>(iterations: u64) -> io::Result<Turn> {
    let (mut waiter, changer) = C::new()?;
    let handle = C::add(&changer, ready()?, false)?;
    wait_for(&mut waiter, None)?;
    let mut round = |_| {
        C::modify(&changer, &handle, false)?;
        match wait_for(&mut waiter, None)? {
            1 => Ok(()),
            _ => Err(wrong("the wait ended without a wake")),
        }
    };
    (0..3).try_for_each(&mut round)?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(&mut round)?;
    let elapsed = start.elapsed()?;
    C::delete(&changer, handle)?;
    Ok(Turn::timed(elapsed, iterations))
}
