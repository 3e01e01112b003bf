//! A kernel that keeps reporting a token that is not registered.
#![cfg(unix)]

use std::io;
use std::time::{Duration, Instant};

use selectors::backend::{Backend, BorrowedSource, Capabilities, Poll, RawSource, Registered};
use selectors::{Event, Events, Interest, Readiness, Selector, Token, Watch};
use selectors_testkit::fixtures::{OwnedSource, pair, signal_storm};

const LONG: Option<Duration> = Some(Duration::from_secs(20));

/// Reports a ghost with every wait, which therefore never blocks.
struct Haunted(Poll);

impl Backend for Haunted {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.0.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.0.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.0.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, _: Option<Duration>) -> io::Result<()> {
        events.push(Event::new(Token::from_bits(0x7777_7777_7777_7777), Readiness::READ));
        self.0.wait(events, Some(Duration::ZERO))
    }

    fn rebuild(
        &mut self,
        _: &mut dyn Iterator<Item = Registered>,
        _: &mut Events,
    ) -> io::Result<()> {
        Err(io::ErrorKind::OutOfMemory.into())
    }
}

fn haunted() -> io::Result<Selector<OwnedSource, (), Haunted>> {
    Ok(Selector::with_backend(Haunted(Poll::new()?)))
}

#[test]
fn close_4_no_wait_ends_early_for_a_ghost() -> io::Result<()> {
    let mut selector = haunted()?;
    let timeout = Duration::from_millis(15);
    let start = Instant::now();
    let events = selector.select(Some(timeout))?;
    assert!(start.elapsed() >= timeout);
    assert!(events.is_empty() && !events.interrupted() && !events.woken());
    let (ours, _theirs) = pair()?;
    let token = selector.register(ours.into(), Interest::WRITE, ())?;
    let events = selector.select(LONG)?;
    assert_eq!(events[..], [Event::new(token, Readiness::WRITE)]);
    Ok(())
}

#[test]
fn wait_6_a_signal_ends_a_wait_beside_a_ghost() -> io::Result<()> {
    let mut selector = haunted()?;
    let _storm = signal_storm(Duration::from_millis(5))?;
    let timeout = Duration::from_millis(30);
    let start = Instant::now();
    let events = selector.select(Some(timeout))?;
    assert!(start.elapsed() >= timeout && !events.interrupted());
    selector.set_interruptible(true);
    let events = selector.select(LONG)?;
    assert!(events.is_empty() && events.interrupted());
    Ok(())
}
