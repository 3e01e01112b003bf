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

/// What was leaked: closed by [`free_leaked`] in the end, so that other cases can go on.
static LEAKED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

pub(crate) fn free_leaked() {
    LEAKED.lock().unwrap().clear();
}

fn leak(fd: OwnedFd) {
    LEAKED.lock().unwrap().push(fd);
}

/// When a descriptor is leaked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaks {
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
    /// By a wait that brings more than 64.
    Batches,
    /// By a wait that is woken.
    Woken,
    Rebuilt,
    /// In a child that goes on.
    Forked,
}

impl Leaks {
    fn when_made() -> Self {
        LEAKED.lock().unwrap().extend(pipe().map(|(reader, _)| reader));
        Self::Made
    }

    fn leak_if(self, when: Self) -> Answer {
        if self == when {
            leak(pipe()?.0);
        }
        Ok(())
    }
}

impl Defect for Leaks {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let answer = beneath.register(new);
        if answer.is_err() {
            self.leak_if(Self::Refused)?;
        } else if *self == Self::Registered {
            leak(duplicate(new)?);
        }
        answer
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let answer = beneath.modify(new);
        self.leak_if(if answer.is_ok() { Self::Modified } else { Self::RefusedToModify })?;
        answer
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        match timeout {
            None => self.leak_if(Self::Endless)?,
            Some(Duration::ZERO) => {}
            Some(_) => self.leak_if(Self::Timed)?,
        }
        let before = events.len();
        if let Err(error) = beneath.wait(events, timeout) {
            self.leak_if(Self::Interrupted)?;
            return Err(error);
        }
        if events.len() - before > 64 {
            self.leak_if(Self::Batches)?;
        }
        if events[before..].iter().any(is_wake) {
            self.leak_if(Self::Woken)?;
        }
        Ok(())
    }

    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        self.leak_if(Self::Rebuilt)?;
        beneath.backend.rebuild(sources, events)
    }
    fn after_fork(&mut self, beneath: &mut Beneath) -> Answer {
        self.leak_if(Self::Forked)?;
        beneath.after_fork()
    }
}

/// Makes a kernel object in a child that other programs inherit.
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

/// Goes on in a child, and not in a child of that.
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
    "REG-12" leak "leaks a descriptor of its own"
        poll Leaks::when_made() =>
            reg_12_no_descriptor_is_leaked
            reg_12_no_call_leaks;
    "REG-12" leaked_duplicates "leaks a duplicate of each source"
        poll Leaks::Registered =>
            reg_12_dropping_closes_everything
            reg_12_no_descriptor_is_leaked
            reg_9_its_peer_sees_the_end_at_once
            reg_12_no_call_leaks
            proc_4_children_of_children_leak_nothing;
    "REG-12" leaks_refused "leaks a descriptor when it refuses"
        poll Leaks::Refused =>
            reg_12_no_call_leaks;
    "REG-12" leaks_modified "leaks a descriptor when it modifies"
        poll Leaks::Modified =>
            reg_12_no_call_leaks
            wait_12_without_descriptors_what_is_there_is_served;
    "REG-12" leaks_timed "leaks a descriptor when it waits for a time"
        poll Leaks::Timed =>
            reg_12_no_call_leaks
            wait_12_without_descriptors_what_is_there_is_served
            proc_4_children_of_children_leak_nothing;
    "REG-12" leaks_rebuilt "leaks a descriptor when it makes a new kernel object"
        epoll Leaks::Rebuilt =>
            reg_12_no_call_leaks;
    "REG-12" leaks_refused_to_modify "leaks a descriptor when it refuses to modify"
        epoll Leaks::RefusedToModify =>
            reg_12_no_call_leaks;
    "REG-12" leaks_endless "leaks a descriptor when it waits without a timeout"
        poll Leaks::Endless =>
            reg_12_no_wait_leaks
            wait_12_without_descriptors_what_is_there_is_served;
    "REG-12" leaks_interrupted "leaks a descriptor when a signal ends a wait"
        poll Leaks::Interrupted =>
            reg_12_no_wait_leaks;
    "REG-12" leaks_batches "leaks a descriptor when it reports more than 64"
        poll Leaks::Batches =>
            reg_12_no_wait_leaks;
    "REG-12" leaks_woken "leaks a descriptor when it is woken"
        poll Leaks::Woken =>
            reg_12_no_wait_leaks
            proc_4_children_of_children_leak_nothing
            wait_12_without_descriptors_what_is_there_is_served;
    "PROC-4" leaks_forked "leaks a descriptor when a child goes on"
        epoll Leaks::Forked =>
            proc_4_children_of_children_leak_nothing;
    "PROC-4" inheritable_forked "makes a child's kernel object one that other programs inherit"
        epoll InheritableInChildren =>
            proc_4_children_of_children_leak_nothing;
    "PROC-4" forked_once "goes on in children, and not in theirs"
        epoll GoesOnOnce(false) =>
            proc_4_children_of_children_leak_nothing;
}
