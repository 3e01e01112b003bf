//! Registering, modifying and unregistering, by any thread.

use std::io;
use std::mem;

use super::{Changes, Core, Step, watch_raw};
use crate::backend::{self, BorrowedSource, Changer, RawSource, Registered, check_open};
use crate::checks::{admit, check};
use crate::shared::slots::{Keeper, Slot, State};
use crate::sync::{MutexGuard, lock, try_lock};
use crate::{Error, Interest, Mode, Result, Token, Watch};

/// A source that is being registered or unregistered. Unless it stays, its slot is retired in the
/// end, also if a backend panics.
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
    fn insert(mut self, fd: RawSource, keeper: Keeper) -> Token {
        self.stays = true;
        self.core.add_to_len(1);
        self.slot.set_fd(fd);
        self.slot.set_keeper(keeper);
        self.changes.by_descriptor.insert(fd, self.token.slot() as usize);
        self.token
    }

    /// Takes back a registration that was refused, and returns the error.
    #[cold]
    fn refused(self, fd: RawSource, watch: Watch, error: io::Error) -> Result<Token, (Error, T)> {
        let Some(data) = self.slot.take() else {
            // A changer has reported what it then refused, and the waiter has the data.
            self.slot.arm(Watch::new(Interest::empty(), watch.mode));
            return Ok(self.insert(fd, Keeper::Nobody));
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
            Ok(keeper) => {
                new.slot.accept();
                Ok(new.insert(fd, keeper))
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
        // The waiter must find it as soon as the kernel has heard of it.
        let token = Token::new(index, slot.publish(watch, data));
        Ok(Transition { core: self, changes, token, slot, stays: false })
    }

    /// Refuses what the backend is not to hear of.
    fn admit(&self, changes: &Changes, source: BorrowedSource<'_>, watch: Watch) -> Result<()> {
        if changes.closed {
            return Err(Error::Closed);
        }
        let fd = backend::raw(source);
        let taken = |fd| Some(self.taken_by(changes.by_descriptor.get(fd)?, fd));
        // The backend is asked about its own descriptors when it is to watch the source.
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

    /// A slot that nobody uses.
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

    /// Has a source watched that nobody watches.
    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn start(
        &self,
        changes: &mut Changes,
        fd: RawSource,
        token: Token,
        watch: Watch,
    ) -> io::Result<Keeper> {
        if watch.interest.is_empty() {
            return Ok(Keeper::Nobody);
        }
        let Changes { changer, access, .. } = changes;
        watch_raw(changer.as_mut(), fd, token, watch, || {
            self.with_backend(access, fd, token, Step::Register(watch))
        })
    }

    /// Watches a source for what `watch` makes of what it is watched for; `again` even if that is
    /// the same. Whoever has the file object passes what its descriptor is `now`.
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
        let by_kernel = slot.keeper() == Keeper::Kernel
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

    /// As [`modify`](Self::modify), where it is not the kernel alone that watches for something
    /// else.
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
        if slot.keeper() == Keeper::Kernel && !new.interest.is_empty() {
            // What comes of this the backend has to know: the kernel may have lost the source.
            slot.set_keeper(Keeper::Backend);
        }
        let (fd, keeper) = (slot.fd(), slot.keeper());
        let changed = if keeper == Keeper::Nobody && now.is_some_and(|now| now != fd) {
            // An odd file object, or another one, whose descriptor is not what was registered.
            Err(backend::bad_source())
        } else if keeper == Keeper::Nobody {
            self.start(changes, fd, token, new)
        } else if new.interest.is_empty() {
            self.stop(changes, fd, keeper, token, old.watch()).map(|()| Keeper::Nobody)
        } else {
            self.change(changes, token, slot, old.watch(), new)
        };
        match changed {
            Ok(keeper) => {
                slot.set_keeper(keeper);
                Ok(())
            }
            Err(error) => Err(self.unchanged(changes, token, slot, old, error)),
        }
    }

    /// Takes back a modification that was refused, and returns the error.
    #[cold]
    fn unchanged(
        &self,
        changes: &mut Changes,
        token: Token,
        slot: &Slot<T>,
        old: State,
        error: io::Error,
    ) -> Error {
        if slot.restore(old) && slot.keeper() != Keeper::Nobody {
            // What came meanwhile was dropped. If this fails, too, the file is gone.
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
        let (fd, keeper, watch) = (slot.fd(), slot.keeper(), slot.state().watch());
        // Before the system call, which leaves less of this in the caches.
        self.remove(&mut changes, fd);
        // What the kernel still watches after that is a ghost, which the waiter gets rid of.
        let mut old = Transition { core: self, changes, token, slot, stays: false };
        let changes = &mut *old.changes;
        if keeper != Keeper::Nobody
            && self.stop(changes, fd, keeper, token, watch).is_err()
            && keeper == Keeper::Backend
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
    ) -> io::Result<Keeper> {
        let (fd, keeper) = (slot.fd(), slot.keeper());
        if let Some(changer) = changes.changer.as_mut().filter(|_| keeper == Keeper::Kernel) {
            if changer.modify(fd, token, old, new).is_ok() {
                return Ok(keeper);
            }
        }
        // As in `modify`.
        slot.set_keeper(Keeper::Backend);
        self.with_backend(&mut changes.access, fd, token, Step::Modify(old, new))?;
        Ok(Keeper::Backend)
    }

    #[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
    #[inline(always)]
    fn stop(
        &self,
        changes: &mut Changes,
        fd: RawSource,
        keeper: Keeper,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        match &mut changes.changer {
            Some(changer) if keeper == Keeper::Kernel => changer.unregister(fd, token, watch),
            _ => self.with_backend(&mut changes.access, fd, token, Step::Unregister(watch)),
        }
    }
}
