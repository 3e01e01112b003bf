//! What the waiter and everybody else share.

use std::fmt;
use std::io;
use std::time::Instant;

use super::desk::Desk;
use super::slots::{Chunks, Slot, Stack, State};
use crate::backend::{
    self, Backend, BorrowedSource, Capabilities, Changer, OwnedSource, RawSource, Registered,
    check_open, fork, is_open, is_plausible, register_raw, register_raw_with,
};
use crate::index::DescriptorIndex;
use crate::selector::check;
use crate::sync::{AtomicU32, Mutex, Ordering, lock};
use crate::{Error, Events, Interest, Mode, Result, Token, Waker, Watch};

pub(super) type DynBackend = Box<dyn Backend + Send>;

/// Whenever so many sources were unregistered, the waiter is woken to make their slots vacant.
const MANY_RETIRED: usize = 4096;

pub(super) struct Core<T> {
    pub(super) slots: Chunks<Slot<T>>,
    pub(super) capabilities: Capabilities,
    /// The [generation](fork::generation) of the process that the selector belongs to.
    generation: AtomicU32,
    pub(super) desk: Desk<DynBackend>,
    /// Held while something changes, also during its system call, and never needed by a wait.
    changes: Mutex<Changes>,
    /// How many sources are registered.
    len: AtomicU32,
    /// What users had when the selector was made.
    first_waker: Waker,
    /// Slots on their way to the waiter, who makes them vacant.
    retired: Stack,
    /// And back.
    vacant: Stack,
}

/// What is known of the sources by those who change them.
struct Changes {
    access: Access,
    /// What users have.
    user_waker: Waker,
    changer: Option<Box<dyn Changer>>,
    /// By slot.
    sources: Vec<Option<Source>>,
    by_descriptor: DescriptorIndex,
    vacant: Vec<u32>,
    /// How many sources were unregistered.
    retired: usize,
    /// The number of the descriptor that the user has of the selector.
    front: Option<RawSource>,
    closed: bool,
}

/// What those who change something need to get at the backend.
struct Access {
    /// Brings the waiter back without ending its `select`.
    waker: Waker,
    /// What the backend still is to unregister, since the waiter could not be woken.
    overdue: Vec<Registered>,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    token: Token,
    fd: RawSource,
    keeper: Keeper,
}

/// Who has a source watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// It is parked, or had fired when the backend got a new kernel object.
    Nobody,
    /// The kernel alone.
    Kernel,
    /// The backend.
    Backend,
}

impl Changes {
    fn token_of(&self, fd: RawSource) -> Option<Token> {
        self.sources.get(self.by_descriptor.get(fd)?)?.map(|source| source.token)
    }

    fn insert(&mut self, token: Token, fd: RawSource, keeper: Keeper) -> Token {
        let index = token.slot() as usize;
        self.sources[index] = Some(Source { token, fd, keeper });
        self.by_descriptor.insert(fd, index);
        token
    }

    fn source(&mut self, token: Token) -> Result<&mut Source> {
        if self.closed {
            return Err(Error::Closed);
        }
        let source = self.sources.get_mut(token.slot() as usize).and_then(Option::as_mut);
        source.filter(|source| source.token == token).ok_or(Error::NotRegistered { token })
    }
}

impl<T> Core<T> {
    pub(super) fn new(
        backend: DynBackend,
        changer: Option<Box<dyn Changer>>,
        capabilities: Capabilities,
        (waker, user_waker): (Waker, Waker),
    ) -> Self {
        Self {
            slots: Chunks::new(),
            capabilities,
            generation: AtomicU32::new(fork::watch()),
            desk: Desk::new(backend),
            len: AtomicU32::new(0),
            first_waker: user_waker.clone(),
            changes: Mutex::new(Changes {
                access: Access { waker, overdue: Vec::new() },
                user_waker,
                changer,
                sources: Vec::new(),
                by_descriptor: DescriptorIndex::default(),
                vacant: Vec::new(),
                retired: 0,
                front: None,
                closed: false,
            }),
            retired: Stack::new(),
            vacant: Stack::new(),
        }
    }

    /// Refuses what was inherited by a child of fork(2), before it touches a lock.
    #[inline]
    pub(super) fn check_fork(&self) -> Result<()> {
        let ours = fork::is_ours(self.generation.load(Ordering::Relaxed));
        if ours { Ok(()) } else { Err(Error::Forked) }
    }

    /// The moment by the backend's clock.
    pub(super) fn now(&self) -> Instant {
        let now = self.desk.with(|| Ok(()), |backend| backend.now());
        now.ok().flatten().unwrap_or_else(Instant::now)
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    /// Only those who have locked `changes` do this: a read-modify-write would be a waste.
    fn add_to_len(&self, difference: u32) {
        let len = self.len.load(Ordering::Relaxed);
        self.len.store(len.wrapping_add(difference), Ordering::Relaxed);
    }

    fn insert(&self, changes: &mut Changes, token: Token, fd: RawSource, keeper: Keeper) -> Token {
        self.add_to_len(1);
        changes.insert(token, fd, keeper)
    }

    /// Watches a source, under a new token.
    pub(super) fn register(
        &self,
        source: BorrowedSource<'_>,
        watch: Watch,
        data: T,
    ) -> Result<Token, (Error, T)> {
        if let Err(error) = self.check_fork() {
            return Err((error, data));
        }
        let fd = backend::raw(source);
        let mut changes = lock(&self.changes);
        if let Err(error) = self.admit(&changes, source, watch) {
            return Err((error, data));
        }
        let Some((index, slot)) = self.vacant_slot(&mut changes) else {
            let full = io::ErrorKind::OutOfMemory.into();
            return Err((Error::os("register", fd, full), data));
        };
        // The waiter must find it as soon as the kernel has heard of it.
        let token = Token::new(index, slot.publish(watch, data));
        match self.start(&mut changes, fd, token, watch) {
            Ok(keeper) => {
                slot.accept();
                Ok(self.insert(&mut changes, token, fd, keeper))
            }
            Err(error) => {
                let Some(data) = slot.take() else {
                    // A changer has reported what it then refused, and the waiter has the data.
                    slot.arm(Watch::new(Interest::empty(), watch.mode));
                    return Ok(self.insert(&mut changes, token, fd, Keeper::Nobody));
                };
                self.retire(&mut changes, index, slot);
                Err((Error::os_or_own("register", fd, error), data))
            }
        }
    }

    /// Refuses what the backend is not to hear of.
    fn admit(&self, changes: &Changes, source: BorrowedSource<'_>, watch: Watch) -> Result<()> {
        if changes.closed {
            return Err(Error::Closed);
        }
        let fd = backend::raw(source);
        check(&self.capabilities, fd, watch)?;
        let failed = |error| Error::os("register", fd, error);
        if !is_plausible(fd) {
            return Err(failed(backend::bad_source()));
        }
        if let Some(token) = changes.token_of(fd) {
            return Err(Error::AlreadyRegistered { fd, token });
        }
        if changes.front == Some(fd) || changes.access.waker.owns(fd) {
            return Err(Error::own_descriptor(fd));
        }
        if let Some(limit) = self.capabilities.max_descriptor.filter(|&limit| fd > limit) {
            return Err(Error::DescriptorOutOfRange { fd, limit });
        }
        if watch.interest.is_empty() { check_open(source).map_err(failed) } else { Ok(()) }
    }

    /// A slot that nobody uses.
    fn vacant_slot(&self, changes: &mut Changes) -> Option<(u32, &Slot<T>)> {
        if changes.vacant.is_empty() {
            self.vacant.take(&self.slots, &mut changes.vacant);
        }
        let index = match changes.vacant.pop() {
            Some(index) => index,
            None => u32::try_from(changes.sources.len()).ok()?,
        };
        let slot = self.slots.get_or_make(index, Slot::new)?;
        if index as usize == changes.sources.len() {
            changes.sources.push(None);
        }
        Some((index, slot))
    }

    /// Has a source watched that nobody watches.
    #[inline]
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
        watch_raw(changer.as_deref_mut(), fd, token, watch, || {
            self.with_backend(access, |backend| {
                if backend.owns(fd) {
                    return Err(Error::own_descriptor(fd).into());
                }
                register_raw(backend, fd, token, watch)
            })
        })
    }

    /// Watches a source for what `watch` makes of what it is watched for; `again` even if that is
    /// the same. Whoever has the file object passes what it is now.
    pub(super) fn modify(
        &self,
        token: Token,
        source: Option<BorrowedSource<'_>>,
        again: bool,
        watch: impl FnOnce(Watch) -> Watch,
    ) -> Result<()> {
        self.check_fork()?;
        let mut changes = lock(&self.changes);
        let Source { fd, keeper, .. } = *changes.source(token)?;
        let Some(slot) = self.slots.get(token.slot()) else { return Err(Error::Closed) };
        let old = slot.state();
        let new = watch(old.watch());
        if new == old.watch() && old.is_armed() && !(again && new.mode == Mode::Edge) {
            return Ok(());
        }
        check(&self.capabilities, fd, new)?;
        let modes = [old.watch().mode, new.mode];
        let exclusive = modes.contains(&Mode::Exclusive);
        // Armed before the kernel is, or an event that comes at once would be dropped.
        let old = slot.arm(new);
        if keeper == Keeper::Kernel && !new.interest.is_empty() && !exclusive {
            if let Some(changer) = &mut changes.changer {
                if changer.modify(fd, token, old.watch(), new).is_ok() {
                    return Ok(());
                }
            }
        }
        if keeper == Keeper::Kernel && !new.interest.is_empty() {
            // What comes of this the backend has to know: the kernel may have lost the source.
            changes.source(token)?.keeper = Keeper::Backend;
        }
        let replaced = source.is_some_and(|source| backend::raw(source) != fd);
        self.start_or_stop(&mut changes, token, slot, (old, new), replaced)
    }

    /// As [`modify`](Self::modify), where it is not the kernel alone that watches for something
    /// else.
    #[inline(never)]
    fn start_or_stop(
        &self,
        changes: &mut Changes,
        token: Token,
        slot: &Slot<T>,
        (old, new): (State, Watch),
        replaced: bool,
    ) -> Result<()> {
        let Source { fd, keeper, .. } = *changes.source(token)?;
        let changed = if keeper == Keeper::Nobody && replaced {
            // An odd file object, or another one, whose descriptor is not what was registered.
            Err(backend::bad_source())
        } else if keeper == Keeper::Nobody {
            self.start(changes, fd, token, new)
        } else if new.interest.is_empty() {
            self.stop(changes, fd, keeper, token, old.watch()).map(|()| Keeper::Nobody)
        } else {
            self.change(changes, token, old.watch(), new)
        };
        match changed {
            Ok(keeper) => {
                changes.source(token)?.keeper = keeper;
                Ok(())
            }
            Err(error) => Err(self.refused(changes, token, slot, old, error)),
        }
    }

    /// Takes back a modification that was refused, and returns the error.
    #[cold]
    fn refused(
        &self,
        changes: &mut Changes,
        token: Token,
        slot: &Slot<T>,
        old: State,
        error: io::Error,
    ) -> Error {
        let Source { fd, keeper, .. } = match changes.source(token) {
            Ok(source) => *source,
            Err(error) => return error,
        };
        if slot.restore(old) && keeper != Keeper::Nobody {
            // What came meanwhile was dropped. If this fails, too, the file is gone.
            let watch = old.watch();
            let _ = self.change(changes, token, watch, watch);
        }
        Error::os_or_own("modify", fd, error)
    }

    /// Stops watching a source and removes it, whatever the kernel returns.
    pub(super) fn unregister(&self, token: Token) {
        if self.check_fork().is_err() {
            return;
        }
        let mut changes = lock(&self.changes);
        let Ok(&mut Source { fd, keeper, .. }) = changes.source(token) else { return };
        let Some(slot) = self.slots.get(token.slot()) else { return };
        let watch = slot.state().watch();
        if keeper != Keeper::Nobody
            && self.stop(&mut changes, fd, keeper, token, watch).is_err()
            && keeper == Keeper::Backend
        {
            changes.access.overdue.push(Registered { fd, token, watch });
        }
        // What the kernel still watches is a ghost, which the waiter gets rid of.
        changes.sources[token.slot() as usize] = None;
        changes.by_descriptor.remove(fd);
        self.add_to_len(1_u32.wrapping_neg());
        self.retire(&mut changes, token.slot(), slot);
    }

    fn change(
        &self,
        changes: &mut Changes,
        token: Token,
        old: Watch,
        new: Watch,
    ) -> io::Result<Keeper> {
        let Source { fd, keeper, .. } = *changes.source(token)?;
        if let Some(changer) = changes.changer.as_mut().filter(|_| keeper == Keeper::Kernel) {
            if changer.modify(fd, token, old, new).is_ok() {
                return Ok(keeper);
            }
        }
        // As in `modify`.
        changes.source(token)?.keeper = Keeper::Backend;
        self.with_backend(&mut changes.access, |backend| backend.modify(fd, token, old, new))?;
        Ok(Keeper::Backend)
    }

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
            _ => self
                .with_backend(&mut changes.access, |backend| backend.unregister(fd, token, watch)),
        }
    }

    /// Does something with the backend, between two of the waiter's calls.
    #[inline(never)]
    fn with_backend<R>(
        &self,
        Access { waker, overdue }: &mut Access,
        act: impl FnOnce(&mut DynBackend) -> io::Result<R>,
    ) -> io::Result<R> {
        let done = self.desk.with(
            || Ok(waker.wake()?),
            |backend| {
                unregister_overdue(backend, overdue);
                act(backend)
            },
        )?;
        done.unwrap_or_else(|| Err(Error::Closed.into()))
    }

    #[inline]
    fn retire(&self, changes: &mut Changes, index: u32, slot: &Slot<T>) {
        slot.retire();
        self.retired.push(index, slot);
        changes.retired += 1;
        if changes.retired % MANY_RETIRED == 0 {
            // If it fails, they are made vacant later.
            let _ = changes.access.waker.wake();
        }
    }

    /// For the waiter: appends the retired slots to `list`.
    #[inline]
    pub(super) fn take_retired(&self, list: &mut Vec<u32>) {
        self.retired.take(&self.slots, list);
    }

    /// Makes a retired slot vacant, and returns its data.
    pub(super) fn reclaim(&self, index: u32) -> Option<T> {
        let slot = self.slots.get(index)?;
        let (next, data) = slot.reclaim();
        // One that is out of generations is not used again.
        if next.is_some() {
            self.vacant.push(index, slot);
        }
        data
    }

    /// For the waiter, between two waits: rids the kernel of what it watches beside the registered
    /// sources. Appends what the old kernel object had still to report of edge-triggered sources,
    /// and of the waker. On failure: how many calls it took.
    pub(super) fn rebuild(
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
        // Nobody else is at the desk.
        let rebuilt = self.desk.with(
            || Ok(()),
            |backend| {
                if unregister_overdue(backend, &mut access.overdue) {
                    return Ok(None);
                }
                backend.rebuild(&mut armed, events)?;
                // If that fails, everything goes through the backend.
                Ok::<_, io::Error>(Some(backend.changer().ok().flatten()))
            },
        );
        drop(armed);
        match rebuilt {
            Ok(Some(Ok(Some(new)))) => {
                *changer = new;
                forget_fired(slots, sources);
                Ok(())
            }
            Ok(Some(Ok(None))) => Ok(()),
            _ => Err(calls),
        }
    }

    /// Whether a number is that of a source, for the waker's channel.
    pub(super) fn is_taken(&self, fd: RawSource) -> bool {
        // Whoever changes something may wait for the desk, where this is asked.
        self.changes.try_lock().is_ok_and(|changes| changes.by_descriptor.get(fd).is_some())
    }

    /// The descriptor of the backend, to be given to the user.
    pub(super) fn descriptor(&self) -> Option<OwnedSource> {
        let duplicate = |backend: &mut DynBackend| backend.descriptor()?.try_clone_to_owned().ok();
        let made = self.desk.with(|| Ok(()), duplicate).ok()??;
        lock(&self.changes).front = made.as_ref().map(|made| backend::raw(backend::source(made)));
        made
    }

    /// What users wake the waiter with.
    pub(super) fn waker(&self) -> Waker {
        match self.check_fork() {
            Ok(()) => lock(&self.changes).user_waker.clone(),
            // Inherited, it wakes nobody.
            Err(_) => self.first_waker.clone(),
        }
    }

    /// As if it had been inherited by this process.
    #[cfg(all(test, loom))]
    pub(super) fn inherit(&self) {
        self.generation.store(u32::MAX, Ordering::Relaxed);
    }

    /// In a child of fork(2): makes everything as new, and watches every source again.
    /// `new_wakes` makes wakers for the backend.
    pub(super) fn after_fork(
        &self,
        new_wakes: impl FnOnce(&mut DynBackend) -> Result<(Waker, Waker)>,
    ) -> Result<()> {
        let generation = fork::watch();
        if fork::is_ours(self.generation.load(Ordering::Relaxed)) {
            return Ok(());
        }
        // Another thread of the parent had it, and will never give it back here.
        let Ok(mut changes) = self.changes.try_lock() else { return Err(Error::Forked) };
        let Changes { sources, changer, access, user_waker, front, .. } = &mut *changes;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::Unsupported => Error::Unsupported { feature: "after_fork", fd: None },
            _ => Error::os("renew after fork", None, error),
        };
        *changer = None;
        *front = None;
        let renewed = self.desk.with(
            || Ok(()),
            |backend| -> Result<()> {
                backend.after_fork().map_err(failed)?;
                access.overdue.clear();
                (access.waker, *user_waker) = new_wakes(backend)?;
                *changer = backend.changer().map_err(failed)?;
                forget_fired(&self.slots, sources);
                for (index, source) in (0..).zip(sources) {
                    let Some(source) = source else { continue };
                    let Some(slot) = self.slots.get(index) else { continue };
                    if source.keeper == Keeper::Nobody {
                        continue;
                    }
                    let (token, watch) = (source.token, slot.state().watch());
                    let changer = changer.as_deref_mut();
                    let started = watch_raw(changer, source.fd, token, watch, || {
                        register_raw(backend, source.fd, token, watch)
                    });
                    match started {
                        Ok(keeper) => source.keeper = keeper,
                        Err(error) if is_open(source.fd) && !backend.owns(source.fd) => {
                            return Err(Error::os("register", source.fd, error));
                        }
                        // What is closed is not reported.
                        Err(_) => source.keeper = Keeper::Nobody,
                    }
                }
                Ok(())
            },
        );
        renewed.map_err(failed)?.unwrap_or(Err(Error::Closed))?;
        self.generation.store(generation, Ordering::Relaxed);
        Ok(())
    }

    /// Gives up the backend and all data. What other threads ask for from now on is refused.
    pub(super) fn close(&self) {
        if self.check_fork().is_err() {
            // Its locks may be held for ever. The parent's is not affected when this is dropped.
            return;
        }
        let mut changes = lock(&self.changes);
        changes.closed = true;
        changes.changer = None;
        drop(self.desk.close());
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

/// Unregisters what could not be unregistered when it was to be. Returns whether there was any.
fn unregister_overdue(backend: &mut DynBackend, overdue: &mut Vec<Registered>) -> bool {
    let any = !overdue.is_empty();
    for Registered { fd, token, watch } in overdue.drain(..) {
        // If that fails as well, only rebuilding helps.
        let _ = backend.unregister(fd, token, watch);
    }
    any
}

/// Has a source watched by the kernel alone, or else by the backend.
#[inline]
fn watch_raw(
    changer: Option<&mut (dyn Changer + 'static)>,
    fd: RawSource,
    token: Token,
    watch: Watch,
    by_backend: impl FnOnce() -> io::Result<()>,
) -> io::Result<Keeper> {
    let taken = match changer {
        Some(changer) => register_raw_with(changer, fd, token, watch)?,
        None => false,
    };
    if taken { Ok(Keeper::Kernel) } else { by_backend().map(|()| Keeper::Backend) }
}

impl<T> fmt::Debug for Core<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
