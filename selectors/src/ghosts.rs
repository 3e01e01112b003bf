//! What the kernel reports without its being registered, and could not be stopped from reporting.

use std::io;
use std::mem;
use std::time::Duration;

use crate::backend;
use crate::timeout::ghost_pause;

/// When getting rid of ghosts is tried again after it failed: when as many waits have seen one as it
/// took calls, so that it at most doubles their cost.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// How many waits are left.
    patience: usize,
    /// Whether the last wait saw one that stays.
    seen: bool,
}

impl Ghosts {
    /// Whether a wait that saw one is to get rid of them.
    pub(crate) fn are_due(&mut self) -> bool {
        let due = self.patience == 0;
        self.patience = self.patience.saturating_sub(1);
        self.seen |= !due;
        due
    }

    /// Getting rid of them took so many calls, and failed.
    pub(crate) fn stay(&mut self, calls: usize) {
        *self = Self { patience: calls, seen: true };
    }

    /// Pauses if the last wait saw one, which would end the next wait as well. Fails if a signal
    /// ended the pause.
    pub(crate) fn pause(&mut self, left: Option<Duration>) -> io::Result<()> {
        if mem::take(&mut self.seen) { backend::pause(ghost_pause(left)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Ghosts;

    #[test]
    fn as_many_waits_pass_as_it_took_calls() {
        let mut ghosts = Ghosts::default();
        assert!(ghosts.are_due());
        assert!(!ghosts.seen, "they may be gone");
        ghosts.stay(3);
        let passed = (0..10).take_while(|_| !ghosts.are_due()).count();
        assert_eq!(passed, 3);
        assert!(ghosts.are_due());
    }
}
