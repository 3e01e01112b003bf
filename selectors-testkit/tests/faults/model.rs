//! What random programs run over, what they know of the files that are watched, and their choices.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use selectors::{
    Backend, Error, Events, Interest, Mode, Readiness, Selector, SharedSelector, Token,
};
use selectors_testkit::fixtures::{is_ready, unix_pair};

/// xorshift64*: the same programs everywhere.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % sides
    }

    pub(crate) fn pick<V: Copy>(&mut self, of: &[V]) -> V {
        of[self.roll(of.len())]
    }
}

/// A file, and the source that watches it.
pub(crate) struct File {
    pub(crate) fd: OwnedFd,
    /// `None` for a file that is always ready.
    pub(crate) peer: Option<UnixStream>,
    pub(crate) readable: bool,
    pub(crate) source: Option<Watched>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched {
    pub(crate) token: Token,
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
    /// False for a one-shot source that was reported.
    pub(crate) armed: bool,
    /// Of an edge-triggered source: an edge was not reported yet.
    pub(crate) edge: bool,
}

impl File {
    pub(crate) fn idle() -> io::Result<Self> {
        let (ours, peer) = unix_pair()?;
        Ok(Self { fd: ours.into(), peer: Some(peer), readable: false, source: None })
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let interest = self.source.map_or(Interest::empty(), |source| source.interest);
        let mut readiness = Readiness::empty();
        readiness.set(Readiness::READ, self.readable && interest.contains(Interest::READ));
        readiness.set(Readiness::WRITE, interest.contains(Interest::WRITE));
        readiness
    }

    pub(crate) fn must_be_reported(&self) -> bool {
        let due = |it: Watched| it.armed && (it.mode != Mode::Edge || it.edge);
        self.source.is_some_and(due) && !self.readiness().is_empty()
    }
}

/// Either kind of selector.
pub(crate) trait Subject {
    fn register(
        &mut self,
        fd: BorrowedFd<'static>,
        interest: Interest,
        mode: Mode,
    ) -> Result<Token, Error>;
    fn modify(&mut self, token: Token, interest: Interest, mode: Mode) -> Result<(), Error>;
    fn rearm(&mut self, token: Token) -> Result<(), Error>;
    fn unregister(&mut self, token: Token) -> Result<(), Error>;
    fn select(&mut self, timeout: Option<Duration>) -> Result<Events, Error>;
    /// Whether another selector sees something to report, if it can.
    fn is_ready(&self) -> io::Result<Option<bool>>;
}

impl<B: Backend> Subject for Selector<BorrowedFd<'static>, (), B> {
    fn register(
        &mut self,
        fd: BorrowedFd<'static>,
        interest: Interest,
        mode: Mode,
    ) -> Result<Token, Error> {
        self.register_with(fd, interest, (), mode).map_err(|refused| refused.error)
    }

    fn modify(&mut self, token: Token, interest: Interest, mode: Mode) -> Result<(), Error> {
        self.modify_with(token, interest, mode)
    }

    fn rearm(&mut self, token: Token) -> Result<(), Error> {
        self.rearm(token)
    }

    fn unregister(&mut self, token: Token) -> Result<(), Error> {
        self.unregister(token).map(drop)
    }

    fn select(&mut self, timeout: Option<Duration>) -> Result<Events, Error> {
        self.select(timeout)
    }

    fn is_ready(&self) -> io::Result<Option<bool>> {
        self.backend().descriptor().map(|own| is_ready(&own, Interest::READ, 0)).transpose()
    }
}

/// A shared selector and the handles of its sources.
pub(crate) struct Shared {
    selector: SharedSelector,
    sources: BTreeMap<Token, selectors::Source<BorrowedFd<'static>>>,
}

impl Shared {
    pub(crate) fn new(backend: impl Backend + Send + 'static) -> io::Result<Self> {
        let selector = SharedSelector::with_backend(backend)?;
        Ok(Self { selector, sources: BTreeMap::new() })
    }
}

impl Subject for Shared {
    fn register(
        &mut self,
        fd: BorrowedFd<'static>,
        interest: Interest,
        mode: Mode,
    ) -> Result<Token, Error> {
        let made = self.selector.registrar().register_with(fd, interest, (), mode);
        let source = made.map_err(|refused| refused.error)?;
        let token = source.token();
        self.sources.insert(token, source);
        Ok(token)
    }

    fn modify(&mut self, token: Token, interest: Interest, mode: Mode) -> Result<(), Error> {
        self.sources[&token].modify_with(interest, mode)
    }

    fn rearm(&mut self, token: Token) -> Result<(), Error> {
        self.sources[&token].rearm()
    }

    fn unregister(&mut self, token: Token) -> Result<(), Error> {
        self.sources.remove(&token);
        Ok(())
    }

    fn select(&mut self, timeout: Option<Duration>) -> Result<Events, Error> {
        self.selector.select(timeout)
    }

    fn is_ready(&self) -> io::Result<Option<bool>> {
        self.selector.descriptor().map(|own| is_ready(&own, Interest::READ, 0)).transpose()
    }
}
