//! The state that the waiting thread shares with the threads that make changes.
//!
//! The *waiter* is the thread that waits, or waits next.

use std::fmt;
use std::io;
use std::mem;
use std::time::Instant;

mod changing;
mod renewing;

use super::desk::Desk;
use super::slots::{Chunks, Slot, Stack};
use crate::backend::{
    self, AnyChanger, Backend, Capabilities, OwnedSource, RawSource, Registered, fork,
    register_raw, register_raw_with,
};
use crate::index::DescriptorIndex;
use crate::sync::{AtomicU32, Mutex, Ordering, lock};
use crate::{Error, Result, Token, Waker, Watch};

pub(super) type DynBackend = Box<dyn Backend + Send>;

/// Each time this many sources were unregistered, the waiter is woken to make their slots vacant.
const MANY_RETIRED: usize = 4096;

pub(super) struct Core<T> {
    pub(super) slots: Chunks<Slot<T>>,
    pub(super) capabilities: Capabilities,
    /// The [generation](fork::generation) of the process that the selector belongs to.
    generation: AtomicU32,
    pub(super) desk: Desk<DynBackend, Order>,
    /// Locked during a change, including its system call, and never by a wait.
    changes: Mutex<Changes>,
    /// The number of registered sources.
    len: AtomicU32,
    /// The waker of users when the selector was created.
    first_waker: Waker,
    /// Retired slots, for the waiter to make vacant.
    retired: Stack,
    /// Vacant slots, from the waiter.
    vacant: Stack,
}

/// The sources, as known to threads that make changes.
struct Changes {
    access: Access,
    /// The waker of users.
    user_waker: Waker,
    changer: Option<AnyChanger>,
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

/// Access to the backend for threads that make changes.
struct Access {
    /// Interrupts the waiter's system call without ending its `select`.
    waker: Waker,
    /// Sources still to be unregistered from the backend, because the waiter could not be woken.
    overdue: Vec<Registered>,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    token: Token,
    fd: RawSource,
    keeper: Keeper,
}

/// What watches a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// Nothing: it is parked, or had fired when the kernel object was recreated, or was closed before
    /// `after_fork`.
    Nobody,
    /// The kernel.
    Kernel,
    /// The backend, in user space.
    Backend,
}

impl Changes {
    fn token_of(&self, fd: RawSource) -> Option<Token> {
        self.sources.get(self.by_descriptor.get(fd)?)?.map(|source| source.token)
    }

    #[inline]
    fn insert(&mut self, token: Token, fd: RawSource, keeper: Keeper) {
        let index = token.slot() as usize;
        self.sources[index] = Some(Source { token, fd, keeper });
        self.by_descriptor.insert(fd, index);
    }

    #[inline]
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
        changer: Option<AnyChanger>,
        capabilities: Capabilities,
        (waker, user_waker): (Waker, Waker),
    ) -> Self {
        Self {
            slots: Chunks::new(),
            capabilities,
            generation: AtomicU32::new(fork::watch()),
            desk: Desk::new(backend, Order::make),
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

    /// Fails in a forked child that has not called `after_fork`, before it touches a lock.
    #[inline]
    pub(super) fn check_fork(&self) -> Result<()> {
        let ours = fork::is_ours(self.generation.load(Ordering::Relaxed));
        if ours { Ok(()) } else { Err(Error::Forked) }
    }

    /// The time on the backend's clock.
    pub(super) fn now(&self) -> Instant {
        // In a forked child the desk may be locked for ever.
        let ours = self.check_fork().is_ok();
        let now = ours.then(|| self.desk.with(|backend| backend.now()));
        now.flatten().unwrap_or_else(Instant::now)
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    /// Only those who have locked `changes` do this: a read-modify-write would be a waste.
    fn add_to_len(&self, difference: u32) {
        let len = self.len.load(Ordering::Relaxed);
        self.len.store(len.wrapping_add(difference), Ordering::Relaxed);
    }

    /// Has the backend make a change, between two system calls of the waiter.
    #[inline(never)]
    fn with_backend(
        &self,
        Access { waker, overdue }: &mut Access,
        fd: RawSource,
        token: Token,
        step: Step,
    ) -> io::Result<()> {
        let order = Order { overdue: mem::take(overdue), fd, token, step };
        self.desk.make(order, || Ok(waker.wake()?)).unwrap_or_else(|(error, order)| {
            *overdue = order.overdue;
            Err(error)
        })
    }

    #[inline]
    fn retire(&self, changes: &mut Changes, index: u32, slot: &Slot<T>) {
        slot.retire();
        self.retired.push(index, slot);
        changes.retired += 1;
        if changes.retired % MANY_RETIRED == 0 {
            // If it fails, the slots are made vacant later.
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
        // A slot whose generations are exhausted is not reused.
        if next.is_some() {
            self.vacant.push(index, slot);
        }
        data
    }

    /// A duplicate of the backend's descriptor, for the user.
    pub(super) fn descriptor(&self) -> Option<OwnedSource> {
        let duplicate = |backend: &mut DynBackend| backend.descriptor()?.try_clone_to_owned().ok();
        let made = self.desk.with(duplicate)??;
        lock(&self.changes).front = Some(backend::raw(backend::source(&made)));
        Some(made)
    }

    /// The waker of users.
    pub(super) fn waker(&self) -> Waker {
        match self.check_fork() {
            Ok(()) => lock(&self.changes).user_waker.clone(),
            // An inherited waker wakes no selector.
            Err(_) => self.first_waker.clone(),
        }
    }
}

/// A change that the backend is to make.
#[derive(Debug)]
pub(super) struct Order {
    /// Sources to be unregistered before: see [`Access`].
    overdue: Vec<Registered>,
    fd: RawSource,
    token: Token,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Register(Watch),
    Modify(Watch, Watch),
    Unregister(Watch),
}

impl Order {
    fn make(backend: &mut DynBackend, order: Self) -> io::Result<()> {
        let Self { mut overdue, fd, token, step } = order;
        unregister_overdue(backend, &mut overdue);
        match step {
            Step::Register(_) if backend.owns(fd) => Err(Error::own_descriptor(fd).into()),
            Step::Register(watch) => register_raw(backend, fd, token, watch),
            Step::Modify(old, new) => backend.modify(fd, token, old, new),
            Step::Unregister(watch) => backend.unregister(fd, token, watch),
        }
    }
}

/// Unregisters sources that could not be unregistered before. Returns true if there were any.
fn unregister_overdue(backend: &mut DynBackend, overdue: &mut Vec<Registered>) -> bool {
    let any = !overdue.is_empty();
    for Registered { fd, token, watch } in overdue.drain(..) {
        // If that fails as well, only recreating the kernel object helps.
        let _ = backend.unregister(fd, token, watch);
    }
    any
}

/// Registers a source with the kernel, or else with the backend.
#[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
#[inline(always)]
fn watch_raw(
    changer: Option<&mut AnyChanger>,
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
