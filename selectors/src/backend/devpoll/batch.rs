//! Deferred changes, applied by one write.
//!
//! If the device rejects the write, the changes are applied one by one, with the error handling of single
//! changes: each sets the entry of its descriptor, whatever it was before.

use std::io;
use std::time::Duration;

use super::{Devpoll, Source, adding, check_open};
use crate::Events;
use crate::backend::{Backend, Change, borrow};

impl Devpoll {
    pub(super) fn make_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let made = self.make_together(changes) || Change::make_all(changes, self);
        if made { self.wait(events, timeout) } else { Ok(()) }
    }

    /// Applies all changes, or returns false and leaves the sources unchanged.
    fn make_together(&mut self, changes: &[Change]) -> bool {
        if !changes.iter().all(|change| change.old_watch().is_some() || Self::can_add(change)) {
            return false;
        }
        self.entries.clear();
        for change in changes {
            self.entries.extend(adding(change.fd(), change.new_watch()));
        }
        if self.device.write(&self.entries).is_err() {
            return false;
        }
        for change in changes {
            let (fd, token, watch) = (change.fd(), change.token(), change.new_watch());
            self.insert(Source::new(fd, token, watch));
        }
        true
    }

    fn can_add(change: &Change) -> bool {
        // SAFETY: passed to fcntl(2) alone, which accepts any number and changes nothing.
        let source = unsafe { borrow(change.fd()) };
        check_open(source).is_ok()
    }
}
