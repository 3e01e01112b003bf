//! Implements [`Backend`] for boxed backends.

use std::io;
use std::time::{Duration, Instant};

use super::{
    AnyChanger, Backend, BorrowedSource, Capabilities, Change, RawSource, Registered, Trigger,
};
use crate::{Events, Token, Watch};

impl<B: Backend + ?Sized> Backend for Box<B> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        (**self).register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        (**self).modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        (**self).unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        (**self).wait(events, timeout)
    }

    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        (**self).change_and_wait(changes, events, timeout)
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        (**self).descriptor()
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        (**self).waker(token)
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        (**self).changer()
    }

    fn now(&self) -> Instant {
        (**self).now()
    }

    fn owns(&self, fd: RawSource) -> bool {
        (**self).owns(fd)
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        (**self).rebuild(sources, events)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        (**self).after_fork()
    }
}
