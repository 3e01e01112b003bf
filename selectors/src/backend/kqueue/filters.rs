//! Adding and removing the filters of one source.

use nix::errno::Errno;
use selectors_sys::kqueue as sys;

use super::queue::Queue;
use super::translation::{no_event, to_kqueue, to_udata};
use crate::backend::RawSource;
use crate::{Interest, Mode, Token, Watch};

impl Queue {
    /// Watches for `new` instead of `old`, as one change. If the kernel refuses it, `old` stays in
    /// place, unless the kernel has lost the source, which is returned with the error.
    pub(super) fn change(
        &self,
        fd: RawSource,
        token: Token,
        old: Option<Watch>,
        new: Option<Watch>,
    ) -> Result<(), (Errno, bool)> {
        Changes::new(fd, token, old, new).submit(self).map_err(|error| {
            let undone = Changes::new(fd, token, new, old).submit(self);
            // Closing a descriptor has removed its filters.
            (error, undone.is_err_and(|error| error != Errno::EBADF))
        })
    }
}

/// The changes for one call: at most one deletion and one addition for each direction.
pub(super) struct Changes {
    list: [sys::kevent; 4],
    count: usize,
}

impl Changes {
    /// The changes after which a source that is watched for `old` is watched for `new`.
    pub(super) fn new(fd: RawSource, token: Token, old: Option<Watch>, new: Option<Watch>) -> Self {
        let mut changes = Self { list: [no_event(); 4], count: 0 };
        let directions = [(Interest::READ, sys::EVFILT_READ), (Interest::WRITE, sys::EVFILT_WRITE)];
        for (direction, filter) in directions {
            let asks = |watch: &Watch| watch.interest.contains(direction);
            let old = old.filter(asks).map(|watch| watch.mode);
            let new = new.filter(asks).map(|watch| watch.mode);
            // Adding an existing filter changes its user data and reports it again, but does not
            // set or clear EV_CLEAR and EV_DISPATCH, nor enable a filter that EV_DISPATCH has disabled.
            // EV_ENABLE does, but NetBSD then no longer reports that it was ready.
            if old.is_some() && (old != new || old == Some(Mode::OneShot)) {
                changes.push(fd, token, filter, sys::EV_DELETE);
            }
            if let Some(mode) = new {
                changes.push(fd, token, filter, sys::EV_ADD | to_kqueue(mode));
            }
        }
        changes
    }

    fn push(&mut self, fd: RawSource, token: Token, filter: sys::Filter, flags: sys::Flags) {
        let ident = usize::try_from(fd).unwrap_or(usize::MAX);
        // With EV_RECEIPT the kernel returns a receipt for every change, and no events. Without, it
        // would stop at the first failure.
        let flags = flags | sys::EV_RECEIPT;
        self.list[self.count] = sys::EV_SET(ident, filter, flags, 0, 0, to_udata(token));
        self.count += 1;
    }

    /// The changes for the changelist of a waiting call, which returns only failures.
    pub(super) fn without_receipts(&self) -> impl Iterator<Item = sys::kevent> {
        self.list[..self.count].iter().map(|change| {
            let mut change = *change;
            change.flags &= !sys::EV_RECEIPT;
            change
        })
    }

    /// Applies every change, also after one that fails, and returns the first failure.
    pub(super) fn submit(mut self, queue: &Queue) -> nix::Result<()> {
        let deletes = self.list.map(|change| change.flags & sys::EV_DELETE != 0);
        let receipts = queue.submit(&mut self.list[..self.count])?;
        let mut result = Ok(());
        for (receipt, deletes) in self.list[..receipts].iter().zip(deletes) {
            let error = match receipt.data {
                _ if receipt.flags & sys::EV_ERROR == 0 => continue,
                0 => continue,
                #[expect(clippy::cast_possible_truncation, reason = "an errno")]
                number => Errno::from_raw(number as i32),
            };
            // The descriptor was closed (EBADF) or refers to another file, or the kernel has dropped
            // the filter because the peer of a pipe is gone (ENOENT). In any case it is deleted.
            if deletes && matches!(error, Errno::ENOENT | Errno::EBADF) {
                continue;
            }
            result = result.and(Err(error));
        }
        result
    }
}
