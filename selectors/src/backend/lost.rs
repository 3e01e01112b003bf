//! Lost sources: the kernel stopped watching them because a change deletes and adds, and then had no memory
//! to add them, neither with the new interest nor with the old one.

use super::Registered;
use crate::{Event, Events, Mode, Readiness, Token};

/// Lost sources, with what each is to be watched for.
#[derive(Debug, Default)]
pub(super) struct Lost(Vec<(Registered, Armed)>);

/// Whether a source is reported: false for a one-shot or edge-triggered one that was.
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

    /// Returns true if any source is to be watched again: all but the one-shot ones that were reported.
    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        self.0.iter().any(is_pending)
    }

    /// Removes the pending sources for which `watch` succeeds.
    pub(super) fn restore(&mut self, mut watch: impl FnMut(&Registered) -> bool) {
        self.0.retain(|lost| !(is_pending(lost) && watch(&lost.0)));
    }

    /// Removes the one-shot sources that were reported: a recreated kernel object does not have them.
    #[cfg_attr(not(epoll), allow(dead_code, reason = "kqueue is never rebuilt"))]
    pub(super) fn forget_fired(&mut self) {
        self.0.retain(is_pending);
    }

    /// Appends an ERROR for every armed source, and disarms it if it is one-shot or edge-triggered.
    pub(super) fn report(&mut self, events: &mut Events) {
        for (source, armed) in self.0.iter_mut().filter(|(_, armed)| *armed) {
            events.push(Event::new(source.token, Readiness::ERROR));
            *armed = !matches!(source.watch.mode, Mode::OneShot | Mode::Edge);
        }
    }
}

fn is_pending((source, armed): &(Registered, Armed)) -> bool {
    *armed || source.watch.mode != Mode::OneShot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interest, Watch};

    fn token(bits: u64) -> Token {
        Token::from_bits(bits)
    }

    /// The tokens that are reported.
    fn reported(lost: &mut Lost) -> Vec<u64> {
        let mut events = Events::new();
        lost.report(&mut events);
        assert!(events.iter().all(|event| event.readiness() == Readiness::ERROR));
        events.iter().map(|event| event.token().to_bits()).collect()
    }

    #[test]
    fn lost_sources_are_reported_while_they_are_armed_and_tried_until_they_fire() {
        let mut lost = Lost::default();
        assert!(!lost.is_armed() && reported(&mut lost).is_empty());
        for (bits, mode) in [(1, Mode::Level), (2, Mode::OneShot), (3, Mode::Edge)] {
            lost.insert(Registered::new(7, token(bits), Watch::new(Interest::READ, mode)));
        }
        assert_eq!(reported(&mut lost), [1, 2, 3]);
        assert_eq!(reported(&mut lost), [1]);
        lost.forget_fired();
        assert!(!lost.contains(token(2)) && lost.contains(token(3)));
        let mut tried = Vec::new();
        let refused = |source: &Registered| {
            tried.push(source.token.to_bits());
            false
        };
        lost.restore(refused);
        assert_eq!(tried, [1, 3]);
        assert!(lost.is_armed() && lost.contains(token(1)));
        lost.restore(|source| source.token == token(1));
        assert!(!lost.is_armed() && lost.is_pending() && !lost.contains(token(1)));
        lost.restore(|_| true);
        assert!(!lost.is_pending());
    }

    #[test]
    fn one_lost_source_is_removed_alone() {
        let mut lost = Lost::default();
        for bits in [1, 2] {
            let watch = Watch::new(Interest::READ, Mode::Level);
            lost.insert(Registered::new(7, token(bits), watch));
        }
        assert!(lost.remove(token(1)));
        assert!(!lost.contains(token(1)) && lost.contains(token(2)));
        assert!(!lost.remove(token(1)));
        assert_eq!(reported(&mut lost), [2]);
    }
}
