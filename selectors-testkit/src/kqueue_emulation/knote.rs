//! A filter with its flags, which the kernels call a knote.

use std::ffi::c_void;

use nix::errno::Errno;
use selectors_sys::kqueue::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_ONESHOT,
    EV_RECEIPT, EV_SET, Filter, Flags, kevent,
};

use super::Flavor;
use super::descriptor::State;

#[derive(Debug)]
pub(super) struct Knote {
    ident: usize,
    filter: Filter,
    flags: Flags,
    udata: usize,
    disabled: bool,
    /// Whether it was added or enabled since it was last reported, so that it is reported if it is ready.
    pub(super) fresh: bool,
    /// The state that was last reported.
    pub(super) last: Option<State>,
    /// A state that is not reported again before `EV_ADD` or a change: NetBSD forgets that a dispatched
    /// filter was ready.
    muted: Option<State>,
    /// Whether it is in the kernel's queue: it was ready when it was added or last reported, and there was
    /// no wait since. It stays there if it becomes idle.
    queued: bool,
}

/// What happens to a filter after it was reported.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It is reported again while it is ready.
    Again,
    /// It is reported again after a change.
    Wait,
    /// It is deleted: `EV_ONESHOT`.
    Gone,
}

impl Knote {
    fn new(change: &kevent) -> Self {
        Self {
            ident: change.ident,
            filter: change.filter,
            flags: change.flags & (EV_CLEAR | EV_ONESHOT | EV_DISPATCH | EV_RECEIPT),
            udata: change.udata as usize,
            disabled: change.flags & EV_DISABLE != 0,
            fresh: true,
            last: None,
            muted: None,
            queued: false,
        }
    }

    /// Applies the flags of a change to a filter.
    pub(super) fn apply(
        slot: &mut Option<Self>,
        change: &kevent,
        flavor: Flavor,
    ) -> Result<(), Errno> {
        let adds = change.flags & EV_ADD != 0;
        if slot.is_none() && !adds {
            return Err(Errno::ENOENT);
        }
        if change.flags & EV_DELETE != 0 {
            *slot = None;
            return Ok(());
        }
        let Some(knote) = slot else {
            *slot = Some(Self::new(change));
            return Ok(());
        };
        // EV_CLEAR, EV_ONESHOT and EV_DISPATCH keep their first value.
        if adds {
            knote.fresh = true;
            knote.muted = None;
        }
        if adds || flavor != Flavor::NetBsd {
            knote.udata = change.udata as usize;
        }
        if change.flags & EV_DISABLE != 0 {
            knote.disabled = true;
            knote.queued = false;
        }
        if change.flags & EV_ENABLE != 0 {
            knote.disabled = false;
            knote.fresh = true;
        }
        Ok(())
    }

    pub(super) fn is_enabled(&self) -> bool {
        !self.disabled
    }

    /// Adds it to the kernel's queue, because it is ready.
    pub(super) fn queue(&mut self) {
        self.queued = !self.disabled;
    }

    pub(super) fn is_queued(&self) -> bool {
        self.queued
    }

    /// Removes it from the queue. Returns true if it is reported without being checked again, ready or
    /// not: FreeBSD, NetBSD, OpenBSD and DragonFly do so for `EV_ONESHOT` (FreeBSD 12.3: recorded;
    /// `kqueue_scan()` in `kern_event.c`). macOS checks it (`knote_process()`).
    pub(super) fn dequeue(&mut self, flavor: Flavor) -> bool {
        std::mem::take(&mut self.queued) && self.fires_once() && flavor != Flavor::MacOs
    }

    /// Returns true if `state` is to be reported. If `forced`, it may not have changed: the emulation has
    /// made epoll report it.
    pub(super) fn wants(&self, state: State, forced: bool) -> bool {
        if self.disabled || !state.ready || self.muted == Some(state) {
            return false;
        }
        let changed = self.fresh || !forced || self.last != Some(state);
        self.flags & EV_CLEAR == 0 || changed
    }

    /// The event, and what happens to the filter.
    pub(super) fn report(&mut self, state: State, flavor: Flavor) -> (kevent, After) {
        self.fresh = false;
        self.last = Some(state);
        let eof = if state.eof { EV_EOF } else { 0 };
        let dropped = if state.dropped { EV_ONESHOT } else { 0 };
        let udata = self.udata as *mut c_void;
        let flags = self.flags | eof | dropped;
        let event = EV_SET(self.ident, self.filter, flags, state.fflags, state.data, udata);
        if flags & EV_ONESHOT != 0 {
            return (event, After::Gone);
        }
        if self.flags & EV_DISPATCH != 0 {
            self.disabled = true;
            if flavor == Flavor::NetBsd {
                self.muted = Some(state);
            }
        }
        if self.disabled || self.flags & EV_CLEAR != 0 {
            return (event, After::Wait);
        }
        self.queue();
        (event, After::Again)
    }

    pub(super) fn fires_once(&self) -> bool {
        self.flags & EV_ONESHOT != 0
    }

    pub(super) fn clears(&self) -> bool {
        self.flags & EV_CLEAR != 0
    }
}
