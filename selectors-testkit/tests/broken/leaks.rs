//! REG-12, PROC-4: backends that leak descriptors.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use selectors::Events;
use selectors::backend::Registered;
use selectors_testkit::fixtures::pipe;

use super::defect::{Answer, Beneath, Defect, Sources, Timeout};
use super::proc::is_wake;
use super::reg::duplicate;
use super::row::{Row, epoll, poll, rows};

/// The leaked descriptors: [`free_leaked`] closes them at the end, so that other cases can run.
static LEAKED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

pub(crate) fn free_leaked() {
    LEAKED.lock().unwrap().clear();
}

pub(crate) fn leak(own: OwnedFd) {
    LEAKED.lock().unwrap().push(own);
}

/// When a descriptor is leaked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// One for each backend.
    Made,
    /// A duplicate of each source.
    Registered,
    Refused,
    Modified,
    RefusedToModify,
    Timed,
    /// By a wait without a timeout.
    Endless,
    /// By a wait that a signal ends.
    Interrupted,
    /// By a wait that reports more than 64.
    Batches,
    /// By a wait that is woken.
    Woken,
    Rebuilt,
    /// In `after_fork`.
    Forked,
}

/// Leaks a limited number of descriptors, so that other cases can run.
struct Leaks {
    when: When,
    left: usize,
}

impl Leaks {
    fn new(when: When) -> Self {
        let mut leaks = Self { when, left: 300 };
        let _ = leaks.leak_if(When::Made);
        leaks
    }

    fn leak_if(&mut self, when: When) -> Answer {
        self.leak_one_if(when, || Ok(pipe()?.0))
    }

    fn leak_one_if(&mut self, when: When, make: impl FnOnce() -> io::Result<OwnedFd>) -> Answer {
        if self.when == when && self.left > 0 {
            self.left -= 1;
            leak(make()?);
        }
        Ok(())
    }
}

impl Defect for Leaks {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let answer = beneath.register(new);
        if answer.is_err() {
            self.leak_if(When::Refused)?;
        } else {
            self.leak_one_if(When::Registered, || duplicate(new))?;
        }
        answer
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let answer = beneath.modify(new);
        self.leak_if(if answer.is_ok() { When::Modified } else { When::RefusedToModify })?;
        answer
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        match timeout {
            None => self.leak_if(When::Endless)?,
            Some(Duration::ZERO) => {}
            Some(_) => self.leak_if(When::Timed)?,
        }
        let before = events.len();
        if let Err(error) = beneath.wait(events, timeout) {
            self.leak_if(When::Interrupted)?;
            return Err(error);
        }
        if events.len() - before > 64 {
            self.leak_if(When::Batches)?;
        }
        if events[before..].iter().any(is_wake) {
            self.leak_if(When::Woken)?;
        }
        Ok(())
    }

    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        self.leak_if(When::Rebuilt)?;
        beneath.backend.rebuild(sources, events)
    }
    fn after_fork(&mut self, beneath: &mut Beneath) -> Answer {
        self.leak_if(When::Forked)?;
        beneath.after_fork()
    }
}

/// Creates a kernel object in a child that other programs inherit.
struct InheritableInChildren;

impl Defect for InheritableInChildren {
    fn after_fork(&mut self, beneath: &mut Beneath) -> Answer {
        beneath.after_fork()?;
        if let Some(own) = beneath.backend.descriptor() {
            fcntl(own, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    }
}

/// Supports `after_fork` in a child, but not in a child of that.
struct GoesOnOnce(bool);

impl Defect for GoesOnOnce {
    fn after_fork(&mut self, beneath: &mut Beneath) -> Answer {
        if std::mem::replace(&mut self.0, true) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        beneath.after_fork()
    }
}

rows! {
    "REG-12" leak "leaks one of its own descriptors"
        poll Leaks::new(When::Made) =>
            proc_6_a_selector_outlives_its_thread
            reg_12_no_descriptor_is_leaked
            reg_12_no_call_leaks;
    "REG-12" leaked_duplicates "leaks a duplicate of each source"
        poll Leaks::new(When::Registered) =>
            proc_6_a_selector_outlives_its_thread
            reg_12_dropping_closes_everything
            reg_12_no_descriptor_is_leaked
            reg_9_its_peer_sees_the_end_at_once
            reg_12_no_call_leaks
            proc_4_children_of_children_leak_nothing;
    "REG-12" leaks_refused "leaks a descriptor when it refuses"
        poll Leaks::new(When::Refused) =>
            reg_12_no_call_leaks;
    "REG-12" leaks_modified "leaks a descriptor when it modifies"
        poll Leaks::new(When::Modified) =>
            reg_12_no_call_leaks
            wait_12_sources_are_served_without_free_descriptors;
    "REG-12" leaks_timed "leaks a descriptor when it waits for a time"
        poll Leaks::new(When::Timed) =>
            proc_6_a_selector_outlives_its_thread
            reg_12_no_call_leaks
            wait_12_sources_are_served_without_free_descriptors
            proc_4_children_of_children_leak_nothing;
    "REG-12" leaks_rebuilt "leaks a descriptor when it recreates the kernel object"
        epoll Leaks::new(When::Rebuilt) =>
            reg_12_no_call_leaks;
    "REG-12" leaks_refused_to_modify "leaks a descriptor when it refuses to modify"
        epoll Leaks::new(When::RefusedToModify) =>
            reg_12_no_call_leaks;
    "REG-12" leaks_endless "leaks a descriptor when it waits without a timeout"
        poll Leaks::new(When::Endless) =>
            reg_12_no_wait_leaks
            wait_12_sources_are_served_without_free_descriptors;
    "REG-12" leaks_interrupted "leaks a descriptor when a signal ends a wait"
        poll Leaks::new(When::Interrupted) =>
            reg_12_no_wait_leaks;
    "REG-12" leaks_batches "leaks a descriptor when it reports more than 64"
        poll Leaks::new(When::Batches) =>
            reg_12_no_wait_leaks;
    "REG-12" leaks_woken "leaks a descriptor when it is woken"
        poll Leaks::new(When::Woken) =>
            proc_6_a_selector_outlives_its_thread
            reg_12_no_wait_leaks
            proc_4_children_of_children_leak_nothing
            wait_12_sources_are_served_without_free_descriptors;
    "PROC-4" leaks_forked "leaks a descriptor in after_fork"
        epoll Leaks::new(When::Forked) =>
            proc_4_children_of_children_leak_nothing;
    "PROC-4" inheritable_forked "lets other programs inherit a child's kernel object"
        epoll InheritableInChildren =>
            proc_4_children_of_children_leak_nothing;
    "PROC-4" forked_once "supports after_fork in children, but not in their children"
        epoll GoesOnOnce(false) =>
            proc_4_children_of_children_leak_nothing;
}
