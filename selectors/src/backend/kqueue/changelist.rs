//! Deferred changes as the changelist of the waiting kevent(2) call.
//!
//! kevent(2) applies its changelist in order and then waits. If any change failed, it returns the
//! failures instead, each as an event with `EV_ERROR`, and does not wait. Usually, any number of changes
//! therefore costs one call. A failed change is made again as a single change, with its error handling,
//! unless the failure means that a filter was already gone.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::kqueue as sys;

use super::Kqueue;
use super::filters::Changes;
use super::kind::Kind;
use super::translation::no_event;
use crate::Events;
use crate::backend::{Backend, Change, borrow};

impl Kqueue {
    pub(super) fn submit_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if changes.is_empty() {
            return self.wait(events, timeout);
        }
        // All of them or none: a change that does not fit may open a descriptor of ours, with the number of
        // a source whose filters an earlier change has to delete.
        if !changes.iter().all(|change| self.fits_changelist(change)) {
            return if Change::make_all(changes, self) {
                self.wait(events, timeout)
            } else {
                Ok(())
            };
        }
        for change in changes.iter() {
            self.push_change(change);
        }
        if self.buffer.len() < self.changelist.len() {
            // Every change may fail.
            self.buffer = vec![no_event(); self.changelist.len()];
        }
        let timeout = self.time_to_wait(timeout);
        let count = self.call(timeout)?;
        // An event may have `EV_ERROR` as well, but then not all have it: failures are returned without
        // events.
        if count == 0 || !self.buffer[..count].iter().all(is_failure) {
            self.append(count, events);
            self.report_unwatched(events);
            return Ok(());
        }
        if self.retry_failed(count, changes) { self.wait(events, timeout) } else { Ok(()) }
    }

    /// Returns true if a change needs only filters.
    fn fits_changelist(&self, change: &Change) -> bool {
        let has_filter = || {
            // SAFETY: passed to fstat(2) alone, which accepts any number and changes nothing.
            let source = unsafe { borrow(change.fd()) };
            Kind::of(source).is_ok_and(Kind::has_filters)
        };
        self.fallback.is_none()
            && !self.queue.is_beacon(change.fd())
            && !self.always.contains(change.fd(), change.token())
            && !self.lost.contains(change.token())
            && (change.old_watch().is_some() || has_filter())
    }

    fn push_change(&mut self, change: &Change) {
        let (fd, token) = (change.fd(), change.token());
        let filters = Changes::new(fd, token, change.old_watch(), Some(change.new_watch()));
        self.changelist.extend(filters.without_receipts());
        if change.old_watch().is_none() {
            self.tokens.insert(fd, token);
        }
    }

    /// Applies the changes of one descriptor as single changes, after the changelist failed.
    fn make_singly(&mut self, of_one: &mut [Change]) -> bool {
        for change in of_one.iter().filter(|change| change.old_watch().is_none()) {
            self.tokens.remove(change.fd());
        }
        Change::make_all(of_one, self)
    }

    /// Retries the changes whose failures are the first `count` events of the buffer. Returns true if all
    /// changes are applied.
    fn retry_failed(&mut self, count: usize, changes: &mut [Change]) -> bool {
        let mut all = true;
        let failures: Vec<_> = self.buffer[..count].iter().copied().filter(is_failure).collect();
        let mut failures = failures.iter().peekable();
        // They are in the order of the changes.
        for of_one in by_descriptor(changes) {
            let ident = ident(of_one);
            let mut harmless = true;
            while let Some(failure) = failures.next_if(|failure| Some(failure.ident) == ident) {
                #[expect(clippy::cast_possible_truncation, reason = "an errno")]
                let error = Errno::from_raw(failure.data as i32);
                // ENOENT: a filter that was to be deleted does not exist.
                harmless &= error == Errno::ENOENT;
            }
            if !harmless {
                all &= self.make_singly(of_one);
            }
        }
        all
    }
}

/// Groups the changes by descriptor. Those of one descriptor are adjacent.
fn by_descriptor(changes: &mut [Change]) -> impl Iterator<Item = &mut [Change]> {
    changes.chunk_by_mut(|one, other| one.fd() == other.fd())
}

/// The `ident` of the descriptor.
fn ident(of_one: &[Change]) -> Option<usize> {
    usize::try_from(of_one.first()?.fd()).ok()
}

fn is_failure(event: &sys::kevent) -> bool {
    event.flags & sys::EV_ERROR != 0
}
