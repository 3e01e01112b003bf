//! Faults are injected and not waited for: each of the library's own system calls fails, at every
//! place, once, a few times and for ever.
// Elsewhere the C library's functions have other names.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

use std::io;
use std::time::Duration;

use nix::unistd::alarm;
use selectors::Selector;
use selectors_testkit::fixtures::{OwnedSource, in_forked_child};

const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(20));

type Subject<B> = Selector<OwnedSource, (), B>;

/// Runs a test in a child process, where no other test opens descriptors, and limits and filters
/// end with it.
fn in_child(test: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let passed = in_forked_child(|| {
        alarm::set(60);
        test().expect("no error");
    })?;
    assert!(passed, "the child has failed");
    Ok(())
}

#[path = "support/another_process.rs"]
mod another_process;
#[path = "faults/changes.rs"]
mod changes;
#[path = "faults/channels.rs"]
mod channels;
#[path = "faults/creation.rs"]
mod creation;
#[cfg(feature = "devpoll")]
#[path = "faults/devpoll.rs"]
mod devpoll;
#[path = "faults/exchanges.rs"]
mod exchanges;
#[path = "faults/forks.rs"]
mod forks;
#[path = "faults/injection.rs"]
mod injection;
#[cfg(feature = "kqueue")]
#[path = "faults/kqueue.rs"]
mod kqueue;
#[path = "faults/man_pages.rs"]
mod man_pages;
#[path = "faults/model.rs"]
mod model;
#[path = "faults/operations.rs"]
mod operations;
#[path = "faults/pending.rs"]
mod pending;
#[path = "faults/permanent.rs"]
mod permanent;
#[path = "faults/processes.rs"]
mod processes;
#[path = "faults/random.rs"]
mod random;
#[path = "faults/rebuilding.rs"]
mod rebuilding;
#[path = "support/repetitive.rs"]
mod repetitive;
#[path = "faults/shared.rs"]
mod shared;
#[path = "faults/suite.rs"]
mod suite;
#[path = "faults/waits.rs"]
mod waits;
#[path = "faults/wakers.rs"]
mod wakers;
