//! Who is compared: bare system calls, selectors, and other libraries, all behind one trait
//! that asks the same of each.

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

pub(crate) use bare_epoll::{BareEpoll, BareEpollEdge, BareEpollFine};
pub(crate) use bare_poll::BarePoll;
pub(crate) use bare_select::BareSelect;
pub(crate) use mio::Mio;
pub(crate) use ours::{
    OursAllocating, OursAny, OursDeferred, OursEpoll, OursPoll, OursSelect, OursSpinning,
};
pub(crate) use polling::{PollingLevel, PollingOneShot};
pub(crate) use popol::Popol;
pub(crate) use shared::{File, MioShared, OursShared, OursSharedPoll, PollingShared, Shares};

/// How many events one wait returns at most, for those who must be told.
const ROOM: usize = 1024;

/// What a source is watched for.
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

/// Something that waits for many sources, and knows the file object and the data of each.
///
/// Where a library keeps neither, a slab beside it does, as its documentation has it.
pub(crate) trait Contender<'a>: Sized {
    /// As the tables call it.
    const NAME: &'static str;
    /// Whom it is compared with.
    const BASE: &'static str = "bare epoll";
    /// Whether a source is reported but once until there is news of it.
    const EDGE: bool = false;

    /// How a source is named.
    type Key: Copy;

    fn new() -> io::Result<Self>;

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<Self::Key>;

    fn modify(&mut self, key: Self::Key, want: Want) -> io::Result<()>;

    fn set_data(&mut self, key: Self::Key, data: u64);

    fn unregister(&mut self, key: Self::Key) -> io::Result<(BorrowedFd<'a>, u64)>;

    /// Makes the changes that were put off, if they were.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Waits, calls `each` for each source that is ready, and says how many those were.
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

/// The error of a benchmark that went wrong.
pub(crate) fn wrong(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

/// Calls `$row` with the same arguments for every contender, or for some.
macro_rules! everyone {
    ($row:ident $arguments:tt) => {
        everyone!($row $arguments for
            BareEpoll, BarePoll, BareSelect, OursEpoll, OursPoll, OursSelect, OursAny, Mio,
            PollingLevel, PollingOneShot, Popol)
    };
    ($row:ident $arguments:tt for $($contender:ident),+ $(,)?) => {
        vec![$($row::<$crate::platform::contenders::$contender> $arguments),+]
    };
}
pub(crate) use everyone;
