//! What each backend of Linux declares, and what of it the conformance suite cannot tell from less.
#![cfg(any(target_os = "linux", target_os = "android"))]

use std::time::Duration;

use selectors::backend::{Backend, Epoll, Poll, Select};
use selectors::{Capabilities, DefaultSelector, Error, Interest, Mode, Token, Watch};

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
    all.timeout_resolution = MICROSECOND;
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
    hints.timeout_resolution = MICROSECOND;
    assert_eq!(Poll::new()?.capabilities(), hints);
    assert!(Poll::new()?.changer()?.is_none());
    Ok(())
}

#[test]
fn select_has_none() -> std::io::Result<()> {
    let mut few = Capabilities::default();
    few.priority = true;
    few.timeout_resolution = MICROSECOND;
    assert_eq!(Select::new()?.capabilities(), few);
    Ok(())
}

/// The selector does not call this, but a program may call the backend directly.
#[test]
fn what_is_not_registered_is_not_found() -> std::io::Result<()> {
    fn refuses(mut backend: impl Backend) {
        let (token, watch) = (Token::from_bits(1), Watch::new(Interest::READ, Mode::Level));
        let modified = backend.modify(0, token, watch, watch);
        assert_eq!(modified.unwrap_err().kind(), std::io::ErrorKind::NotFound);
        let unregistered = backend.unregister(0, token, watch);
        assert_eq!(unregistered.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
    refuses(Poll::new()?);
    refuses(Select::new()?);
    Ok(())
}

#[test]
fn mod_4_a_modify_is_checked_as_a_registration() -> std::io::Result<()> {
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    let mut selector = DefaultSelector::new()?;
    let token = selector.register(ours, Interest::WRITE, ())?;
    let unknown = Interest::READ | Interest::from_bits_retain(0x80);
    for refused in
        [selector.modify(token, unknown), selector.modify_with(token, unknown, Mode::Level)]
    {
        assert!(matches!(refused, Err(Error::InvalidInterest { .. })), "{refused:?}");
    }
    assert_eq!(selector.select(None)?.len(), 1, "it is watched as before");
    Ok(())
}
