//! A loop over epoll_wait(2), level-triggered, with a slab of file objects and data: what the
//! others are measured against.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use libc::epoll_event;
use nix::sys::eventfd::{EfdFlags, EventFd};
use slab::Slab;

use super::{Contender, ROOM, Wakes, Want, sys, wrong};

/// With timeouts in milliseconds.
pub(crate) type BareEpoll<'a> = Bare<'a, false, false>;
/// With epoll_pwait2(2) and its timeouts in nanoseconds.
pub(crate) type BareEpollFine<'a> = Bare<'a, true, false>;
/// Edge-triggered.
pub(crate) type BareEpollEdge<'a> = Bare<'a, false, true>;

pub(crate) struct Bare<'a, const FINE: bool, const EDGE: bool> {
    epoll: OwnedFd,
    buffer: Vec<epoll_event>,
    sources: Slab<(BorrowedFd<'a>, u64)>,
    waker: Option<Arc<EventFd>>,
}

const NO_EVENT: epoll_event = epoll_event { events: 0, u64: 0 };
/// What the events of the waker carry.
const WAKER: u64 = u64::MAX;

#[expect(clippy::cast_sign_loss, reason = "the kernel declares the same bits unsigned")]
fn event(want: Want, edge: bool, key: usize) -> epoll_event {
    let write = if want.writes() { libc::EPOLLOUT } else { 0 };
    let edge = if edge { libc::EPOLLET } else { 0 };
    epoll_event { events: (libc::EPOLLIN | write | edge) as u32, u64: key as u64 }
}

impl<'a, const FINE: bool, const EDGE: bool> Contender<'a> for Bare<'a, FINE, EDGE> {
    const NAME: &'static str = match (FINE, EDGE) {
        (true, _) => "bare epoll_pwait2",
        (_, true) => "bare epoll, edge",
        _ => "bare epoll",
    };
    const EDGE: bool = EDGE;
    type Key = usize;

    fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: sys::epoll_create()?,
            buffer: vec![NO_EVENT; ROOM],
            sources: Slab::new(),
            waker: None,
        })
    }

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<usize> {
        let key = self.sources.insert((fd, data));
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_ADD, fd, event(want, EDGE, key))?;
        Ok(key)
    }

    fn modify(&mut self, key: usize, want: Want) -> io::Result<()> {
        let (fd, _) = self.sources[key];
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_MOD, fd, event(want, EDGE, key))
    }

    fn set_data(&mut self, key: usize, data: u64) {
        self.sources[key].1 = data;
    }

    fn unregister(&mut self, key: usize) -> io::Result<(BorrowedFd<'a>, u64)> {
        let (fd, data) = self.sources.remove(key);
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_DEL, fd, NO_EVENT)?;
        Ok((fd, data))
    }

    #[inline]
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize> {
        let count = if FINE {
            sys::epoll_pwait2(&self.epoll, &mut self.buffer, timeout)?
        } else {
            sys::epoll_wait(&self.epoll, &mut self.buffer, timeout)?
        };
        for event in &self.buffer[..count] {
            let key = usize::try_from(event.u64).unwrap_or(usize::MAX);
            let Some((fd, data)) = self.sources.get_mut(key) else { continue };
            each(*fd, data);
        }
        Ok(count)
    }
}

impl<'a, const FINE: bool, const EDGE: bool> Wakes<'a> for Bare<'a, FINE, EDGE> {
    type Waker = Arc<EventFd>;

    fn waker(&mut self) -> io::Result<Arc<EventFd>> {
        let waker = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let event = epoll_event { u64: WAKER, ..event(Want::Read, false, 0) };
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
        let count = sys::epoll_wait(&self.epoll, &mut self.buffer, None)?;
        let woken = self.buffer[..count].iter().any(|event| event.u64 == WAKER);
        match &self.waker {
            Some(waker) if woken => Ok(waker.read().map(drop)?),
            _ => Err(wrong("the wait ended for nothing")),
        }
    }
}
