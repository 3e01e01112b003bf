//! A loop over epoll_wait(2) in each of its modes, with a slab of file objects and data: the baseline
//! of the others.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use libc::epoll_event;
use nix::sys::eventfd::{EfdFlags, EventFd};
use slab::Slab;

use super::{Contender, Edge, Level, Mode, OneShot, Source, Trigger, Wakes, Want, sys, wrong};

/// The initial capacity for events, as in selectors. Doubled when a wait fills it.
const FIRST_ROOM: usize = 64;

/// With timeouts in milliseconds.
pub(crate) type BareEpoll<'a> = Bare<'a, Level, false>;
/// With epoll_pwait2(2) and its timeouts in nanoseconds.
pub(crate) type BareEpollFine<'a> = Bare<'a, Level, true>;
pub(crate) type BareEpollOneShot<'a> = Bare<'a, OneShot, false>;
pub(crate) type BareEpollEdge<'a> = Bare<'a, Edge, false>;

pub(crate) struct Bare<'a, T, const FINE: bool> {
    epoll: OwnedFd,
    /// Capacity for events. Only the kernel writes to it.
    buffer: Vec<epoll_event>,
    sources: Slab<Source<'a>>,
    /// Kept, because dropping a waker before the wait ends loses its wake.
    waker: Option<Arc<EventFd>>,
    trigger: PhantomData<T>,
}

/// The user data of the waker's events.
const WAKER: u64 = u64::MAX;

#[inline]
#[expect(clippy::cast_sign_loss, reason = "the kernel declares the same bits unsigned")]
fn event(want: Want, mode: Mode, key: u64) -> epoll_event {
    let write = if want.writes() { libc::EPOLLOUT } else { 0 };
    let mode = match mode {
        Mode::Level => 0,
        Mode::OneShot => libc::EPOLLONESHOT,
        Mode::Edge => libc::EPOLLET,
    };
    epoll_event { events: (libc::EPOLLIN | write | mode) as u32, u64: key }
}

impl<'a, T: Trigger, const FINE: bool> Contender<'a> for Bare<'a, T, FINE> {
    const NAME: &'static str = if FINE { "bare epoll_pwait2" } else { T::MODE.base() };
    const MODE: Mode = T::MODE;
    type Key = usize;

    fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: sys::epoll_create()?,
            buffer: Vec::with_capacity(FIRST_ROOM),
            sources: Slab::new(),
            waker: None,
            trigger: PhantomData,
        })
    }

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<usize> {
        let key = self.sources.insert(Source { fd, want, data });
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_ADD, fd, event(want, T::MODE, key as u64))?;
        Ok(key)
    }

    fn modify(&mut self, key: usize, want: Want) -> io::Result<()> {
        let source = &mut self.sources[key];
        source.want = want;
        let event = event(want, T::MODE, key as u64);
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_MOD, source.fd, event)
    }

    fn set_data(&mut self, key: usize, data: u64) {
        self.sources[key].data = data;
    }

    fn unregister(&mut self, key: usize) -> io::Result<(BorrowedFd<'a>, u64)> {
        let Source { fd, data, .. } = self.sources.remove(key);
        // The kernel does not read the event.
        let unused = event(Want::Read, T::MODE, 0);
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_DEL, fd, unused)?;
        Ok((fd, data))
    }

    #[inline]
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize> {
        if FINE {
            sys::epoll_pwait2(&self.epoll, &mut self.buffer, timeout)?;
        } else {
            sys::epoll_wait(&self.epoll, &mut self.buffer, timeout)?;
        }
        for ready in &self.buffer {
            let key = ready.u64;
            let place = usize::try_from(key).unwrap_or(usize::MAX);
            let Some(source) = self.sources.get_mut(place) else { continue };
            each(source.fd, &mut source.data);
            if T::MODE == Mode::OneShot {
                let event = event(source.want, T::MODE, key);
                sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_MOD, source.fd, event)?;
            }
        }
        let count = self.buffer.len();
        if count == self.buffer.capacity() {
            self.buffer.reserve(count);
        }
        Ok(count)
    }
}

impl<'a, T: Trigger> Wakes<'a> for Bare<'a, T, false> {
    type Waker = Arc<EventFd>;

    fn waker(&mut self) -> io::Result<Arc<EventFd>> {
        let waker = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        // Edge-triggered: only the next wake makes it ready again, so it need not be read.
        let event = event(Want::Read, Mode::Edge, WAKER);
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_ADD, waker.as_fd(), event)?;
        self.waker = Some(Arc::clone(&waker));
        Ok(waker)
    }

    #[inline]
    fn wake(waker: &Arc<EventFd>) -> io::Result<()> {
        Ok(waker.write(1).map(drop)?)
    }

    #[inline]
    fn sleep(&mut self) -> io::Result<()> {
        sys::epoll_wait(&self.epoll, &mut self.buffer, None)?;
        let woken = self.buffer.iter().any(|event| event.u64 == WAKER);
        if woken { Ok(()) } else { Err(wrong("the wait ended without a wake")) }
    }
}
