//! How either selector waits beyond a single call of its backend: it busy-polls where that pays off,
//! and blocks until there are events or the deadline has passed.

use std::time::{Duration, Instant};

use crate::event::Flags;
use crate::ghosts::Ghosts;
use crate::spin::Spin;
use crate::timeout::Deadline;
use crate::{Events, Result};

/// The timeout that does not block.
pub(crate) const NOW: Option<Duration> = Some(Duration::ZERO);

/// How a selector waits, and what it remembers of earlier waits.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// `None` if no wait spins.
    pub(crate) spin: Option<Box<Spin>>,
    pub(crate) ghosts: Ghosts,
    pub(crate) interruptible: bool,
}

/// A selector that waits.
pub(crate) trait Wait {
    /// Makes the backend wait once. Returns true if the wait is over.
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<bool>;

    /// The time by the backend's clock.
    fn time(&self) -> Instant;

    fn pace(&mut self) -> &mut Pace;

    /// Returns true if waits with a timeout poll first without blocking. Such a poll does not notice a
    /// signal handler.
    fn polls_first(&self) -> bool;

    /// Polls first without blocking if that is cheap or spinning may be due, busy-polls if it is, and
    /// then blocks.
    #[inline(never)]
    fn wait_on(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<()> {
        let rests = self.pace().spin.as_mut().is_none_or(|spin| spin.rests());
        // Polling first, where that is cheap, avoids a kernel timer and reading the clock.
        let polls_first = !rests || timeout.is_some() && self.polls_first();
        if polls_first && self.wait_once(events, NOW)? {
            return Ok(());
        }
        if timeout.is_none() && rests {
            return self.block(events, None, Deadline::Never);
        }
        let start = self.time();
        let deadline = timeout.map_or(Deadline::Never, |timeout| Deadline::after(timeout, start));
        let mut now = start;
        let spin = self.pace().spin.as_mut().filter(|_| !rests);
        if let Some(limit) = spin.and_then(|spin| spin.due(start)) {
            let limit = timeout.map_or(limit, |timeout| timeout.min(limit));
            let (mut found, mut took) = (false, Duration::ZERO);
            while !found && took < limit {
                found = self.wait_once(events, NOW)?;
                now = self.time();
                took = now.saturating_duration_since(start);
            }
            if let Some(spin) = &mut self.pace().spin {
                spin.ended(now, took, found);
            }
            if found {
                return Ok(());
            }
        }
        self.block(events, deadline.remaining(|| now), deadline)
    }

    /// Waits until there are events or the deadline has passed.
    fn block(
        &mut self,
        events: &mut Events,
        mut timeout: Option<Duration>,
        deadline: Deadline,
    ) -> Result<()> {
        while !self.wait_once(events, timeout)? {
            timeout = deadline.remaining(|| self.time());
            if timeout == NOW {
                break;
            }
            let pace = self.pace();
            if pace.ghosts.pause(timeout).is_err() && pace.interruptible {
                events.flags |= Flags::INTERRUPTED;
                break;
            }
        }
        Ok(())
    }
}
