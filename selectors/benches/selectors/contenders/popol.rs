//! popol, over poll(2), with a slab of file objects and data by its keys.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use popol::interest::{READ, WRITE};
use popol::{Event, Sources, Timeout, Waker};
use slab::Slab;

use super::{Contender, Wakes, Want, wrong};

pub(crate) struct Popol<'a> {
    polled: Sources<usize>,
    events: Vec<Event<usize>>,
    sources: Slab<(BorrowedFd<'a>, u64)>,
    /// Kept, because the end that is polled must stay open.
    waker: Option<Arc<Waker>>,
}

const WAKER: usize = usize::MAX;

impl Popol<'_> {
    /// Replaces the events by those of a new wait.
    #[inline]
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        match self.polled.poll(&mut self.events, Timeout::from(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            answer => answer.map(drop),
        }
    }
}

impl<'a> Contender<'a> for Popol<'a> {
    const NAME: &'static str = "popol";
    type Key = usize;

    fn new() -> io::Result<Self> {
        Ok(Self { polled: Sources::new(), events: Vec::new(), sources: Slab::new(), waker: None })
    }

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<usize> {
        let key = self.sources.insert((fd, data));
        self.polled.register(key, &fd, if want.writes() { READ | WRITE } else { READ });
        Ok(key)
    }

    fn modify(&mut self, key: usize, want: Want) -> io::Result<()> {
        let found = if want.writes() {
            self.polled.set(&key, WRITE)
        } else {
            self.polled.unset(&key, WRITE)
        };
        if found { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn set_data(&mut self, key: usize, data: u64) {
        self.sources[key].1 = data;
    }

    fn unregister(&mut self, key: usize) -> io::Result<(BorrowedFd<'a>, u64)> {
        self.polled.unregister(&key);
        Ok(self.sources.remove(key))
    }

    #[inline]
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize> {
        self.poll(timeout)?;
        for event in &self.events {
            let Some((fd, data)) = self.sources.get_mut(event.key) else { continue };
            each(*fd, data);
        }
        Ok(self.events.len())
    }
}

impl<'a> Wakes<'a> for Popol<'a> {
    type Waker = Arc<Waker>;

    fn waker(&mut self) -> io::Result<Arc<Waker>> {
        let waker = Arc::new(Waker::register(&mut self.polled, WAKER)?);
        self.waker = Some(Arc::clone(&waker));
        Ok(waker)
    }

    #[inline]
    fn wake(waker: &Arc<Waker>) -> io::Result<()> {
        waker.wake()
    }

    #[inline]
    fn sleep(&mut self) -> io::Result<()> {
        self.poll(None)?;
        match self.events.iter().find(|event| event.key == WAKER) {
            Some(event) => Waker::reset(event.source.as_raw_fd()),
            None => Err(wrong("the wait ended without a wake")),
        }
    }
}
