//! What only the emulation can be made to do.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use selectors::{Interest, KqueueSelector, Mode, Readiness};
use selectors_testkit::fixtures::{drain, null_device, terminal, unix_pair};
use selectors_testkit::kqueue_emulation::{calls, refuse_devices};

use super::{BOTH, LONG, NOW, deferred, seen, tokens};

#[test]
fn deferred_changes_go_in_the_changelist_of_the_call_that_waits() {
    let mut selector = deferred();
    let mut peers = Vec::new();
    let mut tokens = Vec::new();
    let before = calls();
    for _ in 0..100 {
        let (ours, theirs) = unix_pair().unwrap();
        tokens.push(selector.register(ours.into(), BOTH, ()).unwrap());
        peers.push(theirs);
    }
    assert_eq!(calls() - before, 0);
    // If the list is full, there may be more events, which another call fetches.
    assert_eq!(selector.select(NOW).unwrap().len(), 100);
    let filled = calls() - before;
    assert!(filled <= 2, "{filled} calls");
    for &token in &tokens {
        selector.modify(token, Interest::READ).unwrap();
    }
    assert!(selector.select(NOW).unwrap().is_empty());
    assert_eq!(calls() - before, filled + 1);
    for &token in &tokens[1..] {
        // Each at once.
        selector.unregister(token).unwrap();
    }
    peers[0].write_all(b"x").unwrap();
    assert_eq!(selector.select(LONG).unwrap().len(), 1);
    assert_eq!(calls() - before, filled + 1 + 99 + 1);
}

#[test]
fn a_terminal_that_the_kernel_refuses_is_waited_for_beside_it() {
    // EINVAL from macOS for /dev/tty, and so from the emulation.
    refuse_devices(Some(Errno::EINVAL as i32));
    let (controller, terminal) = terminal().unwrap();
    let (ours, mut theirs) = unix_pair().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let socket = selector.register(ours.as_fd(), Interest::READ, ()).unwrap();
    let refused = selector.register_with(terminal.as_fd(), Interest::READ, (), Mode::Edge);
    let refused = refused.map_err(|refused| std::io::Error::from(refused.error).kind());
    assert_eq!(refused, Err(std::io::ErrorKind::InvalidInput), "there are no edges to be seen");
    let tty = selector.register_with(terminal.as_fd(), Interest::READ, (), Mode::OneShot).unwrap();
    let short = Some(Duration::from_millis(2));
    assert!(selector.select(short).unwrap().is_empty());
    let waker = selector.waker().unwrap();
    waker.wake().unwrap();
    assert!(selector.select(LONG).unwrap().woken());
    nix::unistd::write(&controller, b"typed").unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [tty]);
    // It has fired: now only the socket is waited for.
    assert!(selector.select(short).unwrap().is_empty());
    theirs.write_all(b"x").unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [socket]);
    selector.modify_with(tty, Interest::READ, Mode::Level).unwrap();
    for _ in 0..2 {
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [socket, tty]);
    }
    assert!(selector.modify_with(tty, Interest::READ, Mode::Edge).is_err());
    drain(&terminal).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [socket]);
    selector.modify(tty, Interest::WRITE).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [socket, tty]);
    selector.unregister(tty).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [socket]);
}

#[test]
fn a_device_without_filters_is_ready() {
    for errno in [Errno::EINVAL, Errno::ENODEV, Errno::ENXIO, Errno::EOPNOTSUPP] {
        refuse_devices(Some(errno as i32));
        let mut selector = KqueueSelector::new().unwrap();
        let token = selector.register(null_device().unwrap(), BOTH, ()).unwrap();
        for _ in 0..2 {
            assert_eq!(seen(&mut selector, LONG), Some(Readiness::READ | Readiness::WRITE));
        }
        selector.modify(token, Interest::READ).unwrap();
        assert_eq!(seen(&mut selector, LONG), Some(Readiness::READ));
    }
    refuse_devices(None);
}
