//! Waits whose list is cut, or whose device fails.

use std::io::Write as _;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use selectors::backend::Devpoll;
use selectors::{DevpollSelector, Event, Interest, Mode, Readiness, Selector};
use selectors_testkit::devpoll_emulation::{Flavor, fail_source, limit_entries, refuse_to_open};
use selectors_testkit::fixtures::{tcp_pair, unix_pair};
use socket2::SockRef;

use crate::{LONG, NOW, errno, in_kernel, tokens};

#[test]
fn a_low_limit_on_descriptors_cuts_what_is_read_and_written_at_once() {
    for limit in [1, 2, 3, 7] {
        let pairs: Vec<_> = (0..20).map(|_| unix_pair().unwrap()).collect();
        let mut selector = DevpollSelector::new().unwrap();
        limit_entries(Some(limit));
        let mut expected = Vec::new();
        for (ours, _) in &pairs {
            let mode = Mode::OneShot;
            expected.push(selector.register_with(ours, Interest::WRITE, (), mode).unwrap());
        }
        let mut seen = Vec::new();
        while seen.len() < 20 {
            let events = selector.select(NOW);
            // With a limit of one the manual page allows a buffer of length 0 only.
            let Ok(events) = events else { break };
            assert!(!events.is_empty(), "{limit}: {} of 20", seen.len());
            // A list that is cut is cut without a word on illumos.
            assert!(events.len() == 20 || Flavor::current() == Flavor::Illumos);
            seen.extend(events.iter().map(Event::token));
        }
        limit_entries(None);
        if seen.is_empty() {
            assert_eq!(limit, 1);
            continue;
        }
        seen.sort();
        assert_eq!(seen, expected, "{limit}");
        assert!(selector.select(NOW).unwrap().is_empty());
    }
}

#[test]
fn a_limit_that_is_lowered_later_is_no_error() {
    let pairs: Vec<_> = (0..100).map(|_| unix_pair().unwrap()).collect();
    let mut selector = DevpollSelector::new().unwrap();
    for (ours, _) in &pairs {
        selector.register(ours, Interest::WRITE, ()).unwrap();
    }
    for _ in 0..3 {
        selector.select(NOW).unwrap();
    }
    limit_entries(Some(10));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let events = selector.select(NOW).unwrap();
        assert!(events.len() == 100 || Flavor::current() == Flavor::Illumos);
        seen.extend(events.iter().map(Event::token));
    }
    limit_entries(None);
    assert_eq!(seen.len(), 100, "none starves");
    assert_eq!(selector.select(NOW).unwrap().len(), 100);
}

#[test]
fn a_source_that_fails_is_an_error_and_disturbs_no_other() {
    for errno in [Errno::EINVAL, Errno::ENXIO] {
        let pairs: Vec<_> = (0..150).map(|_| unix_pair().unwrap()).collect();
        let mut selector = DevpollSelector::new().unwrap();
        let all: Vec<_> = pairs
            .iter()
            .map(|(ours, _)| selector.register(ours, Interest::WRITE, ()).unwrap())
            .collect();
        let (failing, mut failing_peer) = unix_pair().unwrap();
        let (quiet, _quiet_peer) = unix_pair().unwrap();
        selector.register(&quiet, Interest::READ, ()).unwrap();
        let bad = selector.register(&failing, Interest::READ, ()).unwrap();
        failing_peer.write_all(b"x").unwrap();
        assert_eq!(selector.select(NOW).unwrap().len(), 151);
        fail_source(Some((failing.as_raw_fd(), errno as i32)));
        for timeout in [NOW, LONG, None] {
            let events = selector.select(timeout).unwrap();
            let of = |event: &&Event| event.token() == bad;
            let error = events.iter().find(of).map(Event::readiness);
            assert_eq!(error, Some(Readiness::READ | Readiness::ERROR));
            assert_eq!(events.len(), 151);
        }
        fail_source(None);
        for _ in 0..2 {
            let events = selector.select(LONG).unwrap();
            assert_eq!(events.len(), 151);
            assert!(events.iter().all(|event| !event.readiness().contains(Readiness::ERROR)));
        }
        fail_source(Some((failing.as_raw_fd(), errno as i32)));
        selector.select(LONG).unwrap();
        selector.unregister(bad).unwrap();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), all);
        fail_source(None);
        assert_eq!(in_kernel(selector.backend(), failing.as_raw_fd()), None);
    }
}

#[test]
fn a_one_shot_source_that_fails_is_reported_once() {
    let (ours, _theirs) = unix_pair().unwrap();
    let (failing, mut failing_peer) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    let good = selector.register(&ours, Interest::WRITE, ()).unwrap();
    let mode = Mode::OneShot;
    let bad = selector.register_with(&failing, Interest::READ, (), mode).unwrap();
    failing_peer.write_all(b"x").unwrap();
    fail_source(Some((failing.as_raw_fd(), Errno::EINVAL as i32)));
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [good, bad]);
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [good]);
    fail_source(None);
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [good]);
    selector.modify_with(bad, Interest::READ, mode).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [good, bad]);
}

#[test]
fn urgent_data_wakes() {
    for interest in [Interest::PRIORITY, Interest::READ | Interest::PRIORITY] {
        let (ours, theirs) = tcp_pair().unwrap();
        let mut selector = DevpollSelector::new().unwrap();
        selector.register(&ours, interest, ()).unwrap();
        assert!(selector.select(NOW).unwrap().is_empty());
        SockRef::from(&theirs).send_out_of_band(b"!").unwrap();
        for _ in 0..2 {
            let events = selector.select(LONG).unwrap();
            let seen: Vec<_> = events.iter().map(Event::readiness).collect();
            assert_eq!(seen, [Readiness::PRIORITY]);
        }
    }
}

#[test]
fn where_there_is_no_device_there_is_no_selector() {
    refuse_to_open(Some(Errno::ENOENT as i32));
    let refused = DevpollSelector::<BorrowedFd<'_>>::new();
    assert_eq!(errno(refused), Some(Errno::ENOENT as i32));
    refuse_to_open(None);
    let mut selector = Selector::with_backend(Devpoll::new().unwrap());
    let waker = selector.waker().unwrap();
    waker.wake().unwrap();
    assert!(selector.select(LONG).unwrap().woken());
    selector.register(std::io::stderr(), Interest::WRITE, ()).unwrap();
}
