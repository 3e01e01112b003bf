//! Ghosts: files that the kernel still watches and reports although their source is gone.

use std::io;
use std::mem;
use std::time::Duration;

use crate::backend;
use crate::timeout::ghost_pause;

/// Decides when to recreate the kernel object, which removes ghosts. If that failed with n sources, it is
/// tried again after n waits that reported a ghost: this adds a few system calls to each of them.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// The number of such waits until the next attempt.
    patience: usize,
    /// Whether the last wait reported a ghost that remains.
    seen: bool,
}

impl Ghosts {
    /// Called by a wait that reported a ghost. Returns true if the kernel object is to be recreated.
    pub(crate) fn are_due(&mut self) -> bool {
        let due = self.patience == 0;
        self.patience = self.patience.saturating_sub(1);
        self.seen |= !due;
        due
    }

    /// Records that recreating the kernel object failed after this many sources.
    pub(crate) fn stay(&mut self, sources: usize) {
        *self = Self { patience: sources, seen: true };
    }

    /// Pauses if the last wait reported a ghost, which would otherwise make waits spin. Fails if a signal
    /// ended the pause.
    pub(crate) fn pause(&mut self, left: Option<Duration>) -> io::Result<()> {
        if mem::take(&mut self.seen) { backend::pause(ghost_pause(left)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Ghosts;

    #[test]
    fn a_failure_delays_the_next_attempt_by_the_number_of_sources() {
        let mut ghosts = Ghosts::default();
        assert!(ghosts.are_due());
        assert!(!ghosts.seen, "they may be gone");
        ghosts.stay(3);
        let passed = (0..10).take_while(|_| !ghosts.are_due()).count();
        assert_eq!(passed, 3);
        assert!(ghosts.are_due());
    }
}
