//! polling in each of its modes. In its default mode, one-shot, a source is rearmed after each event.
#![expect(unsafe_code, reason = "polling's `add` is unsafe")]

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};
use slab::Slab;

use super::{Contender, Edge, Level, Mode, OneShot, ROOM, Source, Trigger, Wakes, Want, wrong};

pub(crate) type PollingLevel<'a> = Polling<'a, Level>;
pub(crate) type PollingOneShot<'a> = Polling<'a, OneShot>;
pub(crate) type PollingEdge<'a> = Polling<'a, Edge>;

pub(crate) struct Polling<'a, T> {
    // Dropped before its sources, which live for 'a.
    poller: Arc<Poller>,
    events: Events,
    sources: Slab<Source<'a>>,
    trigger: PhantomData<T>,
}

fn event(key: usize, want: Want) -> Event {
    if want.writes() { Event::all(key) } else { Event::readable(key) }
}

impl<T: Trigger> Polling<'_, T> {
    const POLL_MODE: PollMode = match T::MODE {
        Mode::Level => PollMode::Level,
        Mode::OneShot => PollMode::Oneshot,
        Mode::Edge => PollMode::Edge,
    };
}

impl<'a, T: Trigger> Contender<'a> for Polling<'a, T> {
    const NAME: &'static str = match T::MODE {
        Mode::Level => "polling level",
        Mode::OneShot => "polling one-shot",
        Mode::Edge => "polling edge",
    };
    const MODE: Mode = T::MODE;
    type Key = usize;

    fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Arc::new(Poller::new()?),
            events: Events::with_capacity(NonZeroUsize::new(ROOM).unwrap_or(NonZeroUsize::MIN)),
            sources: Slab::new(),
            trigger: PhantomData,
        })
    }

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<usize> {
        let key = self.sources.insert(Source { fd, want, data });
        // SAFETY: `fd` is open for 'a, which the poller does not outlive.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), event(key, want), Self::POLL_MODE)? };
        Ok(key)
    }

    fn modify(&mut self, key: usize, want: Want) -> io::Result<()> {
        let source = &mut self.sources[key];
        source.want = want;
        self.poller.modify_with_mode(source.fd, event(key, want), Self::POLL_MODE)
    }

    fn set_data(&mut self, key: usize, data: u64) {
        self.sources[key].data = data;
    }

    fn unregister(&mut self, key: usize) -> io::Result<(BorrowedFd<'a>, u64)> {
        let Source { fd, data, .. } = self.sources.remove(key);
        self.poller.delete(fd)?;
        Ok((fd, data))
    }

    #[inline]
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize> {
        self.events.clear();
        self.poller.wait(&mut self.events, timeout)?;
        let mut count = 0;
        for ready in self.events.iter() {
            let Some(source) = self.sources.get_mut(ready.key) else { continue };
            count += 1;
            each(source.fd, &mut source.data);
            if T::MODE == Mode::OneShot {
                self.poller.modify(source.fd, event(ready.key, source.want))?;
            }
        }
        Ok(count)
    }
}

impl<'a, T: Trigger> Wakes<'a> for Polling<'a, T> {
    type Waker = Arc<Poller>;

    fn waker(&mut self) -> io::Result<Arc<Poller>> {
        Ok(Arc::clone(&self.poller))
    }

    #[inline]
    fn wake(waker: &Arc<Poller>) -> io::Result<()> {
        waker.notify()
    }

    #[inline]
    fn sleep(&mut self) -> io::Result<()> {
        self.events.clear();
        // It has no timeout, so only a notification ends it without an event.
        let count = self.poller.wait(&mut self.events, None)?;
        if count == 0 { Ok(()) } else { Err(wrong("the wait ended without a wake")) }
    }
}
