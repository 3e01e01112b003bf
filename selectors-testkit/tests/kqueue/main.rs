//! kqueue: the conformance suite over its backend, and what it alone has to cope with. On Linux
//! over the emulation, or over what `SELECTORS_KQUEUE_LIB` names.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selectors::backend::{Deferred, Kqueue};
use selectors::{
    DeferredSelector, Event, Events, Interest, KqueueSelector, Readiness, Selector, Token,
};
use selectors_sys::kqueue as sys;

mod changelist;
mod filters;
#[cfg(all(target_os = "linux", not(external_kqueue)))]
mod memory;
#[cfg(all(target_os = "linux", not(external_kqueue)))]
mod provoked;
mod queues;
mod refused;

selectors_testkit::conformance_tests!(kqueue, Kqueue::new);
selectors_testkit::shared_conformance_tests!(shared, Kqueue::new);
selectors_testkit::conformance_tests!(deferred, || Kqueue::new().map(Deferred::new));

const BOTH: Interest = Interest::READ.union(Interest::WRITE);
const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(20));

/// Whether the kernel has this filter for `fd`: found out by removing it.
fn had_filter(queue: &impl AsFd, fd: RawFd, filter: sys::Filter) -> bool {
    let ident = usize::try_from(fd).unwrap();
    let change = sys::EV_SET(ident, filter, sys::EV_DELETE, 0, 0, ptr::null_mut());
    let queue = queue.as_fd().as_raw_fd();
    // SAFETY: one change is read, and nothing is written; without a buffer the call does not wait.
    let answer =
        unsafe { sys::kevent(queue, &raw const change, 1, ptr::null_mut(), 0, ptr::null()) };
    match Errno::result(answer) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, Errno::ENOENT);
            false
        }
    }
}

/// macOS has both, as it refuses nothing here.
fn has_both_filters_or_none<F>(selector: &KqueueSelector<F>, fd: RawFd) -> bool {
    let [read, write] = [sys::EVFILT_READ, sys::EVFILT_WRITE]
        .map(|filter| had_filter(selector.backend(), fd, filter));
    read == write
}

/// Closes the reading end of a pipe, and waits until nobody has it: a child that another test has
/// forked may, for a moment.
fn close_reader(reader: OwnedFd, writer: &OwnedFd) {
    drop(reader);
    let mut polled = [PollFd::new(writer.as_fd(), PollFlags::empty())];
    assert_eq!(poll(&mut polled, PollTimeout::from(20_000_u16)), Ok(1));
}

fn deferred() -> DeferredSelector<OwnedFd, (), Kqueue> {
    Selector::with_backend(Deferred::new(Kqueue::new().unwrap()))
}

/// What a wait reports of the only source.
fn seen<F>(selector: &mut KqueueSelector<F>, timeout: Option<Duration>) -> Option<Readiness> {
    let events = selector.select(timeout).unwrap();
    assert!(events.len() <= 1, "{events:?}");
    events.iter().next().map(Event::readiness)
}

/// What a wait reports, in order.
fn tokens(events: &Events) -> Vec<Token> {
    let mut tokens: Vec<_> = events.iter().map(Event::token).collect();
    tokens.sort();
    tokens
}
