//! Replaces an epoll instance that watches closed files.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use selectors_sys::epoll as sys;

use super::calls::{
    add, control_raw, create, delete, delete_raw, is_unwatchable, wait, wait_for_rest,
};
use super::{ALWAYS, BEACON, Epoll, NEVER};
use crate::backend::{Backend, RawSource, Registered};
use crate::{Events, Mode};

impl Epoll {
    /// See [`Backend::rebuild`].
    pub(super) fn replace_instance(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        let front = match self.front.get() {
            Some(Some(front)) => Some(front),
            // Others may watch the instance itself.
            Some(None) => return Err(io::ErrorKind::Unsupported.into()),
            None => None,
        };
        let new = create()?;
        let (mut edges, mut later) = (0, Vec::new());
        for source in sources {
            // The number of a source that was closed may be one of ours.
            if self.always.contains(source.fd, source.token) || self.owns(source.fd) {
                continue;
            }
            if source.watch.mode == Mode::Edge {
                self.copy(&new, source)?;
                edges += 1;
            } else {
                later.push(source);
            }
        }
        // A new instance begins by reporting what is ready. Of an edge-triggered source that is
        // an edge only if the old one has it as well, which is asked last: so none is lost.
        if edges > 0 {
            wait(&new, &mut Vec::new(), edges, 0)?;
        }
        for source in later {
            self.copy(&new, source)?;
        }
        if let Some(beacon) = &self.beacon {
            let watch = if self.beaconing { ALWAYS } else { NEVER };
            add(&new, beacon.as_raw_fd(), BEACON, watch)?;
        }
        if let Some(front) = front {
            add(front, new.as_raw_fd(), BEACON, ALWAYS)?;
        }
        // Closing an instance does not remove it from the front where a forked child has a copy.
        let removed = wait_for_rest(&self.instance, &mut events.list)
            .and_then(|()| front.map_or(Ok(()), |front| delete(front, self.instance.as_raw_fd())));
        if let (Some(front), Err(_)) = (front, removed) {
            let _ = delete(front, new.as_raw_fd());
        }
        removed?;
        self.instance = new;
        self.always.forget_fired();
        self.lost.forget_fired();
        self.fine = None;
        Ok(())
    }

    /// Watches in the instance `new` what this one watches. A source that was closed, or whose
    /// number is another file's by now, is left out.
    fn copy(&self, new: &OwnedFd, source: Registered) -> nix::Result<()> {
        let nothing = sys::epoll_event { events: 0, u64: BEACON.to_bits() };
        // The kernel has it if it refuses to have it twice.
        match control_raw(&self.instance, sys::EPOLL_CTL_ADD, source.fd, nothing) {
            Err(Errno::EEXIST) => add(new, source.fd, source.token, source.watch),
            Ok(()) => delete(&self.instance, source.fd),
            // It is closed, or another file that cannot be watched.
            Err(Errno::EBADF | Errno::ELOOP) => Ok(()),
            Err(Errno::EPERM) if is_unwatchable(&self.instance, source.fd) => Ok(()),
            // It is a duplicate of this instance, such as a changer's.
            Err(Errno::EINVAL) if is_instance(source.fd, new) => Ok(()),
            // No memory, too many watches, or a sandbox: it may be either.
            Err(error) => Err(error),
        }
    }
}

/// Returns true if a number is that of an epoll instance, which does not watch `other`.
fn is_instance(fd: RawSource, other: &OwnedFd) -> bool {
    // Otherwise EBADF or EINVAL.
    delete_raw(&fd, other.as_raw_fd()) == Err(Errno::ENOENT)
}
