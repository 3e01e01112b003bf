//! A selector that other threads change while one waits, over every backend.
#![cfg(unix)]

use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use selectors::{BackendKind, Events, SharedSelector, Token};

mod changes;
mod data;
#[cfg(target_os = "linux")]
#[path = "../support/descriptors.rs"]
mod descriptors;
#[cfg(target_os = "linux")]
mod hidden;
mod hooked;
mod modes;
mod own;
mod recorded;
mod recorder;
mod stress;
mod waits;

const NOW: Option<Duration> = Some(Duration::ZERO);
/// What must come comes within this; nothing waits for it to pass.
const LONG: Option<Duration> = Some(Duration::from_secs(60));

fn everywhere(test: impl Fn(SharedSelector<u32>, BackendKind)) {
    for kind in BackendKind::available() {
        println!("over {kind}");
        test(SharedSelector::of_kind(kind).unwrap(), kind);
    }
}

fn tokens(events: &Events) -> Vec<Token> {
    events.iter().map(selectors::Event::token).collect()
}

/// Runs `act` in another thread, and panics if it does not return.
fn in_time(act: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        act();
        done.send(()).unwrap();
    });
    match is_done.recv_timeout(LONG.unwrap()) {
        Ok(()) => thread.join().unwrap(),
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => panic!("it does not return"),
    }
}

/// Runs `change` in another thread while this one waits, and returns what the wait has found.
fn during_a_wait<R: Send>(
    selector: &mut SharedSelector<u32>,
    change: impl FnOnce() -> R + Send,
) -> (R, Events) {
    thread::scope(|scope| {
        let thread = scope.spawn(change);
        let events = selector.select(LONG).unwrap();
        (thread.join().unwrap(), events)
    })
}
