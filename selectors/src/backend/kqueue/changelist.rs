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
        // All of them or none: what does not fit may need a descriptor of ours, whose number may be
        // one that is still to be deleted.
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
            // Room for the failure of each.
            self.buffer = vec![no_event(); self.changelist.len()];
        }
        let timeout = self.time_to_wait(timeout);
        let count = self.call(timeout)?;
        // An event of a source can have an error, too; but failures come alone.
        if count == 0 || !self.buffer[..count].iter().all(is_failure) {
            self.take(count, events);
            self.report_unwatched(events);
            return Ok(());
        }
        if self.make_failures(count, changes) { self.wait(events, timeout) } else { Ok(()) }
    }

    /// Whether filters are all that a change needs.
    fn fits_changelist(&self, change: &Change) -> bool {
        let has_filter = || {
            // SAFETY: nothing is done with it but to ask what it is, if it is anything.
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

    /// Makes the changes of one descriptor by the ordinary ways, after the changelist failed.
    fn make_by_itself(&mut self, of_one: &mut [Change]) -> bool {
        for change in of_one.iter().filter(|change| change.old_watch().is_none()) {
            self.tokens.remove(change.fd());
        }
        Change::make_all(of_one, self)
    }

    /// Sees to the failures among the first `count` events in the buffer. Returns whether all
    /// changes are made now.
    fn make_failures(&mut self, count: usize, changes: &mut [Change]) -> bool {
        let mut all = true;
        let failures: Vec<_> = self.buffer[..count].iter().copied().filter(is_failure).collect();
        let mut failures = failures.iter().peekable();
        // They come in the order of the changes.
        for of_one in of_each(changes) {
            let ident = ident(of_one);
            let mut harmless = true;
            while let Some(failure) = failures.next_if(|failure| Some(failure.ident) == ident) {
                #[expect(clippy::cast_possible_truncation, reason = "an errno")]
                let error = Errno::from_raw(failure.data as i32);
                // Only deleting returns ENOENT, and then there is nothing to delete.
                harmless &= error == Errno::ENOENT;
            }
            if !harmless {
                all &= self.make_by_itself(of_one);
            }
        }
        all
    }
}

/// The changes of one descriptor stand together.
fn of_each(changes: &mut [Change]) -> impl Iterator<Item = &mut [Change]> {
    changes.chunk_by_mut(|one, other| one.fd() == other.fd())
}

/// What the kernel calls the descriptor.
fn ident(of_one: &[Change]) -> Option<usize> {
    usize::try_from(of_one.first()?.fd()).ok()
}

fn is_failure(event: &sys::kevent) -> bool {
    event.flags & sys::EV_ERROR != 0
}
