//! The usual cause in the message of a failure is chosen by what was seen.
#![cfg(any(target_os = "linux", target_os = "android"))]

use std::io;
use std::panic::catch_unwind;
use std::time::Duration;

use selectors::backend::{Backend, BorrowedSource, Capabilities, Poll, RawSource};
use selectors::{Event, Events, Readiness, Token, Watch};
use selectors_testkit::conformance::{check_patiently, check_shared_patiently};

#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    /// poll(2) is asked for READ_CLOSED, which is not declared.
    HintUndeclared,
    /// READ_CLOSED is declared, and not reported.
    HintForgotten,
    /// Unregistering a closed descriptor is an error.
    UnregisterFails,
    /// A wait returns EINVAL.
    Limit,
    /// A wait that a signal interrupts returns nothing.
    Swallows,
    /// Changes are declared to be deferred.
    Deferred,
}

struct Mistaken(Poll, Mistake);

impl Backend for Mistaken {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        capabilities.read_closed &= self.1 != Mistake::HintUndeclared;
        capabilities.deferred = self.1 == Mistake::Deferred;
        capabilities
    }

    fn register(&mut self, fd: BorrowedSource<'_>, token: Token, watch: Watch) -> io::Result<()> {
        self.0.register(fd, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.0.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.0.unregister(fd, token, watch)?;
        let closed = !selectors_testkit::fixtures::is_open(fd);
        if closed && self.1 == Mistake::UnregisterFails {
            return Err(io::Error::from_raw_os_error(nix::libc::EBADF));
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        if self.1 == Mistake::Limit {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match self.0.wait(events, timeout) {
            Err(error)
                if self.1 == Mistake::Swallows && error.kind() == io::ErrorKind::Interrupted => {}
            answer => answer?,
        }
        if self.1 == Mistake::HintForgotten {
            let less = |event: &Event| {
                Event::new(event.token(), event.readiness() - Readiness::READ_CLOSED)
            };
            let found: Vec<_> = events.iter().map(less).collect();
            events.clear();
            events.extend(found);
        }
        Ok(())
    }
}

/// The message of this case.
fn message_of(case: &'static str, mistake: Mistake, patience: Duration) -> String {
    let new = move || Ok(Mistaken(Poll::new()?, mistake));
    let check = move || {
        if case.starts_with("shared") {
            check_shared_patiently(case, new, patience);
        } else {
            check_patiently(case, new, patience);
        }
    };
    let panic = catch_unwind(check).expect_err("it cannot have passed");
    panic.downcast_ref::<String>().expect("a message").clone()
}

/// Fails unless the message of this case contains `cause`.
fn says(case: &'static str, mistake: Mistake, cause: &str) {
    let message = message_of(case, mistake, Duration::from_secs(2));
    let (_, usually) = message.split_once("  usually:  ").expect("a usual cause");
    assert!(usually.contains(cause), "{message}");
}

#[test]
fn of_a_hint() {
    let cause = "the `Capabilities` of the backend do not declare";
    says("ready_6_a_half_closed_peer", Mistake::HintUndeclared, cause);
    says("ready_6_a_half_closed_peer", Mistake::HintForgotten, "the kernel is not asked for it");
}

#[test]
fn of_an_error_of_unregister() {
    let cause = "no longer watched";
    says("close_1_unregister_after_close", Mistake::UnregisterFails, cause);
}

#[test]
fn of_an_error_of_a_wait_in_a_child() {
    let case = "shared_6_changes_need_no_descriptor";
    says(case, Mistake::Limit, "more entries than the limit on descriptors");
}

#[test]
fn of_a_shared_selector_with_deferred_changes() {
    let case = "shared_1_registering_is_effective_in_the_wait";
    says(case, Mistake::Deferred, "remove its `shared_conformance_tests!`");
}

#[test]
fn a_random_program_that_waits_in_vain_is_short() {
    let patience = Duration::from_secs(1);
    let message = message_of("ready_1_random_programs", Mistake::Swallows, patience);
    let steps = message.matches("  did:").count();
    assert!(steps <= 3, "{message}");
}
