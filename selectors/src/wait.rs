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

/// A selector that waits.
pub(crate) trait Wait {
    /// Makes the backend wait once. Returns true if the wait is over.
    fn wait_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<bool>;

    /// The time by the backend's clock.
    fn time(&self) -> Instant;

    fn spin(&mut self) -> &mut Spin;

    fn ghosts(&mut self) -> &mut Ghosts;

    fn is_interruptible(&self) -> bool;

    /// Busy-polls if spinning is due, and then blocks.
    fn spin_and_block(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<()> {
        let limit = self.spin().limit;
        if timeout.is_none() && limit.is_zero() {
            return self.block(events, None, Deadline::Never);
        }
        let start = self.time();
        let deadline = timeout.map_or(Deadline::Never, |timeout| Deadline::after(timeout, start));
        let mut now = start;
        if self.spin().is_due(start) {
            let limit = timeout.map_or(limit, |timeout| timeout.min(limit));
            let (mut found, mut took) = (false, Duration::ZERO);
            while !found && took < limit {
                found = self.wait_once(events, NOW)?;
                now = self.time();
                took = now.saturating_duration_since(start);
            }
            self.spin().ended(now, took, found);
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
            if self.ghosts().pause(timeout).is_err() && self.is_interruptible() {
                events.flags |= Flags::INTERRUPTED;
                break;
            }
        }
        Ok(())
    }
}
