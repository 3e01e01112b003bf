//! Replacing kernel objects, in this process and in a forked child, and closing the selector.

use std::io;

use super::{Changes, Core, DynBackend, unregister_overdue, watch_raw};
use crate::backend::{AnyChanger, Backend, Registered, fork, is_lost, register_raw};
use crate::shared::selector::wakes;
use crate::shared::slots::WatchedBy;
use crate::sync::{Ordering, lock, try_lock};
use crate::waker::Wake;
use crate::{Error, Events, Result};

impl<T> Core<T> {
    /// For the waiter, between two waits: recreates the kernel object, which then watches the
    /// registered sources only. Appends the pending events of edge-triggered sources and of the
    /// waker. Returns false if the [changer](Self::renew_changer) is missing; on failure, the number of
    /// sources that it had come to.
    pub(in crate::shared) fn rebuild(
        &self,
        wake: Option<Registered>,
        events: &mut Events,
    ) -> Result<bool, usize> {
        let mut changes = lock(&self.changes);
        let Changes { changer, access, used, .. } = &mut *changes;
        let mut count = 0;
        let armed = self.sources(*used).filter_map(|(token, slot)| {
            let state = slot.state();
            let watched = slot.watched_by() != WatchedBy::Nothing && state.is_armed();
            watched.then(|| Registered { fd: slot.fd(), token, watch: state.watch() })
        });
        let mut armed = armed.chain(wake).inspect(|_| count += 1);
        let rebuilt = self.handoff.with(|backend| {
            if !unregister_overdue(backend, &mut access.overdue) {
                backend.rebuild(&mut armed, events)?;
                self.forget_fired(*used);
                return Ok(renew(changer, backend));
            }
            Ok::<_, io::Error>(true)
        });
        drop(armed);
        if let Some(Ok(renewed)) = rebuilt { Ok(renewed) } else { Err(count) }
    }

    /// For the waiter, between two waits: creates the changer of a new kernel object. Returns false if
    /// that fails: then all changes go through the backend.
    #[cold]
    pub(in crate::shared) fn renew_changer(&self) -> bool {
        let changer = &mut lock(&self.changes).changer;
        self.handoff.with(|backend| renew(changer, backend)).unwrap_or(true)
    }

    /// For the waiter, between two waits: replaces the broken channel of its waker.
    #[cold]
    pub(in crate::shared) fn mend(&self, wake: &mut Wake) {
        // Locked before the backend, in the same order as by threads that make changes.
        let Changes { by_descriptor, channel, .. } = &mut *lock(&self.changes);
        let taken = |fd| *channel != Some(fd) && by_descriptor.get(fd).is_some();
        // If it fails, `wake` stays broken.
        let _ = self.handoff.with(|backend| wake.mend(backend, taken));
        by_descriptor.reserve(channel, wake.number());
    }

    /// Makes the selector look as if this process had inherited it.
    #[cfg(all(test, loom))]
    pub(in crate::shared) fn inherit(&self) {
        self.generation.store(u32::MAX, Ordering::Relaxed);
    }

    /// In a child of fork(2): creates a kernel object and wakers, and watches every source again.
    pub(in crate::shared) fn after_fork(&self, wake: &mut Wake, user: &mut Wake) -> Result<()> {
        let generation = fork::watch();
        if fork::is_ours(self.generation.load(Ordering::Relaxed)) {
            return Ok(());
        }
        // A thread of the parent held the lock; in this process it is never released.
        let Some(mut changes) = try_lock(&self.changes) else { return Err(Error::Forked) };
        let Changes { by_descriptor, used, changer, access, user_waker, front, channel, .. } =
            &mut *changes;
        *changer = None;
        by_descriptor.reserve(front, None);
        by_descriptor.reserve(channel, None);
        let renewed = self.handoff.with(|backend| -> Result<()> {
            // Before a descriptor is opened, which may get the number of a closed source.
            for (_, slot) in self.sources(*used) {
                if is_lost(backend, slot.fd()) {
                    slot.set_watched_by(WatchedBy::Nothing);
                }
            }
            backend.after_fork().map_err(Error::after_fork)?;
            access.overdue.clear();
            (*wake, *user) = wakes(backend, |fd| by_descriptor.get(fd).is_some())?;
            (access.waker, *user_waker) = (wake.waker(), user.waker());
            by_descriptor.reserve(channel, wake.number());
            *changer = backend.changer().map_err(Error::after_fork)?;
            self.forget_fired(*used);
            for (token, slot) in self.sources(*used) {
                if slot.watched_by() == WatchedBy::Nothing {
                    continue;
                }
                let (fd, watch) = (slot.fd(), slot.state().watch());
                let started = watch_raw(changer.as_mut(), fd, token, watch, || {
                    register_raw(backend, fd, token, watch)
                });
                slot.set_watched_by(started.map_err(|error| Error::os("register", fd, error))?);
            }
            Ok(())
        });
        renewed.unwrap_or(Err(Error::Closed))?;
        self.generation.store(generation, Ordering::Relaxed);
        Ok(())
    }

    /// Drops the backend and all data. Later calls of other threads are refused.
    pub(in crate::shared) fn close(&self) {
        if self.check_fork().is_err() {
            // The locks may never be released. Dropping this does not affect the parent's selector.
            return;
        }
        let mut changes = lock(&self.changes);
        changes.closed = true;
        changes.changer = None;
        drop(self.handoff.take());
        drop(changes);
        // The data may contain handles, which refer to the core.
        self.slots.iter().for_each(|slot| drop(slot.take()));
    }
}

/// Replaces the changer by one of this backend. Returns false if that fails.
fn renew(changer: &mut Option<AnyChanger>, backend: &DynBackend) -> bool {
    // First, because its descriptor may be the only one that is free then.
    *changer = None;
    backend.changer().map(|new| *changer = new).is_ok()
}
