//! Sources that the kernel does not watch: always-ready and lost ones. The beacon ends the waits while
//! one of them is to be reported.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use selectors_sys::epoll as sys;

use super::calls::{add, control, delete, is_unwatchable};
use super::{ALWAYS, BEACON, Epoll, NEVER, NO_BEACON};
use crate::backend::{Backend, RawSource};
use crate::{Events, Mode, Token, Watch};

impl Epoll {
    /// Watches the beacon for READ if a special source is to be reported, and for nothing otherwise.
    pub(super) fn keep_beacon(&mut self) -> nix::Result<()> {
        let needed = self.always.is_armed() || self.lost.is_armed();
        self.has_special |= needed;
        let pending = self.lost.is_pending();
        self.checks_special = needed || pending || self.beaconing;
        if needed != self.beaconing {
            let watch = if needed { ALWAYS } else { NEVER };
            match &self.beacon {
                Some(beacon) => {
                    let number = beacon.as_raw_fd();
                    let changed =
                        control(&self.instance, sys::EPOLL_CTL_MOD, number, BEACON, watch);
                    match changed {
                        // Every wait would end at once. Closing it cannot fail.
                        Err(_) if !needed => self.set_beacon(None),
                        changed => changed?,
                    }
                }
                None => self.make_beacon(watch)?,
            }
            self.beaconing = needed;
            self.checks_special = needed || pending;
        }
        Ok(())
    }

    /// As [`keep_beacon`](Self::keep_beacon), but fails only if another selector may watch this
    /// instance: without a beacon its own waits do not block.
    fn keep_beacon_if_watched(&mut self) -> nix::Result<()> {
        let kept = self.keep_beacon();
        if self.front.get().is_some() { kept } else { Ok(()) }
    }

    pub(super) fn make_beacon(&mut self, watch: Watch) -> nix::Result<()> {
        let beacon = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC)?;
        let number = beacon.as_raw_fd();
        // Before it is watched: from then on no change may name it.
        self.set_beacon(Some(beacon));
        add(&self.instance, number, BEACON, watch).inspect_err(|_| self.set_beacon(None))?;
        self.has_special = true;
        Ok(())
    }

    fn set_beacon(&mut self, beacon: Option<EventFd>) {
        if let Some(number) = self.beacon_number.get() {
            let fd = beacon.as_ref().map_or(NO_BEACON, EventFd::as_raw_fd);
            number.store(fd, Ordering::Relaxed);
        }
        self.beacon = beacon;
    }

    /// Registers a source that the kernel refused with `error`, if possible.
    #[cold]
    pub(super) fn register_special(
        &mut self,
        fd: RawSource,
        token: Token,
        watch: Watch,
        error: Errno,
    ) -> io::Result<()> {
        match error {
            // The file never blocks.
            Errno::EPERM if is_unwatchable(&self.instance, fd) => {
                self.always.insert(fd, token, watch)?;
                self.has_special = true;
                Ok(self.keep_beacon_if_watched().inspect_err(|_| {
                    self.always.remove(fd, token);
                })?)
            }
            // The descriptor was closed while registered, and refers to the same open file again.
            Errno::EEXIST => {
                delete(&self.instance, fd)?;
                Ok(add(&self.instance, fd, token, watch)?)
            }
            error => Err(error.into()),
        }
    }

    /// Modifies a source that may be special, or whose old or new mode is exclusive.
    #[cold]
    pub(super) fn modify_special(
        &mut self,
        fd: RawSource,
        token: Token,
        old: Watch,
        new: Watch,
    ) -> io::Result<()> {
        if let Some(before) = self.always.modify(fd, token, new) {
            return Ok(self.keep_beacon_if_watched().inspect_err(|_| {
                self.always.restore(fd, token, before);
            })?);
        }
        if self.owns(fd) {
            // The source was closed, and its number is now a descriptor of ours.
            return Err(Errno::EBADF.into());
        }
        let exclusive = old.mode == Mode::Exclusive || new.mode == Mode::Exclusive;
        if !exclusive && !self.lost.contains(token) {
            return Ok(control(&self.instance, sys::EPOLL_CTL_MOD, fd, token, new)?);
        }
        Ok(self.exchange(fd, token, old, new)?)
    }

    /// Removes a special source. Returns false if the kernel may watch it.
    #[cold]
    pub(super) fn unregister_special(&mut self, fd: RawSource, token: Token) -> bool {
        if self.always.remove(fd, token) || self.lost.remove(token) {
            // If the beacon stays, it ends one more wait, which tries again.
            let _ = self.keep_beacon();
            return true;
        }
        // The source was closed, and its number is now a descriptor of ours.
        self.owns(fd)
    }

    /// Waits, and reports the special sources as well. Does not block if one is to be reported and
    /// there is no beacon.
    #[cold]
    #[inline(never)]
    pub(super) fn wait_special(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if self.lost.is_pending() {
            self.restore();
        }
        let needs_beacon = !self.beaconing && (self.always.is_armed() || self.lost.is_armed());
        self.wait_once(events, if needs_beacon { Some(Duration::ZERO) } else { timeout })?;
        self.report_special(events);
        Ok(())
    }

    /// Replaces the events of the beacon by those of the special sources.
    fn report_special(&mut self, events: &mut Events) {
        events.list.retain(|event| event.token() != BEACON);
        self.always.report(events);
        self.lost.report(events);
        // If the beacon stays, it ends one more wait, which tries again.
        let _ = self.keep_beacon();
    }
}
