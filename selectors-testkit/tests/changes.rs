//! Deferred changes have the same result as immediate ones.
#![cfg(unix)]

use std::io;

use selectors::Mode;
#[cfg(any(target_os = "linux", target_os = "android"))]
use selectors::backend::Epoll;
#[cfg(feature = "kqueue")]
use selectors::backend::Kqueue;
use selectors::backend::{Deferred, Poll, Select};

mod differential;

use differential::{Terms, compare, survive};

const COMMON: Terms = Terms { duplicates: true, hints: true, modes: &[Mode::Level, Mode::OneShot] };

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn with_epoll() -> io::Result<()> {
    let modes = &[Mode::Level, Mode::OneShot, Mode::Edge, Mode::Exclusive];
    compare(Epoll::new, Terms { duplicates: false, modes, ..COMMON }, 100, 200)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn with_epoll_and_duplicates() -> io::Result<()> {
    compare(Epoll::new, COMMON, 100, 200)
}

#[test]
fn with_poll() -> io::Result<()> {
    compare(Poll::new, COMMON, 100, 200)
}

#[test]
fn with_select() -> io::Result<()> {
    compare(Select::new, COMMON, 100, 200)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn what_is_closed_harms_nothing_else_with_epoll() -> io::Result<()> {
    let modes = &[Mode::Level, Mode::OneShot, Mode::Edge, Mode::Exclusive];
    let all = Terms { modes, ..COMMON };
    survive(Epoll::new, all, 100, 200)?;
    survive(|| Epoll::new().map(Deferred::new), all, 100, 200)
}

#[test]
fn what_is_closed_harms_nothing_else() -> io::Result<()> {
    survive(Poll::new, COMMON, 100, 200)?;
    survive(|| Poll::new().map(Deferred::new), COMMON, 100, 200)?;
    survive(Select::new, COMMON, 100, 200)?;
    survive(|| Select::new().map(Deferred::new), COMMON, 100, 200)
}

#[cfg(feature = "kqueue")]
#[test]
fn with_kqueue() -> io::Result<()> {
    let modes = &[Mode::Level, Mode::OneShot, Mode::Edge];
    // A pipe whose other end is closed before its filter is added is ready without an additional
    // call.
    compare(Kqueue::new, Terms { hints: false, modes, ..COMMON }, 100, 200)?;
    survive(Kqueue::new, Terms { modes, ..COMMON }, 100, 200)?;
    survive(|| Kqueue::new().map(Deferred::new), Terms { modes, ..COMMON }, 100, 200)
}
