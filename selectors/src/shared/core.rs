//! The state that the waiting thread shares with the threads that make changes.
//!
//! The *waiter* is the thread that waits, or waits next.

use std::io;
use std::mem;
use std::time::Instant;

mod changing;
mod renewing;

use super::handoff::Handoff;
use super::slots::{Chunks, Slot, Stack, WatchedBy};
use crate::backend::{
    self, AnyChanger, Backend, Capabilities, OwnedSource, RawSource, Registered, fork,
    open_untaken, register_raw, register_raw_with,
};
use crate::index::DescriptorIndex;
use crate::sync::{AtomicU32, Mutex, Ordering, lock};
use crate::waker::Wake;
use crate::{Error, Result, Token, Waker, Watch};

pub(super) type DynBackend = Box<dyn Backend + Send>;

/// Each time this many sources were unregistered, the waiter is woken to make their slots vacant.
const MANY_RETIRED: usize = 4096;

pub(super) struct Core<T> {
    pub(super) slots: Chunks<Slot<T>>,
    pub(super) capabilities: Capabilities,
    /// The [generation](fork::generation) of the process that the selector belongs to.
    generation: AtomicU32,
    pub(super) handoff: Handoff<DynBackend, Request>,
    /// Locked during a change, including its system call. A wait locks it only to replace a kernel object
    /// or the channel of its waker.
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

/// The state of threads that make changes, in addition to the slots.
struct Changes {
    access: Access,
    /// The waker of users.
    user_waker: Waker,
    changer: Option<AnyChanger>,
    /// The slots of the sources, and also the numbers of the selector's own descriptors.
    by_descriptor: DescriptorIndex,
    /// How many slots were used so far.
    used: u32,
    vacant: Vec<u32>,
    /// How many sources were unregistered.
    retired: usize,
    /// The number of the descriptor that the user has of the selector, and of the waker's channel.
    front: Option<RawSource>,
    channel: Option<RawSource>,
    closed: bool,
}

/// Access to the backend for threads that make changes.
struct Access {
    /// Interrupts the waiter's system call without ending its `select`.
    waker: Waker,
    /// Sources still to be unregistered from the backend, because the waiter could not be woken.
    overdue: Vec<Registered>,
}

impl<T> Core<T> {
    pub(super) fn new(
        backend: DynBackend,
        changer: Option<AnyChanger>,
        capabilities: Capabilities,
        (wake, user): (&Wake, &Wake),
    ) -> Self {
        let (mut by_descriptor, mut channel) = (DescriptorIndex::default(), None);
        by_descriptor.reserve(&mut channel, wake.number());
        let user_waker = user.waker();
        Self {
            slots: Chunks::new(),
            capabilities,
            generation: AtomicU32::new(fork::watch()),
            handoff: Handoff::new(backend, Request::make),
            len: AtomicU32::new(0),
            first_waker: user_waker.clone(),
            changes: Mutex::new(Changes {
                access: Access { waker: wake.waker(), overdue: Vec::new() },
                user_waker,
                changer,
                by_descriptor,
                used: 0,
                vacant: Vec::new(),
                retired: 0,
                front: None,
                channel,
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
        // In a forked child the lock of the backend may never be released.
        let ours = self.check_fork().is_ok();
        let now = ours.then(|| self.handoff.with(|backend| backend.now()));
        now.flatten().unwrap_or_else(Instant::now)
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    /// The caller has locked `changes`, so this needs no read-modify-write.
    fn add_to_len(&self, difference: u32) {
        let len = self.len.load(Ordering::Relaxed);
        self.len.store(len.wrapping_add(difference), Ordering::Relaxed);
    }

    /// The slot of a registered source.
    #[inline]
    fn slot(&self, changes: &Changes, token: Token) -> Result<&Slot<T>> {
        if changes.closed {
            return Err(Error::Closed);
        }
        let slot = self.slots.get(token.slot());
        let slot = slot.filter(|slot| slot.state().is_live(token.generation()));
        slot.ok_or(Error::NotRegistered { token })
    }

    /// Every registered source, with its slot.
    fn sources(&self, used: u32) -> impl Iterator<Item = (Token, &Slot<T>)> {
        let slots = (0..used).filter_map(|index| Some((index, self.slots.get(index)?)));
        slots.filter_map(|(index, slot)| {
            let generation = slot.state().generation();
            slot.state().is_live(generation).then(|| (Token::new(index, generation), slot))
        })
    }

    /// Marks fired one-shot sources as not registered with the backend.
    fn forget_fired(&self, used: u32) {
        let fired = self.sources(used).filter(|(_, slot)| !slot.state().is_armed());
        fired.for_each(|(_, slot)| slot.set_watched_by(WatchedBy::Nothing));
    }

    /// Makes a change through the backend, between two system calls of the waiter.
    #[inline(never)]
    fn with_backend(
        &self,
        Access { waker, overdue }: &mut Access,
        fd: RawSource,
        token: Token,
        step: Step,
    ) -> io::Result<()> {
        let request = Request { overdue: mem::take(overdue), fd, token, step };
        self.handoff.make(request, || Ok(waker.wake()?)).unwrap_or_else(|(error, request)| {
            *overdue = request.overdue;
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
        // Before the hand-off, as for a change.
        let Changes { by_descriptor, front, .. } = &mut *lock(&self.changes);
        let number = |own: &OwnedSource| backend::raw(backend::source(own));
        let made = self.handoff.with(|backend| {
            let own = backend.descriptor()?;
            let taken = |fd| by_descriptor.get(fd).is_some();
            open_untaken(|| own.try_clone_to_owned(), number, taken).ok()
        })??;
        by_descriptor.reserve(front, Some(number(&made)));
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
pub(super) struct Request {
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

impl Request {
    fn make(backend: &mut DynBackend, request: Self) -> io::Result<()> {
        let Self { mut overdue, fd, token, step } = request;
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
        // If that fails as well, the source is a ghost until the kernel object is recreated.
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
) -> io::Result<WatchedBy> {
    let taken = match changer {
        Some(changer) => register_raw_with(changer, fd, token, watch)?,
        None => false,
    };
    if taken { Ok(WatchedBy::Kernel) } else { by_backend().map(|()| WatchedBy::Backend) }
}
