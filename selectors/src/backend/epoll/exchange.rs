//! EPOLL_CTL_DEL and EPOLL_CTL_ADD where EPOLL_CTL_MOD is forbidden: for EPOLLEXCLUSIVE.

use nix::errno::Errno;

use super::calls::{add, delete_raw, wait_for_rest};
use super::{BEACON, Epoll, NEVER};
use crate::backend::{RawSource, Registered};
use crate::{Events, Interest, Mode, Token, Watch};

impl Epoll {
    /// Watches a source for `new` instead of `old`, which it has been watched for unless it was
    /// lost. What the kernel will add neither as `new` nor as `old` is lost.
    pub(super) fn exchange(
        &mut self,
        fd: RawSource,
        token: Token,
        old: Watch,
        new: Watch,
    ) -> nix::Result<()> {
        if new.mode == Mode::Exclusive && new.interest.contains(Interest::PRIORITY) {
            // What the kernel is going to refuse need not be undone.
            return Err(Errno::EINVAL);
        }
        if self.lost.contains(token) {
            add(&self.instance, fd, token, new)?;
            self.lost.remove(token);
            // If the beacon stays, it ends one more wait, which tries again.
            let _ = self.keep_beacon();
            return Ok(());
        }
        // What is lost needs it, and when it is lost it may be too late. Where descriptors have run
        // out, a wait that something else ends has to do.
        match self.beacon {
            Some(_) => {}
            None => self.make_beacon(NEVER).or_else(|error| match error {
                Errno::EMFILE | Errno::ENFILE => Ok(()),
                error => Err(error),
            })?,
        }
        delete_raw(&self.instance, fd)?;
        add(&self.instance, fd, token, new).inspect_err(|_| {
            match add(&self.instance, fd, token, old) {
                // It was there a moment ago; if it is gone, so is the old watch.
                Ok(()) | Err(Errno::EBADF) => {}
                Err(_) => {
                    self.lost.insert(Registered::new(fd, token, old));
                    let _ = self.keep_beacon();
                }
            }
        })
    }

    /// Watches what was lost. What the kernel still refuses is an ERROR, in the modes that report
    /// once, once.
    pub(super) fn restore(&mut self, events: &mut Events) {
        let Self { instance, lost, .. } = self;
        let watch =
            |source: &Registered| add(instance, source.fd, source.token, source.watch).is_ok();
        let restored = lost.restore(watch);
        lost.report(events);
        if restored {
            // This wait has not asked for them.
            events.mark_repeats();
            wait_for_rest(instance, &mut events.list);
            events.list.retain(|event| event.token() != BEACON);
        }
    }
}
