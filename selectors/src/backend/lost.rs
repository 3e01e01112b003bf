//! Lost sources: the kernel stopped watching them because a change deletes and adds, and then had no memory
//! to add them, neither with the new interest nor with the old one.

use super::Registered;
use crate::{Event, Events, Mode, Readiness, Token};

/// Lost sources, with what each is to be watched for.
#[derive(Debug, Default)]
pub(super) struct Lost(Vec<(Registered, Armed)>);

/// Whether a source is reported, and the backend tries to watch it again.
type Armed = bool;

impl Lost {
    /// Returns true if any source is armed.
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

    /// Removes a source. Returns false if it is not one of these.
    pub(super) fn remove(&mut self, token: Token) -> bool {
        let before = self.0.len();
        self.0.retain(|(lost, _)| lost.token != token);
        self.0.len() < before
    }

    /// Removes the armed sources for which `watch` succeeds. Returns true if there was one.
    pub(super) fn restore(&mut self, mut watch: impl FnMut(&Registered) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(source, armed)| !(*armed && watch(source)));
        self.0.len() < before
    }

    /// Appends an ERROR for every armed source, and disarms it if it is one-shot or edge-triggered.
    pub(super) fn report(&mut self, events: &mut Events) {
        for (source, armed) in self.0.iter_mut().filter(|(_, armed)| *armed) {
            events.push(Event::new(source.token, Readiness::ERROR));
            *armed = !matches!(source.watch.mode, Mode::OneShot | Mode::Edge);
        }
    }
}
