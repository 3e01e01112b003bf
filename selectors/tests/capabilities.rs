//! What each backend of Linux declares, and what of it the conformance suite cannot tell from less.
#![cfg(any(target_os = "linux", target_os = "android"))]

use std::time::Duration;

use selectors::Capabilities;
use selectors::backend::{Backend, Epoll, Poll, Select};

const MICROSECOND: Duration = Duration::from_micros(1);

#[test]
fn epoll_has_everything() -> std::io::Result<()> {
    let mut all = Capabilities::default();
    all.edge = true;
    all.exclusive = true;
    all.priority = true;
    all.read_closed = true;
    all.hangup = true;
    all.error = true;
    all.write_hangup = true;
    all.nesting = true;
    all.constant_wait = true;
    all.timeout_grain = MICROSECOND;
    assert_eq!(Epoll::new()?.capabilities(), all);
    assert!(Epoll::new()?.changer()?.is_some(), "other threads change it during its waits");
    Ok(())
}

#[test]
fn poll_has_all_hints() -> std::io::Result<()> {
    let mut hints = Capabilities::default();
    hints.priority = true;
    hints.read_closed = true;
    hints.hangup = true;
    hints.error = true;
    hints.write_hangup = true;
    hints.timeout_grain = MICROSECOND;
    assert_eq!(Poll::new()?.capabilities(), hints);
    assert!(Poll::new()?.changer()?.is_none());
    Ok(())
}

#[test]
fn select_has_none() -> std::io::Result<()> {
    let mut few = Capabilities::default();
    few.priority = true;
    few.timeout_grain = MICROSECOND;
    assert_eq!(Select::new()?.capabilities(), few);
    Ok(())
}
