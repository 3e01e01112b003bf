//! selectors, with each of its backends, and in each way to use it that has a cost of its own.

use std::hint::black_box;
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use selectors::backend::{self, Backend};
use selectors::{
    AnySelector, BackendKind, DeferredSelector, EpollSelector, Events, Interest, PollSelector,
    Result, SelectSelector, Selector, Token, Waker,
};

use super::{Contender, Mode, Wakes, Want, wrong};

pub(crate) type OursEpoll<'a> = Ours<'a, Epoll>;
pub(crate) type OursOneShot<'a> = Ours<'a, OneShot>;
pub(crate) type OursEdge<'a> = Ours<'a, Edge>;
pub(crate) type OursPoll<'a> = Ours<'a, Poll>;
pub(crate) type OursSelect<'a> = Ours<'a, Select>;
pub(crate) type OursAny<'a> = Ours<'a, Any>;
pub(crate) type OursDeferred<'a> = Ours<'a, Deferred>;
pub(crate) type OursAllocating<'a> = Ours<'a, Allocating>;
pub(crate) type OursSpinning<'a> = Ours<'a, Spinning>;

pub(crate) struct Ours<'a, W: Way> {
    selector: Opened<'a, W>,
    events: Events,
    way: PhantomData<W>,
}

type Opened<'a, W> = Selector<BorrowedFd<'a>, u64, <W as Way>::Backend>;

/// A way to use selectors.
pub(crate) trait Way: Sized {
    const NAME: &'static str;
    const MODE: Mode = Mode::Level;
    const BASE: &'static str = Self::MODE.base();
    /// Whether each wait returns a new list of events.
    const ALLOCATES: bool = false;
    /// How long to busy-poll before blocking.
    const SPIN: Duration = Duration::ZERO;

    type Backend: Backend;

    fn open<'a>() -> Result<Opened<'a, Self>>;

    fn flush(_selector: &mut Opened<'_, Self>) -> Result<()> {
        Ok(())
    }
}

pub(crate) struct Epoll;
impl Way for Epoll {
    const NAME: &'static str = "selectors epoll";
    type Backend = backend::Epoll;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        EpollSelector::new()
    }
}

pub(crate) struct OneShot;
impl Way for OneShot {
    const NAME: &'static str = "selectors one-shot";
    const MODE: Mode = Mode::OneShot;
    type Backend = backend::Epoll;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        EpollSelector::new()
    }
}

pub(crate) struct Edge;
impl Way for Edge {
    const NAME: &'static str = "selectors edge";
    const MODE: Mode = Mode::Edge;
    type Backend = backend::Epoll;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        EpollSelector::new()
    }
}

pub(crate) struct Poll;
impl Way for Poll {
    const NAME: &'static str = "selectors poll";
    const BASE: &'static str = "bare poll";
    type Backend = backend::Poll;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        PollSelector::new()
    }
}

pub(crate) struct Select;
impl Way for Select {
    const NAME: &'static str = "selectors select";
    const BASE: &'static str = "bare select";
    type Backend = backend::Select;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        SelectSelector::new()
    }
}

/// The backend is chosen at run time.
pub(crate) struct Any;
impl Way for Any {
    const NAME: &'static str = "selectors any";
    type Backend = backend::AnyBackend;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        AnySelector::new(BackendKind::Epoll)
    }
}

pub(crate) struct Deferred;
impl Way for Deferred {
    const NAME: &'static str = "selectors deferred";
    type Backend = backend::Deferred<backend::DefaultBackend>;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        DeferredSelector::new()
    }
    fn flush(selector: &mut Opened<'_, Self>) -> Result<()> {
        selector.flush()
    }
}

pub(crate) struct Allocating;
impl Way for Allocating {
    const NAME: &'static str = "selectors, new list";
    const BASE: &'static str = Epoll::NAME;
    const ALLOCATES: bool = true;
    type Backend = backend::Epoll;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        EpollSelector::new()
    }
}

pub(crate) struct Spinning;
impl Way for Spinning {
    const NAME: &'static str = "selectors, spinning";
    const BASE: &'static str = Epoll::NAME;
    const SPIN: Duration = Duration::from_micros(50);
    type Backend = backend::Epoll;
    fn open<'a>() -> Result<Opened<'a, Self>> {
        EpollSelector::new()
    }
}

/// The library's mode for a mode of the benchmarks.
const fn mode(mode: Mode) -> selectors::Mode {
    match mode {
        Mode::Level => selectors::Mode::Level,
        Mode::OneShot => selectors::Mode::OneShot,
        Mode::Edge => selectors::Mode::Edge,
    }
}

/// An interest that the compiler does not know. Otherwise it may omit checks, depending on how it
/// partitions the program.
fn interest(want: Want) -> Interest {
    black_box(if want.writes() { Interest::READ | Interest::WRITE } else { Interest::READ })
}

impl<'a, W: Way> Contender<'a> for Ours<'a, W> {
    const NAME: &'static str = W::NAME;
    const MODE: Mode = W::MODE;
    const BASE: &'static str = W::BASE;
    type Key = Token;

    fn new() -> io::Result<Self> {
        let mut selector = W::open()?;
        if !W::SPIN.is_zero() {
            selector.set_spin(W::SPIN);
        }
        Ok(Self { selector, events: Events::new(), way: PhantomData })
    }

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<Token> {
        Ok(self.selector.register_with(fd, interest(want), data, mode(W::MODE))?)
    }

    fn modify(&mut self, key: Token, want: Want) -> io::Result<()> {
        Ok(self.selector.modify(key, interest(want))?)
    }

    fn set_data(&mut self, key: Token, data: u64) {
        if let Some(key) = self.selector.get_mut(key) {
            *key.data = data;
        }
    }

    fn unregister(&mut self, key: Token) -> io::Result<(BorrowedFd<'a>, u64)> {
        Ok(self.selector.unregister(key)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(W::flush(&mut self.selector)?)
    }

    #[inline]
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize> {
        if W::ALLOCATES {
            self.events = self.selector.select(timeout)?;
        } else {
            self.selector.select_into(&mut self.events, timeout)?;
        }
        for event in &self.events {
            let Some(key) = self.selector.get_mut(event.token()) else { continue };
            each(*key.fileobj, key.data);
            if W::MODE == Mode::OneShot {
                self.selector.rearm(event.token())?;
            }
        }
        Ok(self.events.len())
    }
}

impl<'a, W: Way> Wakes<'a> for Ours<'a, W> {
    type Waker = Waker;

    fn waker(&mut self) -> io::Result<Waker> {
        Ok(self.selector.waker()?)
    }

    #[inline]
    fn wake(waker: &Waker) -> io::Result<()> {
        Ok(waker.wake()?)
    }

    #[inline]
    fn sleep(&mut self) -> io::Result<()> {
        self.selector.select_into(&mut self.events, None)?;
        if self.events.woken() { Ok(()) } else { Err(wrong("the wait ended without a wake")) }
    }
}
