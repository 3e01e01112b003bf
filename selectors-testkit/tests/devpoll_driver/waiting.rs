//! Waits: which events they report, and what ends them.

use std::io::Write as _;
use std::mem;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use selectors_sys::devpoll::{self as sys, POLLIN, POLLOUT, POLLREMOVE};
use selectors_testkit::fixtures::{drain, pipe, regular_file, signal_storm, unix_pair};

use super::{Device, SOURCE_KNOWN, duplicate_device, is_solaris, number};

#[test]
fn without_a_buffer_the_set_is_not_searched() {
    // Driver: the call then only sleeps.
    let (ours, _theirs) = unix_pair().unwrap();
    let device = Device::open();
    device.add(&ours, POLLOUT);
    assert_eq!(device.poll_into(&mut [], 0, 0), Ok(0));
    let start = Instant::now();
    assert_eq!(device.poll_into(&mut [], 0, 20), Ok(0));
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn timeouts_are_milliseconds_and_at_least_a_tick() {
    // Man: dp_timeout is in milliseconds. Driver: a positive one lasts at least a tick.
    let device = Device::open();
    assert_eq!(device.poll(1, 0), Ok(vec![]));
    for millis in [1, 25] {
        let start = Instant::now();
        assert_eq!(device.poll(1, millis), Ok(vec![]));
        let tick = if cfg!(target_os = "linux") { 10 } else { 1 };
        let least = u64::try_from(millis).unwrap().max(tick);
        assert!(start.elapsed() >= Duration::from_millis(least));
    }
    if !is_solaris() {
        // Driver, since 2015: only -1 waits forever. Other negative timeouts expire at once.
        assert_eq!(device.poll(1, -2), Ok(vec![]));
    }
}

#[test]
fn a_signal_ends_a_wait_but_not_a_poll() {
    // Man: EINTR. Driver: a call with a timeout of zero ignores signals.
    let (ours, _theirs) = unix_pair().unwrap();
    let device = Device::open();
    device.add(&ours, POLLIN);
    let storm = signal_storm(Duration::from_millis(1)).unwrap();
    assert_eq!(device.poll(1, 20_000), Err(Errno::EINTR));
    assert_eq!(device.poll_into(&mut [], 0, 20_000), Err(Errno::EINTR));
    for _ in 0..1_000 {
        assert_eq!(device.poll(1, 0), Ok(vec![]));
    }
    drop(storm);
}

#[test]
fn a_search_is_circular() {
    // Driver: in the order of numbers, starting where the last search that filled its list stopped.
    let pairs: Vec<_> = (0..5).map(|_| unix_pair().unwrap()).collect();
    let mut numbers: Vec<_> = pairs.iter().map(|(ours, _)| number(ours)).collect();
    numbers.sort_unstable();
    let device = Device::open();
    for &fd in &numbers {
        device.write(&[(fd, POLLOUT)]).unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.extend(device.poll(2, -1).unwrap().iter().map(|(fd, _)| *fd));
    }
    if SOURCE_KNOWN {
        let expected: Vec<_> = numbers.iter().copied().cycle().take(10).collect();
        assert_eq!(seen, expected);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, numbers, "every descriptor is reported");
}

#[test]
fn a_file_is_always_ready() {
    let file = regular_file().unwrap();
    let device = Device::open();
    device.add(&file, POLLIN | POLLOUT);
    assert_eq!(device.ready(), [(number(&file), POLLIN | POLLOUT)]);
}

#[test]
fn a_pipe_without_a_peer_is_reported_without_a_request() {
    let (reader, writer) = pipe().unwrap();
    drop(writer);
    let device = Device::open();
    device.add(&reader, 0);
    let ready = device.poll(1, 20_000).unwrap();
    assert_eq!(ready.len(), 1);
    assert_ne!(ready[0].1 & sys::POLLHUP, 0);
}

#[test]
fn a_change_affects_a_wait_in_progress() {
    // Driver: since 2015 the wait polls added descriptors. Before 2015 the write blocks until the wait ends.
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = &Device::open();
    device.write(&[(fd, POLLREMOVE)]).unwrap();
    std::thread::scope(|scope| {
        let timeout = if is_solaris() { 50 } else { 20_000 };
        let waiting = scope.spawn(move || device.poll(4, timeout));
        device.write(&[(fd, POLLOUT)]).unwrap();
        let ready = waiting.join().unwrap().unwrap();
        assert!(ready == [(fd, POLLOUT)] || is_solaris() && ready.is_empty(), "{ready:?}");
    });
    assert_eq!(device.ready(), [(fd, POLLOUT)]);
}

#[test]
fn a_wait_continues_with_its_device_if_the_number_is_reused() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let (idle, mut idle_peer) = unix_pair().unwrap();
    for _ in 0..20 {
        let device = Device::open();
        device.add(&ours, POLLIN);
        let other = Device::open();
        other.add(&idle, POLLIN);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| device.poll(4, 20_000));
            // dup2(2) gives the number to the other device, before or during the wait.
            // SAFETY: the number is open.
            let other = unsafe { BorrowedFd::borrow_raw(other.0) };
            // SAFETY: both are open, and our own.
            let same = unsafe { nix::unistd::dup2_raw(other, device.0) }.unwrap();
            theirs.write_all(b"x").unwrap();
            idle_peer.write_all(b"x").unwrap();
            let ready = waiting.join().unwrap().unwrap();
            let either = [[(number(&ours), POLLIN)], [(number(&idle), POLLIN)]];
            assert!(either.iter().any(|one| ready == one), "{ready:?}");
            mem::forget(same);
        });
        drain(&ours).unwrap();
        drain(&idle).unwrap();
    }
}

#[test]
fn a_device_can_be_closed_during_a_wait() {
    let (ours, mut theirs) = unix_pair().unwrap();
    for _ in 0..20 {
        let device = Device::open();
        device.add(&ours, POLLIN);
        let duplicate = duplicate_device(&device);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| device.poll(4, 20_000));
            drop(duplicate);
            theirs.write_all(b"x").unwrap();
            match waiting.join().unwrap() {
                Ok(ready) => assert_eq!(ready, [(number(&ours), POLLIN)]),
                // The emulation treats a close before the wait as that of the last descriptor.
                Err(error) => assert!(cfg!(target_os = "linux") && error == Errno::ENOTTY),
            }
        });
        drain(&ours).unwrap();
    }
}
