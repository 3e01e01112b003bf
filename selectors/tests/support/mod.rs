//! Shared by several test files.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

use selectors::backend::{Backend, BorrowedSource, Capabilities, RawSource};
use selectors::{Events, Token, Watch};

/// A backend that does nothing, with or without a descriptor, and has nothing else that it need not
/// have.
pub(crate) struct Idle(pub(crate) Option<UdpSocket>);

impl Backend for Idle {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn register(&mut self, _: BorrowedSource<'_>, _: Token, _: Watch) -> io::Result<()> {
        Ok(())
    }

    fn modify(&mut self, _: RawSource, _: Token, _: Watch, _: Watch) -> io::Result<()> {
        Ok(())
    }

    fn unregister(&mut self, _: RawSource, _: Token, _: Watch) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, _: &mut Events, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }
}
