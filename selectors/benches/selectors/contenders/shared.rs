//! The contenders that other threads can change while one waits: `SharedSelector`, polling, mio.
//!
//! Only `SharedSelector` finds data by token. With the other two, programs of several threads have a
//! table behind a lock, which is not measured here.
#![expect(unsafe_code, reason = "polling's `add` is unsafe")]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use polling::PollMode;
use selectors::{BackendKind, Interest, Mode, Registrar, SharedSelector, Source};

use super::ROOM;

/// A file with several owners.
pub(crate) type File = Arc<OwnedFd>;

/// The waiting thread and those that make changes; each source is one-shot (mio: edge-triggered).
pub(crate) trait Shares: Sized + Send {
    /// Its name in the tables.
    const NAME: &'static str;
    type Changer: Send + Sync;
    type Handle;

    fn new() -> io::Result<(Self, Self::Changer)>;

    fn add(changer: &Self::Changer, file: File, writes: bool) -> io::Result<Self::Handle>;

    fn modify(changer: &Self::Changer, handle: &Self::Handle, writes: bool) -> io::Result<()>;

    fn delete(changer: &Self::Changer, handle: Self::Handle) -> io::Result<()>;

    /// Ends the current wait.
    fn wake(changer: &Self::Changer) -> io::Result<()>;

    /// Waits, and returns how many sources are ready.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize>;
}

pub(crate) type OursShared = Ours<true>;
pub(crate) type OursSharedPoll = Ours<false>;

pub(crate) struct Ours<const EPOLL: bool> {
    selector: SharedSelector<u64>,
    events: selectors::Events,
    seen: u64,
}

fn interest(writes: bool) -> Interest {
    if writes { Interest::READ | Interest::WRITE } else { Interest::READ }
}

impl<const EPOLL: bool> Shares for Ours<EPOLL> {
    const NAME: &'static str = if EPOLL { "shared epoll" } else { "shared poll" };
    type Changer = Registrar<u64>;
    type Handle = Source<File, u64>;

    fn new() -> io::Result<(Self, Self::Changer)> {
        let kind = if EPOLL { BackendKind::Epoll } else { BackendKind::Poll };
        let selector = SharedSelector::of_kind(kind)?;
        let registrar = selector.registrar();
        let events = selectors::Events::with_capacity(ROOM);
        Ok((Self { selector, events, seen: 0 }, registrar))
    }

    fn add(registrar: &Self::Changer, file: File, writes: bool) -> io::Result<Self::Handle> {
        Ok(registrar.register_with(file, interest(writes), 1, Mode::OneShot)?)
    }

    fn modify(_: &Self::Changer, source: &Self::Handle, writes: bool) -> io::Result<()> {
        Ok(source.modify(interest(writes))?)
    }

    fn delete(_: &Self::Changer, source: Self::Handle) -> io::Result<()> {
        drop(source);
        Ok(())
    }

    fn wake(registrar: &Self::Changer) -> io::Result<()> {
        Ok(registrar.waker().wake()?)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        self.selector.select_into(&mut self.events, timeout)?;
        for event in &self.events {
            self.seen += self.selector.get(event.token()).copied().unwrap_or(0);
        }
        Ok(self.events.len())
    }
}

pub(crate) struct PollingShared {
    poller: Arc<polling::Poller>,
    events: polling::Events,
    seen: usize,
}

fn event(writes: bool) -> polling::Event {
    if writes { polling::Event::all(1) } else { polling::Event::readable(1) }
}

impl Shares for PollingShared {
    const NAME: &'static str = "polling";
    type Changer = Arc<polling::Poller>;
    type Handle = File;

    fn new() -> io::Result<(Self, Self::Changer)> {
        let poller = Arc::new(polling::Poller::new()?);
        let room = NonZeroUsize::new(ROOM).unwrap_or(NonZeroUsize::MIN);
        let events = polling::Events::with_capacity(room);
        Ok((Self { poller: Arc::clone(&poller), events, seen: 0 }, poller))
    }

    fn add(poller: &Self::Changer, file: File, writes: bool) -> io::Result<File> {
        // SAFETY: the handle keeps it open until it is deleted.
        unsafe { poller.add_with_mode(&file, event(writes), PollMode::Oneshot)? };
        Ok(file)
    }

    fn modify(poller: &Self::Changer, file: &File, writes: bool) -> io::Result<()> {
        poller.modify_with_mode(file, event(writes), PollMode::Oneshot)
    }

    fn delete(poller: &Self::Changer, file: File) -> io::Result<()> {
        poller.delete(&file)
    }

    fn wake(poller: &Self::Changer) -> io::Result<()> {
        poller.notify()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        self.events.clear();
        self.poller.wait(&mut self.events, timeout)?;
        self.seen += self.events.iter().map(|event| event.key).sum::<usize>();
        Ok(self.events.len())
    }
}

pub(crate) struct MioShared {
    poll: mio::Poll,
    events: mio::Events,
    seen: usize,
}

const WAKER: mio::Token = mio::Token(usize::MAX);

fn mio_interest(writes: bool) -> mio::Interest {
    let readable = mio::Interest::READABLE;
    if writes { readable | mio::Interest::WRITABLE } else { readable }
}

impl Shares for MioShared {
    const NAME: &'static str = "mio";
    type Changer = (mio::Registry, mio::Waker);
    type Handle = File;

    fn new() -> io::Result<(Self, Self::Changer)> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WAKER)?;
        let events = mio::Events::with_capacity(ROOM);
        Ok((Self { poll, events, seen: 0 }, (registry, waker)))
    }

    fn add((registry, _): &Self::Changer, file: File, writes: bool) -> io::Result<File> {
        let number = file.as_raw_fd();
        registry.register(&mut SourceFd(&number), mio::Token(1), mio_interest(writes))?;
        Ok(file)
    }

    fn modify((registry, _): &Self::Changer, file: &File, writes: bool) -> io::Result<()> {
        let number = file.as_raw_fd();
        registry.reregister(&mut SourceFd(&number), mio::Token(1), mio_interest(writes))
    }

    fn delete((registry, _): &Self::Changer, file: File) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&file.as_raw_fd()))
    }

    fn wake((_, waker): &Self::Changer) -> io::Result<()> {
        waker.wake()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        self.poll.poll(&mut self.events, timeout)?;
        let before = self.seen;
        self.seen += self.events.iter().filter(|event| event.token() != WAKER).count();
        Ok(self.seen - before)
    }
}
