//! Backends that never come back, close a descriptor twice, or crash: the case is named. One that reports
//! twice: the cause is named.
#![cfg(unix)]

use std::io;
use std::os::fd::AsRawFd;
use std::panic::catch_unwind;
use std::process::Output;
use std::thread;
use std::time::Duration;

use selectors::backend::{Backend, BorrowedSource, Capabilities, Poll, RawSource};
use selectors::{Events, Token, Watch};
use selectors_testkit::conformance::{check_patiently, run_patiently};

use another_process::another_process;

#[path = "support/another_process.rs"]
mod another_process;

/// Poll, and what happens before each wait.
struct Spoilt(Poll, fn(&mut Poll, &mut Events));

impl Backend for Spoilt {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn register(&mut self, fd: BorrowedSource<'_>, token: Token, watch: Watch) -> io::Result<()> {
        self.0.register(fd, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.0.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.0.unregister(fd, token, watch)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.0.after_fork()
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        (self.1)(&mut self.0, events);
        self.0.wait(events, timeout)
    }
}

fn stuck() -> io::Result<Spoilt> {
    let for_ever = |_: &mut Poll, _: &mut Events| loop {
        thread::park();
    };
    Ok(Spoilt(Poll::new()?, for_ever))
}

#[test]
fn a_test_that_does_not_come_back_fails_by_name() {
    let case = "wait_1_zero_reports_what_is_ready";
    let stuck = || check_patiently(case, stuck, Duration::from_millis(200));
    let panic = catch_unwind(stuck).expect_err("it cannot have passed");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.starts_with(case), "{message}");
    assert!(
        message.contains("did:      waited with a zero timeout, with nothing ready"),
        "{message}"
    );
    assert!(message.contains("expected: this step to end"), "{message}");
}

#[test]
fn who_asks_twice_is_told_of_repeats() {
    let twice = |poll: &mut Poll, events: &mut Events| {
        let _ = poll.wait(events, Some(Duration::ZERO));
    };
    let new = move || Ok(Spoilt(Poll::new()?, twice));
    let check = || check_patiently("wait_7_one_select_reports_all", new, Duration::from_secs(20));
    let panic = catch_unwind(check).expect_err("it cannot have passed");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("call `Events::mark_repeats`"), "{message}");
}

#[test]
fn others_that_want_to_be_alone_go_on() {
    let patience = Duration::from_millis(200);
    // It was alone when it was left behind.
    let case = "reg_12_no_descriptor_is_leaked";
    catch_unwind(|| check_patiently(case, stuck, patience)).expect_err("it cannot have passed");
    check_patiently(case, Poll::new, Duration::from_secs(20));
}

/// Runs a test of this program in another process, which it ends.
fn elsewhere(test: &str) -> Option<Output> {
    const THERE: &str = "SELECTORS_WATCHDOG_THERE";
    if std::env::var_os(THERE).is_some() {
        return None;
    }
    let output = another_process(test).env(THERE, "1").output();
    Some(output.expect("another process of this program"))
}

#[test]
fn a_run_that_does_not_come_back_ends_with_a_message() {
    let Some(output) = elsewhere("a_run_that_does_not_come_back_ends_with_a_message") else {
        run_patiently(stuck, Duration::from_millis(1));
        return;
    };
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{message}");
    assert!(message.contains("failed: reg_"), "{message}");
    assert!(message.contains("expected: this step to end"), "{message}");
}

#[test]
fn who_closes_twice_is_named() {
    let Some(output) = elsewhere("who_closes_twice_is_named") else {
        let close_twice = |_: &mut Poll, _: &mut Events| {
            let file = tempfile::tempfile().expect("a file");
            nix::unistd::close(file.as_raw_fd()).expect("it is open");
            drop(file);
        };
        let new = move || Ok(Spoilt(Poll::new()?, close_twice));
        check_patiently("wait_1_zero_reports_what_is_ready", new, Duration::from_secs(5));
        return;
    };
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{message}");
    names_what_it_did(&message, "the process aborts");
}

/// Fails unless the message of a crash names the case and its last step.
fn names_what_it_did(message: &str, seen: &str) {
    let expected = format!(
        "failed: wait_1_zero_reports_what_is_ready\n  did:      waited with a zero timeout, with \
         nothing ready\n  seen:     {seen}"
    );
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn who_crashes_is_named() {
    let Some(output) = elsewhere("who_crashes_is_named") else {
        let crash = |_: &mut Poll, _: &mut Events| {
            // As an access to invalid memory does, until it ends the process.
            loop {
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGSEGV).expect("a signal");
            }
        };
        let new = move || Ok(Spoilt(Poll::new()?, crash));
        check_patiently("wait_1_zero_reports_what_is_ready", new, Duration::from_secs(5));
        return;
    };
    let message = String::from_utf8_lossy(&output.stderr);
    names_what_it_did(&message, "the process accesses invalid memory");
}

#[test]
fn who_overflows_the_stack_is_named() {
    fn recur(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 64]);
        if depth == u64::MAX { 0 } else { recur(depth + 1) + frame[1] }
    }
    let Some(output) = elsewhere("who_overflows_the_stack_is_named") else {
        let overflow = |_: &mut Poll, _: &mut Events| {
            recur(0);
        };
        let new = move || Ok(Spoilt(Poll::new()?, overflow));
        check_patiently("wait_1_zero_reports_what_is_ready", new, Duration::from_secs(5));
        return;
    };
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{message}");
    names_what_it_did(&message, "the process ");
    assert!(message.contains("overflows"), "{message}");
}

#[test]
fn a_panic_in_a_forked_child_is_reported() {
    let in_a_child = |_: &mut Poll, _: &mut Events| {
        thread_local! {
            static PARENT: u32 = std::process::id();
        }
        // Evaluated by the thread that runs the case, before it forks.
        assert!(PARENT.with(|&parent| parent == std::process::id()), "no such thread");
    };
    let new = move || Ok(Spoilt(Poll::new()?, in_a_child));
    let check = || check_patiently("proc_4_after_fork_works", new, Duration::from_secs(20));
    let panic = catch_unwind(check).expect_err("it cannot have passed");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("seen:     no such thread (in the child)"), "{message}");
}
