//! mio, which is edge-triggered, with a slab, as its documentation suggests.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::{Contender, Mode, ROOM, Wakes, Want, wrong};

pub(crate) struct Mio<'a> {
    poll: Poll,
    events: Events,
    sources: Slab<(BorrowedFd<'a>, u64)>,
    /// Kept, because dropping a waker before the wait ends loses its wake.
    waker: Option<Arc<Waker>>,
}

const WAKER: Token = Token(usize::MAX);

fn interest(want: Want) -> Interest {
    if want.writes() { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}

impl<'a> Contender<'a> for Mio<'a> {
    const NAME: &'static str = "mio";
    const MODE: Mode = Mode::Edge;
    type Key = usize;

    fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(ROOM),
            sources: Slab::new(),
            waker: None,
        })
    }

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<usize> {
        let key = self.sources.insert((fd, data));
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd.as_raw_fd()), Token(key), interest(want))?;
        Ok(key)
    }

    fn modify(&mut self, key: usize, want: Want) -> io::Result<()> {
        let fd = self.sources[key].0.as_raw_fd();
        self.poll.registry().reregister(&mut SourceFd(&fd), Token(key), interest(want))
    }

    fn set_data(&mut self, key: usize, data: u64) {
        self.sources[key].1 = data;
    }

    fn unregister(&mut self, key: usize) -> io::Result<(BorrowedFd<'a>, u64)> {
        let (fd, data) = self.sources.remove(key);
        self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()))?;
        Ok((fd, data))
    }

    #[inline]
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize> {
        self.poll.poll(&mut self.events, timeout)?;
        let mut count = 0;
        for event in &self.events {
            let Some((fd, data)) = self.sources.get_mut(event.token().0) else { continue };
            count += 1;
            each(*fd, data);
        }
        Ok(count)
    }
}

impl<'a> Wakes<'a> for Mio<'a> {
    type Waker = Arc<Waker>;

    fn waker(&mut self) -> io::Result<Arc<Waker>> {
        let waker = Arc::new(Waker::new(self.poll.registry(), WAKER)?);
        self.waker = Some(Arc::clone(&waker));
        Ok(waker)
    }

    #[inline]
    fn wake(waker: &Arc<Waker>) -> io::Result<()> {
        waker.wake()
    }

    #[inline]
    fn sleep(&mut self) -> io::Result<()> {
        self.poll.poll(&mut self.events, None)?;
        let woken = self.events.iter().any(|event| event.token() == WAKER);
        if woken { Ok(()) } else { Err(wrong("the wait ended without a wake")) }
    }
}
