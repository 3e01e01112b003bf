//! Registering, modifying and unregistering, by any thread.

use std::io;
use std::mem;

use super::{Changes, Core, Step, watch_raw};
use crate::backend::{self, BorrowedSource, Changer, RawSource, Registered, check_open};
use crate::checks::{admit, check};
use crate::shared::slots::{Slot, State, WatchedBy};
use crate::sync::{MutexGuard, lock, try_lock};
use crate::{Error, Interest, Mode, Result, Token, Watch};

/// A source that is being registered or unregistered. Unless it stays registered, its slot is
/// retired when this is dropped, even if a backend panics.
struct Transition<'a, T> {
    core: &'a Core<T>,
    changes: MutexGuard<'a, Changes>,
    token: Token,
    slot: &'a Slot<T>,
    stays: bool,
}

impl<T> Drop for Transition<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.stays {
            self.core.retire(&mut self.changes, self.token.slot(), self.slot);
        }
    }
}

/// A source that is being modified. It is watched as before if a backend panics.
struct Arming<'a, T> {
    slot: &'a Slot<T>,
    old: State,
}

impl<T> Arming<'_, T> {
    fn ended(self) {
        mem::forget(self);
    }
}

impl<T> Drop for Arming<'_, T> {
    fn drop(&mut self) {
        self.slot.restore(self.old);
    }
}

impl<T> Transition<'_, T> {
    #[inline]
    fn insert(mut self, fd: RawSource, watched_by: WatchedBy) -> Token {
        self.stays = true;
        self.core.add_to_len(1);
        self.slot.set_fd(fd);
        self.slot.set_watched_by(watched_by);
        self.changes.by_descriptor.insert(fd, self.token.slot() as usize);
        self.token
    }

    /// Undoes a registration that was refused, and returns the error.
    #[cold]
    fn refused(self, fd: RawSource, watch: Watch, error: io::Error) -> Result<Token, (Error, T)> {
        let Some(data) = self.slot.take() else {
            // The changer reported the source and then refused it, and the waiter has already taken
            // the data.
            self.slot.arm(Watch::new(Interest::empty(), watch.mode));
            return Ok(self.insert(fd, WatchedBy::Nothing));
        };
        Err((Error::os_or_own("register", fd, error), data))
    }
}

impl<T> Core<T> {
    /// Watches a source, under a new token.
    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    pub(in crate::shared) fn register(
        &self,
        source: BorrowedSource<'_>,
        watch: Watch,
        data: T,
    ) -> Result<Token, (Error, T)> {
        let fd = backend::raw(source);
        let mut new = self.prepare(source, watch, data)?;
        match self.start(&mut new.changes, fd, new.token, watch) {
            Ok(watched_by) => {
                new.slot.accept();
                Ok(new.insert(fd, watched_by))
            }
            Err(error) => new.refused(fd, watch, error),
        }
    }

    /// Publishes a source that is to be watched.
    #[inline(never)]
    fn prepare(
        &self,
        source: BorrowedSource<'_>,
        watch: Watch,
        data: T,
    ) -> Result<Transition<'_, T>, (Error, T)> {
        if let Err(error) = self.check_fork() {
            return Err((error, data));
        }
        let mut changes = lock(&self.changes);
        if let Err(error) = self.admit(&changes, source, watch) {
            return Err((error, data));
        }
        let Some((index, slot)) = self.vacant_slot(&mut changes) else {
            let full = io::ErrorKind::OutOfMemory.into();
            return Err((Error::os("register", backend::raw(source), full), data));
        };
        // Before the kernel can report it, because the waiter must then find it.
        let token = Token::new(index, slot.publish(watch, data));
        Ok(Transition { core: self, changes, token, slot, stays: false })
    }

    /// Checks the arguments of `register`.
    fn admit(&self, changes: &Changes, source: BorrowedSource<'_>, watch: Watch) -> Result<()> {
        if changes.closed {
            return Err(Error::Closed);
        }
        let fd = backend::raw(source);
        let taken = |fd| Some(self.taken_by(changes.by_descriptor.get(fd)?, fd));
        // Whether the descriptor is one of the backend's own is checked when the source is
        // registered with it.
        admit(&self.capabilities, fd, watch, taken, |_| false)?;
        let open = if watch.interest.is_empty() { check_open(source) } else { Ok(()) };
        open.map_err(|error| Error::os("register", fd, error))
    }

    /// Why a number cannot be registered.
    #[cold]
    fn taken_by(&self, place: usize, fd: RawSource) -> Error {
        let slot =
            u32::try_from(place).ok().and_then(|index| Some((index, self.slots.get(index)?)));
        match slot {
            Some((index, slot)) => {
                let token = Token::new(index, slot.state().generation());
                Error::AlreadyRegistered { fd, token }
            }
            None => Error::own_descriptor(fd),
        }
    }

    /// An unused slot.
    fn vacant_slot(&self, changes: &mut Changes) -> Option<(u32, &Slot<T>)> {
        if changes.vacant.is_empty() {
            self.vacant.take(&self.slots, &mut changes.vacant);
        }
        if let Some(index) = changes.vacant.pop() {
            return Some((index, self.slots.get(index)?));
        }
        let index = changes.used;
        let slot = self.slots.get_or_make(index, Slot::new)?;
        changes.used += 1;
        Some((index, slot))
    }

    /// Starts watching a source that neither kernel nor backend watches.
    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn start(
        &self,
        changes: &mut Changes,
        fd: RawSource,
        token: Token,
        watch: Watch,
    ) -> io::Result<WatchedBy> {
        if watch.interest.is_empty() {
            return Ok(WatchedBy::Nothing);
        }
        let Changes { changer, access, .. } = changes;
        watch_raw(changer.as_mut(), fd, token, watch, || {
            self.with_backend(access, fd, token, Step::Register(watch))
        })
    }

    /// Modifies a source: `watch` maps the old watch to the new one. With `again` the source is
    /// modified even if the two are equal. A caller that has the file object passes its current
    /// descriptor as `now`.
    #[inline]
    pub(in crate::shared) fn modify(
        &self,
        token: Token,
        now: Option<RawSource>,
        again: bool,
        watch: impl FnOnce(Watch) -> Watch,
    ) -> Result<()> {
        self.check_fork()?;
        let mut changes = lock(&self.changes);
        let slot = self.slot(&changes, token)?;
        let (fd, old) = (slot.fd(), slot.state());
        let new = watch(old.watch());
        if new == old.watch() && old.is_armed() && !(again && new.mode == Mode::Edge) {
            return Ok(());
        }
        check(&self.capabilities, fd, new)?;
        let modes = [old.watch().mode, new.mode];
        let by_kernel = slot.watched_by() == WatchedBy::Kernel
            && !new.interest.is_empty()
            && !modes.contains(&Mode::Exclusive);
        // Armed before the kernel is, or an event that comes at once would be dropped.
        let arming = Arming { slot, old: slot.arm(new) };
        let changer = changes.changer.as_mut().filter(|_| by_kernel);
        let changed = match changer.map(|by| by.modify(fd, token, arming.old.watch(), new)) {
            Some(Ok(())) => Ok(()),
            _ => self.start_or_stop(&mut changes, token, slot, (arming.old, new), now),
        };
        arming.ended();
        changed
    }

    /// As [`modify`](Self::modify), for changes that the changer cannot make or has refused:
    /// parking and unparking, exclusive mode, sources that the backend tracks in user space.
    #[cold]
    #[inline(never)]
    fn start_or_stop(
        &self,
        changes: &mut Changes,
        token: Token,
        slot: &Slot<T>,
        (old, new): (State, Watch),
        now: Option<RawSource>,
    ) -> Result<()> {
        if slot.watched_by() == WatchedBy::Kernel && !new.interest.is_empty() {
            // The changer cannot make the change, or refused it and may have lost the source: from
            // now on the backend tracks the source.
            slot.set_watched_by(WatchedBy::Backend);
        }
        let (fd, watched_by) = (slot.fd(), slot.watched_by());
        let changed = if watched_by == WatchedBy::Nothing && now.is_some_and(|now| now != fd) {
            // The file object was replaced, or returns another descriptor than the registered one.
            Err(backend::bad_source())
        } else if watched_by == WatchedBy::Nothing {
            self.start(changes, fd, token, new)
        } else if new.interest.is_empty() {
            self.stop(changes, fd, watched_by, token, old.watch()).map(|()| WatchedBy::Nothing)
        } else {
            self.change(changes, token, slot, old.watch(), new)
        };
        match changed {
            Ok(watched_by) => {
                slot.set_watched_by(watched_by);
                Ok(())
            }
            Err(error) => Err(self.unchanged(changes, token, slot, old, error)),
        }
    }

    /// Undoes a modification that was refused, and returns the error.
    #[cold]
    fn unchanged(
        &self,
        changes: &mut Changes,
        token: Token,
        slot: &Slot<T>,
        old: State,
        error: io::Error,
    ) -> Error {
        if slot.restore(old) && slot.watched_by() != WatchedBy::Nothing {
            // Events in between were dropped, so arm it again. If this fails, too, the file was
            // closed.
            let watch = old.watch();
            let _ = self.change(changes, token, slot, watch, watch);
        }
        Error::os_or_own("modify", slot.fd(), error)
    }

    /// Stops watching a source and removes it, whatever the kernel returns.
    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    pub(in crate::shared) fn unregister(&self, token: Token) {
        if self.check_fork().is_err() {
            return self.forget_inherited(token);
        }
        let mut changes = lock(&self.changes);
        let Ok(slot) = self.slot(&changes, token) else { return };
        let (fd, watched_by, watch) = (slot.fd(), slot.watched_by(), slot.state().watch());
        // Before the system call, which evicts this from the caches.
        self.remove(&mut changes, fd);
        // If the kernel still watches the file after that, it is a ghost, which the waiter removes.
        let mut old = Transition { core: self, changes, token, slot, stays: false };
        let changes = &mut *old.changes;
        if watched_by != WatchedBy::Nothing
            && self.stop(changes, fd, watched_by, token, watch).is_err()
            && watched_by == WatchedBy::Backend
        {
            changes.access.overdue.push(Registered { fd, token, watch });
        }
    }

    /// In a forked child: removes a source. Only the parent's kernel object watches it.
    #[cold]
    fn forget_inherited(&self, token: Token) {
        // If another thread of the parent was making a change, `after_fork` fails.
        let Some(mut changes) = try_lock(&self.changes) else { return };
        let Ok(slot) = self.slot(&changes, token) else { return };
        self.remove(&mut changes, slot.fd());
        drop(Transition { core: self, changes, token, slot, stays: false });
    }

    #[inline]
    fn remove(&self, changes: &mut Changes, fd: RawSource) {
        changes.by_descriptor.remove(fd);
        self.add_to_len(1_u32.wrapping_neg());
    }

    fn change(
        &self,
        changes: &mut Changes,
        token: Token,
        slot: &Slot<T>,
        old: Watch,
        new: Watch,
    ) -> io::Result<WatchedBy> {
        let (fd, watched_by) = (slot.fd(), slot.watched_by());
        if let Some(changer) = changes.changer.as_mut().filter(|_| watched_by == WatchedBy::Kernel)
        {
            if changer.modify(fd, token, old, new).is_ok() {
                return Ok(watched_by);
            }
        }
        // As in `modify`.
        slot.set_watched_by(WatchedBy::Backend);
        self.with_backend(&mut changes.access, fd, token, Step::Modify(old, new))?;
        Ok(WatchedBy::Backend)
    }

    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn stop(
        &self,
        changes: &mut Changes,
        fd: RawSource,
        watched_by: WatchedBy,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        match &mut changes.changer {
            Some(changer) if watched_by == WatchedBy::Kernel => {
                changer.unregister(fd, token, watch)
            }
            _ => self.with_backend(&mut changes.access, fd, token, Step::Unregister(watch)),
        }
    }
}
