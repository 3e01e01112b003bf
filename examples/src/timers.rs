//! Timers for a selector's loop: a heap of deadlines.
//!
//! The loop waits until the next deadline, handles ready sources, and then takes the timers that are due:
//!
//! ```
//! use selectors::{DefaultSelector, Events};
//! use selectors_examples::timers::Timers;
//! use std::net::UdpSocket;
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! let mut selector: DefaultSelector<UdpSocket> = DefaultSelector::new()?;
//! let mut events = Events::new();
//! let mut timers = Timers::new();
//! timers.insert(selector.now() + Duration::from_millis(5), "tea is ready");
//! while let Some(deadline) = timers.next_deadline() {
//!     selector.select_into_until(&mut events, Some(deadline))?;
//!     let now = selector.now();
//!     while let Some(message) = timers.pop_due(now) {
//!         assert_eq!(message, "tea is ready");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

/// Identifies a timer until it has expired or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(u64);

/// Deadlines, each with a value.
///
/// Inserting and taking cost O(log n), cancelling O(1): a cancelled timer stays in the heap until its
/// deadline, or until most of the heap is cancelled.
#[derive(Debug)]
pub struct Timers<T> {
    heap: BinaryHeap<Reverse<(Instant, TimerId)>>,
    pending: HashMap<TimerId, T>,
    next_id: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), pending: HashMap::new(), next_id: 0 }
    }
}

impl<T> Timers<T> {
    /// No timers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a timer.
    pub fn insert(&mut self, deadline: Instant, value: T) -> TimerId {
        let id = TimerId(self.next_id);
        self.next_id += 1;
        self.heap.push(Reverse((deadline, id)));
        self.pending.insert(id, value);
        id
    }

    /// Removes a timer that has not expired, and returns its value.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let value = self.pending.remove(&id)?;
        // Long timers that are always cancelled would otherwise fill the memory.
        if self.heap.len() > 2 * self.pending.len() + 64 {
            self.heap.retain(|Reverse((_, id))| self.pending.contains_key(id));
        }
        Some(value)
    }

    /// The earliest deadline, until which to wait for sources.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(&Reverse((deadline, id))) = self.heap.peek() {
            if self.pending.contains_key(&id) {
                return Some(deadline);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes the earliest timer whose deadline is not after `now`; of equal ones the oldest.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse((_, id)) = self.heap.pop()?;
        self.pending.remove(&id)
    }

    /// The number of pending timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Returns true if no timer is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn expire_in_the_order_of_their_deadlines() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for seconds in [5, 1, 4, 2, 3] {
            timers.insert(after(start, seconds), seconds);
        }
        assert_eq!(timers.next_deadline(), Some(after(start, 1)));
        assert_eq!(timers.pop_due(start), None);
        let due: Vec<u64> = std::iter::from_fn(|| timers.pop_due(after(start, 3))).collect();
        assert_eq!(due, [1, 2, 3]);
        assert_eq!((timers.len(), timers.next_deadline()), (2, Some(after(start, 4))));
    }

    #[test]
    fn equal_deadlines_expire_in_the_order_of_insertion() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for value in 0..10 {
            timers.insert(start, value);
        }
        let due: Vec<u32> = std::iter::from_fn(|| timers.pop_due(start)).collect();
        assert_eq!(due, (0..10).collect::<Vec<_>>());
        assert!(timers.is_empty());
    }

    #[test]
    fn a_cancelled_timer_neither_expires_nor_counts() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let first = timers.insert(after(start, 1), "first");
        let second = timers.insert(after(start, 2), "second");
        assert_eq!(timers.cancel(first), Some("first"));
        assert_eq!(timers.cancel(first), None);
        assert_eq!((timers.len(), timers.next_deadline()), (1, Some(after(start, 2))));
        assert_eq!(timers.pop_due(after(start, 1)), None);
        assert_eq!(timers.pop_due(after(start, 2)), Some("second"));
        assert_eq!(timers.cancel(second), None, "it has expired");
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn cancelled_timers_do_not_pile_up() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.insert(after(start, 1), 0);
        for value in 1..10_000 {
            let id = timers.insert(after(start, 1000), value);
            assert_eq!(timers.cancel(id), Some(value));
            assert!(timers.heap.len() <= 70, "{} in the heap", timers.heap.len());
        }
        assert_eq!(timers.pop_due(after(start, 1000)), Some(0));
        assert_eq!(timers.pop_due(after(start, 1000)), None);
    }
}
