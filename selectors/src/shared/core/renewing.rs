//! New kernel objects for old ones, in this process and in a forked child, and the end.

use std::io;

use super::{Changes, Core, DynBackend, Keeper, Source, unregister_overdue, watch_raw};
use crate::backend::{Backend, RawSource, Registered, fork, is_lost, register_raw};
use crate::shared::slots::{Chunks, Slot};
use crate::sync::{Ordering, lock, try_lock};
use crate::waker::Wake;
use crate::{Error, Events, Result, Waker};

impl<T> Core<T> {
    /// For the waiter, between two waits: rids the kernel of what it watches beside the registered
    /// sources. Appends what the old kernel object had still to report of edge-triggered sources,
    /// and of the waker. On failure: how many calls it took.
    pub(in crate::shared) fn rebuild(
        &self,
        wake: Option<Registered>,
        events: &mut Events,
    ) -> Result<(), usize> {
        let mut changes = lock(&self.changes);
        let Changes { changer, sources, access, .. } = &mut *changes;
        let mut calls = 0;
        let slots = &self.slots;
        let armed = (0..).zip(&*sources).filter_map(|(index, source)| {
            let Source { token, fd, keeper } = (*source)?;
            let state = slots.get(index)?.state();
            let watched = keeper != Keeper::Nobody && state.is_armed();
            watched.then(|| Registered { fd, token, watch: state.watch() })
        });
        let mut armed = armed.chain(wake).inspect(|_| calls += 1);
        let rebuilt = self.desk.with(|backend| {
            if unregister_overdue(backend, &mut access.overdue) {
                return Ok(None);
            }
            backend.rebuild(&mut armed, events)?;
            // If that fails, everything goes through the backend.
            Ok::<_, io::Error>(Some(backend.changer().ok().flatten()))
        });
        drop(armed);
        match rebuilt {
            Some(Ok(Some(new))) => {
                *changer = new;
                forget_fired(slots, sources);
                Ok(())
            }
            Some(Ok(None)) => Ok(()),
            _ => Err(calls),
        }
    }

    /// For the waiter, between two waits: replaces the broken channel of its waker.
    #[cold]
    pub(in crate::shared) fn mend(&self, wake: &mut Wake) {
        // Before the desk, as by who makes a change.
        let changes = lock(&self.changes);
        let taken = |fd| changes.by_descriptor.get(fd).is_some();
        // If it fails, `wake` stays broken.
        let _ = self.desk.with(|backend| wake.mend(backend, taken));
    }

    /// As if it had been inherited by this process.
    #[cfg(all(test, loom))]
    pub(in crate::shared) fn inherit(&self) {
        self.generation.store(u32::MAX, Ordering::Relaxed);
    }

    /// In a child of fork(2): makes everything as new, and watches every source again.
    /// `new_wakes` makes wakers for the backend, with no number that is taken.
    pub(in crate::shared) fn after_fork(
        &self,
        new_wakes: impl FnOnce(&mut DynBackend, &dyn Fn(RawSource) -> bool) -> Result<(Waker, Waker)>,
    ) -> Result<()> {
        let generation = fork::watch();
        if fork::is_ours(self.generation.load(Ordering::Relaxed)) {
            return Ok(());
        }
        // Another thread of the parent had it, and will never give it back here.
        let Some(mut changes) = try_lock(&self.changes) else { return Err(Error::Forked) };
        let Changes { sources, by_descriptor, changer, access, user_waker, front, .. } =
            &mut *changes;
        *changer = None;
        *front = None;
        let renewed = self.desk.with(|backend| -> Result<()> {
            // Before anything is opened, which may get the numbers of closed sources.
            for source in sources.iter_mut().flatten() {
                if is_lost(backend, source.fd) {
                    source.keeper = Keeper::Nobody;
                }
            }
            backend.after_fork().map_err(Error::after_fork)?;
            access.overdue.clear();
            let taken = |fd| by_descriptor.get(fd).is_some();
            (access.waker, *user_waker) = new_wakes(backend, &taken)?;
            *changer = backend.changer().map_err(Error::after_fork)?;
            forget_fired(&self.slots, sources);
            for (index, source) in (0..).zip(sources) {
                let Some(source) = source else { continue };
                let Some(slot) = self.slots.get(index) else { continue };
                if source.keeper == Keeper::Nobody {
                    continue;
                }
                let (fd, token, watch) = (source.fd, source.token, slot.state().watch());
                let started = watch_raw(changer.as_mut(), fd, token, watch, || {
                    register_raw(backend, fd, token, watch)
                });
                source.keeper = started.map_err(|error| Error::os("register", fd, error))?;
            }
            Ok(())
        });
        renewed.unwrap_or(Err(Error::Closed))?;
        self.generation.store(generation, Ordering::Relaxed);
        Ok(())
    }

    /// Gives up the backend and all data. What other threads ask for from now on is refused.
    pub(in crate::shared) fn close(&self) {
        if self.check_fork().is_err() {
            // Its locks may be held for ever. The parent's is not affected when this is dropped.
            return;
        }
        let mut changes = lock(&self.changes);
        changes.closed = true;
        changes.changer = None;
        drop(self.desk.take());
        drop(changes);
        // The data may hold handles, and these the core.
        self.slots.iter().for_each(|slot| drop(slot.take()));
    }
}

/// Takes note that the backend has none of the one-shot sources that had fired.
fn forget_fired<T>(slots: &Chunks<Slot<T>>, sources: &mut [Option<Source>]) {
    for (index, source) in (0..).zip(sources) {
        let armed = slots.get(index).is_some_and(|slot| slot.state().is_armed());
        if let Some(source) = source.as_mut().filter(|_| !armed) {
            source.keeper = Keeper::Nobody;
        }
    }
}
