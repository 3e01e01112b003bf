//! Modifying a source by EPOLL_CTL_DEL and EPOLL_CTL_ADD, because EPOLL_CTL_MOD is forbidden for
//! EPOLLEXCLUSIVE.

use nix::errno::Errno;

use super::calls::{add, delete_raw};
use super::{Epoll, NEVER};
use crate::backend::{Backend, RawSource, Registered};
use crate::{Interest, Mode, Token, Watch};

impl Epoll {
    /// Deletes a source and adds it with `new`, or with `old` again if the kernel refuses `new`. If it
    /// refuses both, the source is lost. One that is already lost is only added.
    pub(super) fn exchange(
        &mut self,
        fd: RawSource,
        token: Token,
        old: Watch,
        new: Watch,
    ) -> nix::Result<()> {
        if new.mode == Mode::Exclusive && new.interest.contains(Interest::PRIORITY) {
            // The kernel would refuse it, after the source was deleted.
            return Err(Errno::EINVAL);
        }
        if self.lost.contains(token) {
            add(&self.instance, fd, token, new)?;
            self.lost.remove(token);
            // If the beacon stays, it ends one more wait, which tries again.
            let _ = self.keep_beacon();
            return Ok(());
        }
        if self.front.get().is_some() && self.beacon.is_none() {
            // Another selector would not notice a lost source without the beacon, which may be impossible
            // to create by then. If it is now, the next wait reports the source.
            let _ = self.make_beacon(NEVER);
            if self.owns(fd) {
                // The source was closed, and its number is now the beacon's.
                return Err(Errno::EBADF);
            }
        }
        delete_raw(&self.instance, fd)?;
        add(&self.instance, fd, token, new).inspect_err(|_| {
            match add(&self.instance, fd, token, old) {
                // EBADF: another thread has closed it since it was deleted.
                Ok(()) | Err(Errno::EBADF) => {}
                Err(_) => {
                    self.lost.insert(Registered::new(fd, token, old));
                    let _ = self.keep_beacon();
                }
            }
        })
    }

    /// Adds the lost sources again, except those that the kernel still refuses.
    pub(super) fn restore(&mut self) {
        let Self { instance, lost, .. } = self;
        lost.restore(|it| add(instance, it.fd, it.token, it.watch).is_ok());
        // If the beacon stays, it ends one more wait, which tries again.
        let _ = self.keep_beacon();
    }
}
