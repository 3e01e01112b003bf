//! Changes whose write is interrupted, cut short or refused.

use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use selectors::{DevpollSelector, Interest, Mode};
use selectors_sys::devpoll::{self as sys, POLLIN, POLLOUT, POLLPRI};
use selectors_testkit::devpoll_emulation::{Write, all_written, calls, next_writes};
use selectors_testkit::fixtures::unix_pair;

use super::{NO_MEMORY, Sources, fails};
use crate::{BOTH, LONG, NOW, errno, in_kernel, meddle, tokens};

#[test]
fn each_change_is_one_write_and_each_wait_one_call() {
    let (ours, _theirs) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    let mut count = {
        let mut before = calls();
        move || {
            let now = calls();
            let made = (now.write - before.write, now.ioctl - before.ioctl);
            before = now;
            made
        }
    };
    let token = selector.register(&ours, BOTH, ()).unwrap();
    assert_eq!(count(), (1, 0));
    selector.modify(token, Interest::READ).unwrap();
    assert_eq!(count(), (1, 0));
    selector.modify(token, Interest::READ).unwrap();
    assert_eq!(count(), (0, 0));
    selector.select(NOW).unwrap();
    assert_eq!(count(), (0, 1));
    selector.modify_with(token, Interest::WRITE, Mode::OneShot).unwrap();
    assert_eq!(count(), (1, 0));
    for _ in 0..3 {
        // Armed again before the next wait, it need not leave the set in between.
        assert_eq!(selector.select(LONG).unwrap().len(), 1);
        assert_eq!(count(), (0, 1));
        selector.modify(token, Interest::WRITE).unwrap();
        assert_eq!(count(), (1, 0));
    }
    selector.unregister(token).unwrap();
    assert_eq!(count(), (1, 0));
    let token = selector.register_with(&ours, BOTH, (), Mode::OneShot).unwrap();
    assert_eq!(selector.select(LONG).unwrap().len(), 1);
    assert_eq!(count(), (1, 1));
    selector.unregister(token).unwrap();
    assert_eq!(count(), (0, 0), "the next wait removes it");
    assert!(selector.select(NOW).unwrap().is_empty());
    assert_eq!(count(), (1, 1));
    assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), None);
}

#[test]
fn all_fired_one_shots_leave_in_one_write() {
    let pairs: Vec<_> = (0..40).map(|_| unix_pair().unwrap()).collect();
    let mut selector = DevpollSelector::new().unwrap();
    for (ours, _) in &pairs {
        selector.register_with(ours, Interest::WRITE, (), Mode::OneShot).unwrap();
    }
    assert_eq!(selector.select(LONG).unwrap().len(), 40);
    let before = calls();
    assert!(selector.select(NOW).unwrap().is_empty());
    assert!(selector.select(NOW).unwrap().is_empty());
    assert_eq!(calls().write - before.write, 1);
    for (ours, _) in &pairs {
        assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), None);
    }
}

#[test]
fn an_interrupted_write_is_made_again() {
    let (ours, _theirs) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    next_writes(&[Write::Interrupted; 3]);
    let token = selector.register(&ours, BOTH, ()).unwrap();
    next_writes(&[Write::Interrupted]);
    selector.modify(token, Interest::READ).unwrap();
    assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), Some(POLLIN));
    next_writes(&[Write::Interrupted]);
    selector.unregister(token).unwrap();
    assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), None);
    assert!(all_written());
}

#[test]
fn a_short_write_is_finished_wherever_it_was_cut() {
    for first in 0..=24 {
        for second in [0, 7, 8, 15, 16] {
            let (ours, _theirs) = unix_pair().unwrap();
            let fd = ours.as_raw_fd();
            let mut selector = DevpollSelector::new().unwrap();
            meddle(selector.backend(), fd, POLLPRI);
            next_writes(&[Write::Short(first), Write::Short(second)]);
            let token = selector.register(&ours, BOTH, ()).unwrap();
            assert_eq!(in_kernel(selector.backend(), fd), Some(POLLIN | POLLOUT));
            next_writes(&[Write::Short(first), Write::Interrupted, Write::Short(second)]);
            selector.modify(token, Interest::READ).unwrap();
            assert_eq!(in_kernel(selector.backend(), fd), Some(POLLIN), "{first}, {second}");
            next_writes(&[Write::Short(first.min(8))]);
            selector.unregister(token).unwrap();
            assert_eq!(in_kernel(selector.backend(), fd), None);
            // What was not needed.
            while !all_written() {
                meddle(selector.backend(), fd, sys::POLLREMOVE);
            }
        }
    }
}

#[test]
fn a_device_that_takes_nothing_is_an_error_and_no_endless_loop() {
    let (ours, _theirs) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    next_writes(&[Write::Short(3); 16]);
    let refused = selector.register(&ours, BOTH, ()).map_err(|refused| refused.error);
    assert_eq!(errno(refused), Some(Errno::EIO as i32));
    assert!(all_written());
    selector.register(&ours, BOTH, ()).unwrap();
}

#[test]
fn a_refused_registration_is_undone_however_far_it_came() {
    for after in 0..=3 {
        for undo_fails in [false, true] {
            let (ours, _theirs) = unix_pair().unwrap();
            let fd = ours.as_raw_fd();
            let mut selector: Sources<'_> = DevpollSelector::new().unwrap();
            next_writes(&[fails(after)]);
            if undo_fails {
                next_writes(&[fails(0)]);
            }
            let refused = selector.register(ours.as_fd(), BOTH, ());
            assert_eq!(errno(refused.map_err(|refused| refused.error)), Some(NO_MEMORY));
            assert!(all_written() && selector.is_empty());
            if undo_fails {
                // Undone by the next wait.
                assert!(selector.select(NOW).unwrap().is_empty());
            }
            assert_eq!(in_kernel(selector.backend(), fd), None, "{after}");
            let token = selector.register(ours.as_fd(), Interest::READ, ()).unwrap();
            assert_eq!(in_kernel(selector.backend(), fd), Some(POLLIN));
            selector.modify(token, Interest::WRITE).unwrap();
            assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
        }
    }
}

#[test]
fn registering_again_after_a_failed_undo_counts() {
    let (ours, _theirs) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    next_writes(&[fails(1), fails(0)]);
    assert!(selector.register(&ours, BOTH, ()).is_err());
    let token = selector.register(&ours, Interest::WRITE, ()).unwrap();
    for _ in 0..2 {
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
    }
    assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), Some(POLLOUT));
}

#[test]
fn a_refused_modify_leaves_the_old_watch_however_far_it_came() {
    for after in 0..=3 {
        for undo in [None, Some(0), Some(1), Some(2)] {
            let (ours, mut theirs) = unix_pair().unwrap();
            let fd = ours.as_raw_fd();
            let mut selector: Sources<'_> = DevpollSelector::new().unwrap();
            let token = selector.register(ours.as_fd(), Interest::READ, ()).unwrap();
            next_writes(&[fails(after)]);
            next_writes(undo.map(fails).as_slice());
            assert_eq!(errno(selector.modify(token, Interest::WRITE)), Some(NO_MEMORY));
            assert!(all_written());
            assert_eq!(selector.get(token).unwrap().events, Interest::READ);
            assert!(selector.select(NOW).unwrap().is_empty());
            assert_eq!(in_kernel(selector.backend(), fd), Some(POLLIN), "{after}, {undo:?}");
            theirs.write_all(b"x").unwrap();
            for _ in 0..2 {
                assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
            }
            selector.modify(token, Interest::WRITE).unwrap();
            assert_eq!(in_kernel(selector.backend(), fd), Some(POLLOUT));
        }
    }
}

#[test]
fn a_refused_modify_does_not_arm_a_fired_one_shot() {
    for after in 0..=3 {
        for undo in [None, Some(0)] {
            let (ours, _theirs) = unix_pair().unwrap();
            let mut selector: Sources<'_> = DevpollSelector::new().unwrap();
            let mode = Mode::OneShot;
            let token = selector.register_with(ours.as_fd(), BOTH, (), mode).unwrap();
            for wait_first in [false, true] {
                assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
                if wait_first {
                    assert!(selector.select(NOW).unwrap().is_empty());
                }
                next_writes(&[fails(after)]);
                next_writes(undo.map(fails).as_slice());
                assert_eq!(errno(selector.modify(token, BOTH)), Some(NO_MEMORY));
                for _ in 0..2 {
                    assert!(selector.select(NOW).unwrap().is_empty());
                }
                assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), None);
                selector.modify(token, BOTH).unwrap();
            }
        }
    }
}

#[test]
fn a_refused_unregister_leaves_the_source() {
    let (ours, _theirs) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    let token = selector.register(&ours, Interest::WRITE, ()).unwrap();
    for after in 0..=1 {
        next_writes(&[fails(after)]);
        assert_eq!(errno(selector.unregister(token)), Some(NO_MEMORY));
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
        assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), Some(POLLOUT));
    }
    selector.unregister(token).unwrap();
    assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), None);
}

#[test]
fn a_one_shot_that_cannot_be_removed_is_not_told_twice() {
    let (ours, _theirs) = unix_pair().unwrap();
    let (level, _level_peer) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    let mode = Mode::OneShot;
    let once = selector.register_with(&ours, Interest::WRITE, (), mode).unwrap();
    let level = selector.register(&level, Interest::WRITE, ()).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [once, level]);
    // An error and no spin: it would be ready for ever. Each wait tries again.
    next_writes(&[fails(0), fails(0), fails(1), fails(0)]);
    for _ in 0..2 {
        assert_eq!(errno(selector.select(None)), Some(NO_MEMORY));
    }
    for _ in 0..2 {
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [level]);
    }
    selector.modify(once, Interest::WRITE).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [once, level]);
    next_writes(&[fails(0), fails(0)]);
    selector.unregister(once).unwrap();
    assert_eq!(errno(selector.select(None)), Some(NO_MEMORY));
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [level]);
    assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), None);
}
