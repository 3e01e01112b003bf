//! The contenders: bare system calls, selectors, and other libraries, each behind the same trait.

mod bare_epoll;
mod bare_poll;
mod bare_select;
mod mio;
mod ours;
mod polling;
mod popol;
mod shared;
mod sys;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::measure::{Row, Turn};

pub(crate) use bare_epoll::{BareEpoll, BareEpollEdge, BareEpollFine, BareEpollOneShot};
pub(crate) use bare_poll::BarePoll;
pub(crate) use bare_select::BareSelect;
pub(crate) use mio::Mio;
pub(crate) use ours::{
    OursAllocating, OursAny, OursDeferred, OursEdge, OursEpoll, OursOneShot, OursPoll, OursSelect,
    OursSpinning,
};
pub(crate) use polling::{PollingEdge, PollingLevel, PollingOneShot};
pub(crate) use popol::Popol;
pub(crate) use shared::{File, MioShared, OursShared, OursSharedPoll, PollingShared, Shares};
pub(crate) use sys::borrow;

/// The event capacity, for libraries that take one.
const ROOM: usize = 1024;

/// When a source that was reported is reported again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As long as it is ready.
    Level,
    /// After it was rearmed, which each wait does after each event.
    OneShot,
    /// Edge-triggered.
    Edge,
}

impl Mode {
    /// The contender with which one in this mode is compared.
    const fn base(self) -> &'static str {
        match self {
            Self::Level => "bare epoll",
            Self::OneShot => "bare epoll, one-shot",
            Self::Edge => "bare epoll, edge",
        }
    }
}

/// A [`Mode`] as a type.
pub(crate) trait Trigger {
    const MODE: Mode;
}

pub(crate) struct Level;
pub(crate) struct OneShot;
pub(crate) struct Edge;

impl Trigger for Level {
    const MODE: Mode = Mode::Level;
}
impl Trigger for OneShot {
    const MODE: Mode = Mode::OneShot;
}
impl Trigger for Edge {
    const MODE: Mode = Mode::Edge;
}

/// The interest of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Read,
    ReadWrite,
}

impl Want {
    fn writes(self) -> bool {
        self == Self::ReadWrite
    }
}

/// The entry of a slab, for libraries that store neither file object nor data.
struct Source<'a> {
    fd: BorrowedFd<'a>,
    want: Want,
    data: u64,
}

/// Waits for many sources, and stores the file object and the data of each.
///
/// If a library stores neither, a slab beside it does, as its documentation suggests.
pub(crate) trait Contender<'a>: Sized {
    /// Its name in the tables.
    const NAME: &'static str;
    const MODE: Mode = Mode::Level;
    /// The contender that it is compared with, which uses the same mode.
    const BASE: &'static str = Self::MODE.base();

    /// What identifies a source.
    type Key: Copy;

    fn new() -> io::Result<Self>;

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<Self::Key>;

    fn modify(&mut self, key: Self::Key, want: Want) -> io::Result<()>;

    fn set_data(&mut self, key: Self::Key, data: u64);

    fn unregister(&mut self, key: Self::Key) -> io::Result<(BorrowedFd<'a>, u64)>;

    /// Applies deferred changes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Waits, calls `each` for each ready source, and returns how many there were.
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize>;
}

/// A contender that another thread can wake.
pub(crate) trait Wakes<'a>: Contender<'a> {
    type Waker: Sync + Send;

    fn waker(&mut self) -> io::Result<Self::Waker>;

    fn wake(waker: &Self::Waker) -> io::Result<()>;

    /// Waits until woken.
    fn sleep(&mut self) -> io::Result<()>;
}

/// One wait, in a function that is not inlined, as in a program.
#[inline(never)]
pub(crate) fn wait<'a, C: Contender<'a>>(
    contender: &mut C,
    timeout: Option<Duration>,
    each: impl FnMut(BorrowedFd<'a>, &mut u64),
) -> io::Result<usize> {
    contender.wait(timeout, each)
}

impl<'a> Row<'a> {
    /// The row of a contender.
    pub(crate) fn of<C: Contender<'a>>(turn: impl FnMut(u64) -> io::Result<Turn> + 'a) -> Self {
        Self { name: C::NAME, base: C::BASE, turn: Box::new(turn) }
    }
}

/// The error of a benchmark that failed.
pub(crate) fn wrong(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

/// Calls `$row` with the same arguments for every contender, or for some.
macro_rules! everyone {
    ($row:ident $arguments:tt) => {
        everyone!($row $arguments for
            BareEpoll, OursEpoll, OursAny, PollingLevel, Popol,
            BarePoll, OursPoll, BareSelect, OursSelect,
            BareEpollOneShot, OursOneShot, PollingOneShot,
            BareEpollEdge, OursEdge, Mio, PollingEdge)
    };
    ($row:ident $arguments:tt for $($contender:ident),+ $(,)?) => {
        vec![$($row::<$crate::platform::contenders::$contender> $arguments),+]
    };
}
pub(crate) use everyone;
