//! Sources that the kernel has lost: it has let go of them so that they could be changed, and then
//! had no memory to watch them, neither as they were to be nor as they had been.

use super::Registered;
use crate::{Event, Events, Mode, Readiness, Token};

/// Lost sources, with what they are to be watched for.
#[derive(Debug, Default)]
pub(super) struct Lost(Vec<(Registered, Armed)>);

/// Whether a source is to be watched again, and reported until that succeeds.
type Armed = bool;

impl Lost {
    /// Whether there is anything to watch again.
    #[inline]
    pub(super) fn is_armed(&self) -> bool {
        self.0.iter().any(|&(_, armed)| armed)
    }

    pub(super) fn contains(&self, token: Token) -> bool {
        self.0.iter().any(|(lost, _)| lost.token == token)
    }

    pub(super) fn insert(&mut self, source: Registered) {
        self.0.push((source, true));
    }

    /// Forgets a source, if it is one of these.
    pub(super) fn remove(&mut self, token: Token) -> bool {
        let before = self.0.len();
        self.0.retain(|(lost, _)| lost.token != token);
        self.0.len() < before
    }

    /// Has `watch` watch them again. Returns whether any is.
    pub(super) fn restore(&mut self, mut watch: impl FnMut(&Registered) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(source, armed)| !(*armed && watch(source)));
        self.0.len() < before
    }

    /// Appends an ERROR for each; in the modes that report once, once.
    pub(super) fn report(&mut self, events: &mut Events) {
        for (source, armed) in self.0.iter_mut().filter(|(_, armed)| *armed) {
            events.push(Event::new(source.token, Readiness::ERROR));
            *armed = !matches!(source.watch.mode, Mode::OneShot | Mode::Edge);
        }
    }
}
