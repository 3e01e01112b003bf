//! Sources that kqueue(2) cannot watch, or not correctly: select(2) watches them together with the queue.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::backend::select::Select;
use crate::backend::{Backend, BorrowedSource, RawSource};
use crate::{Events, Interest, Mode, Token, Watch};

/// The token of the queue itself.
const QUEUE: Token = Token::reserved(2);

/// The sources that the queue cannot watch, and the queue.
#[derive(Debug)]
pub(super) struct Fallback {
    select: Select,
    sources: usize,
}

impl Fallback {
    pub(super) fn new(queue: BorrowedFd<'_>) -> io::Result<Self> {
        let mut select = Select::new()?;
        select.register(queue, QUEUE, Watch::new(Interest::READ, Mode::Level))?;
        Ok(Self { select, sources: 0 })
    }

    pub(super) fn contains(&self, fd: RawSource, token: Token) -> bool {
        self.select.contains(fd, token)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sources == 0
    }

    pub(super) fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.select.register(source, token, watch)?;
        self.sources += 1;
        Ok(())
    }

    pub(super) fn modify(
        &mut self,
        fd: RawSource,
        token: Token,
        old: Watch,
        new: Watch,
    ) -> io::Result<()> {
        self.select.modify(fd, token, old, new)
    }

    pub(super) fn unregister(
        &mut self,
        fd: RawSource,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.select.unregister(fd, token, watch)?;
        self.sources -= 1;
        Ok(())
    }

    /// Waits for these sources and for the queue, and reports the sources.
    pub(super) fn wait(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.select.wait(events, timeout)?;
        events.list.retain(|event| event.token() != QUEUE);
        Ok(())
    }
}
