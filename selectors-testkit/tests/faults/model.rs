//! What random programs know of the files that are watched, and their choices.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use selectors::{Interest, Mode, Readiness, Token};
use selectors_testkit::fixtures::unix_pair;

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
    pub(crate) source: Option<Source>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
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
        let due = |it: Source| it.armed && (it.mode != Mode::Edge || it.edge);
        self.source.is_some_and(due) && !self.readiness().is_empty()
    }
}
