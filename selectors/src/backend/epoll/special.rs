//! Sources that the kernel does not report: what is always ready, and what it has lost. The beacon
//! ends the waits on their account.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use selectors_sys::epoll as sys;

use super::calls::{add, control, delete};
use super::{ALWAYS, BEACON, Epoll, NEVER};
use crate::backend::{Backend, RawSource};
use crate::{Events, Mode, Token, Watch};

impl Epoll {
    /// Watches the beacon for READ or for nothing, as what the kernel does not report needs.
    pub(super) fn keep_beacon(&mut self) -> nix::Result<()> {
        let needed = self.always.is_armed() || self.lost.is_armed();
        self.has_special |= needed;
        self.sees_to_special = needed || self.beaconing;
        if needed != self.beaconing {
            let watch = if needed { ALWAYS } else { NEVER };
            match &self.beacon {
                Some(beacon) => {
                    let number = beacon.as_raw_fd();
                    control(&self.instance, sys::EPOLL_CTL_MOD, number, BEACON, watch)?;
                }
                None => self.make_beacon(watch)?,
            }
            self.beaconing = needed;
            self.sees_to_special = needed;
        }
        Ok(())
    }

    pub(super) fn make_beacon(&mut self, watch: Watch) -> nix::Result<()> {
        let beacon = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC)?;
        add(&self.instance, beacon.as_raw_fd(), BEACON, watch)?;
        if let Some(number) = self.beacon_number.get() {
            number.store(beacon.as_raw_fd(), Ordering::Relaxed);
        }
        self.beacon = Some(beacon);
        self.has_special = true;
        Ok(())
    }

    /// Registers what the kernel refused, if there is a way.
    #[cold]
    pub(super) fn register_special(
        &mut self,
        fd: RawSource,
        token: Token,
        watch: Watch,
        error: Errno,
    ) -> io::Result<()> {
        match error {
            // The kernel would not watch it because it never blocks.
            Errno::EPERM => {
                self.always.insert(fd, token, watch)?;
                self.has_special = true;
                Ok(self.keep_beacon().inspect_err(|_| {
                    self.always.remove(fd, token);
                })?)
            }
            // An earlier registration of the same open file under the same number, whose
            // descriptor was closed behind our back and has come back.
            Errno::EEXIST => {
                delete(&self.instance, fd)?;
                Ok(add(&self.instance, fd, token, watch)?)
            }
            error => Err(error.into()),
        }
    }

    /// Modifies a source that is not the kernel's, or is to be exclusive or no longer.
    #[cold]
    pub(super) fn modify_special(
        &mut self,
        fd: RawSource,
        token: Token,
        old: Watch,
        new: Watch,
    ) -> io::Result<()> {
        if self.always.modify(fd, token, new) {
            return Ok(self.keep_beacon().inspect_err(|_| {
                self.always.modify(fd, token, old);
            })?);
        }
        if self.owns(fd) {
            // The source was closed, and its number has become one of ours.
            return Err(Errno::EBADF.into());
        }
        let exclusive = old.mode == Mode::Exclusive || new.mode == Mode::Exclusive;
        if !exclusive && !self.lost.contains(token) {
            return Ok(control(&self.instance, sys::EPOLL_CTL_MOD, fd, token, new)?);
        }
        Ok(self.exchange(fd, token, old, new)?)
    }

    /// Forgets a source that is not the kernel's. Whether the kernel does not have it.
    #[cold]
    pub(super) fn unregister_special(&mut self, fd: RawSource, token: Token) -> bool {
        if self.always.remove(fd, token) || self.lost.remove(token) {
            // If the beacon stays, it ends one more wait, which tries again.
            let _ = self.keep_beacon();
            return true;
        }
        // The source was closed, and its number has become one of ours.
        self.owns(fd)
    }

    /// Puts what the kernel does not report in the place of the beacon.
    #[cold]
    pub(super) fn report_special(&mut self, events: &mut Events) {
        events.list.retain(|event| event.token() != BEACON);
        self.always.report(events);
        if self.lost.is_armed() {
            self.restore(events);
        }
        // If the beacon stays, it ends one more wait, which tries again.
        let _ = self.keep_beacon();
    }
}
