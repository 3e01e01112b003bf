//! /dev/poll: the conformance suite over its backend, and what it alone has to cope with. On Linux
//! over the emulation, or over what `SELECTORS_DEVPOLL_LIB` names.
#![cfg(any(target_os = "linux", target_os = "illumos", target_os = "solaris"))]

use std::ffi::c_void;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use selectors::backend::{Deferred, Devpoll};
use selectors::{
    Backend, DevpollSelector, Error, Event, Events, Interest, Mode, PollSelector, Readiness, Token,
    Watch,
};
use selectors_sys::devpoll::{
    self as sys, DP_ISPOLLED, POLLIN, POLLOUT, POLLPRI, POLLRDBAND, pollfd,
};
use selectors_testkit::fixtures::{
    LooseDescriptor, descriptor_limit, drain, in_forked_child, is_close_on_exec, unix_pair,
    with_raw,
};

selectors_testkit::conformance_tests!(devpoll, Devpoll::new);
selectors_testkit::shared_conformance_tests!(shared, Devpoll::new);
selectors_testkit::conformance_tests!(deferred, || Devpoll::new().map(Deferred::new));

const BOTH: Interest = Interest::READ.union(Interest::WRITE);
const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(20));

fn watch(interest: Interest) -> Watch {
    Watch::new(interest, Mode::Level)
}

/// What the kernel has for a number: found out by DP_ISPOLLED.
fn in_kernel(device: &impl AsFd, fd: RawFd) -> Option<i16> {
    let mut asked = pollfd { fd, events: 0, revents: 0 };
    let device = device.as_fd().as_raw_fd();
    // SAFETY: `asked` is ours to be written.
    let answer = unsafe { sys::ioctl(device, DP_ISPOLLED, (&raw mut asked).cast::<c_void>()) };
    (Errno::result(answer).unwrap() == 1).then_some(asked.revents)
}

/// Writes to a device behind its backend's back.
fn meddle(device: &impl AsFd, fd: RawFd, events: i16) {
    let entry = pollfd { fd, events, revents: 0 };
    let device = device.as_fd().as_raw_fd();
    // SAFETY: one entry is read.
    let answer = unsafe { sys::write(device, (&raw const entry).cast(), size_of_val(&entry)) };
    assert_eq!(Errno::result(answer), Ok(8));
}

fn tokens(events: &Events) -> Vec<Token> {
    let mut tokens: Vec<_> = events.iter().map(Event::token).collect();
    tokens.sort();
    tokens
}

fn errno<V: std::fmt::Debug>(answer: Result<V, impl Into<io::Error>>) -> Option<i32> {
    answer.map_err(Into::into).unwrap_err().raw_os_error()
}

#[test]
fn the_kernel_has_exactly_what_was_asked_for() {
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = ours.as_raw_fd();
    let mut selector = DevpollSelector::new().unwrap();
    let token = selector.register(&ours, BOTH, ()).unwrap();
    for (interest, events) in [
        (BOTH, POLLIN | POLLOUT),
        (Interest::READ, POLLIN),
        (Interest::WRITE, POLLOUT),
        (Interest::READ | Interest::PRIORITY, POLLIN | POLLPRI | POLLRDBAND),
        (Interest::PRIORITY, POLLPRI | POLLRDBAND),
    ] {
        selector.modify(token, interest).unwrap();
        assert_eq!(in_kernel(selector.backend(), fd), Some(events), "{interest:?}");
    }
    selector.unregister(token).unwrap();
    assert_eq!(in_kernel(selector.backend(), fd), None);
}

#[test]
fn what_a_number_was_added_for_before_does_not_count() {
    // Closed and not removed; and closed when it was added, which removing does not undo.
    for closed_first in [false, true] {
        let (ours, _theirs) = unix_pair().unwrap();
        let loose = LooseDescriptor::duplicate(&ours).unwrap();
        let mut selector = DevpollSelector::new().unwrap();
        if closed_first {
            loose.close().unwrap();
        }
        meddle(selector.backend(), loose.number(), POLLOUT);
        if !closed_first {
            loose.close().unwrap();
        }
        loose.replace(&ours).unwrap();
        let token = selector.register(loose.borrow(), Interest::READ, ()).unwrap();
        assert_eq!(in_kernel(selector.backend(), loose.number()), Some(POLLIN));
        assert!(selector.select(NOW).unwrap().is_empty());
        selector.modify(token, Interest::WRITE).unwrap();
        assert_eq!(selector.select(LONG).unwrap().len(), 1);
    }
}

#[test]
fn a_descriptor_closed_during_a_change_leaves_nothing_to_who_has_its_number_next() {
    let (ours, _theirs) = unix_pair().unwrap();
    let loose = LooseDescriptor::duplicate(&ours).unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    let old = selector.register(loose.borrow(), Interest::READ, ()).unwrap();
    loose.close().unwrap();
    // The kernel takes it, though there is nothing to be watched.
    selector.modify(old, BOTH).unwrap();
    for event in &selector.select(NOW).unwrap() {
        assert!(event.readiness().contains(Readiness::ERROR));
    }
    selector.unregister(old).unwrap();
    loose.replace(&ours).unwrap();
    selector.register(loose.borrow(), Interest::READ, ()).unwrap();
    assert_eq!(in_kernel(selector.backend(), loose.number()), Some(POLLIN));
    assert!(selector.select(NOW).unwrap().is_empty());
}

#[test]
fn what_is_reported_and_not_registered_is_dropped_and_removed() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let (strange, _strange_peer) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    let token = selector.register(&ours, Interest::READ, ()).unwrap();
    meddle(selector.backend(), strange.as_raw_fd(), POLLOUT);
    assert!(selector.select(Some(Duration::from_millis(5))).unwrap().is_empty());
    assert_eq!(in_kernel(selector.backend(), strange.as_raw_fd()), None);
    theirs.write_all(b"x").unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
}

#[test]
fn a_selector_does_not_watch_itself() {
    let mut selector = DevpollSelector::new().unwrap();
    let own = selector.as_raw_fd();
    let refused = with_raw(own, |fd| selector.register(fd, Interest::READ, ()));
    let kind = io::Error::from(refused.unwrap_err().error).kind();
    assert_eq!(kind, io::ErrorKind::Unsupported, "as of the other selectors");
    assert_eq!(in_kernel(selector.backend(), own), None);
    assert!(selector.is_empty() && selector.select(NOW).unwrap().is_empty());
}

#[test]
fn nested_it_is_never_idle_and_does_not_say_otherwise() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let mut inner = DevpollSelector::new().unwrap();
    inner.register(&ours, Interest::READ, ()).unwrap();
    assert!(!inner.capabilities().nesting);
    assert!(is_close_on_exec(&inner).unwrap());
    theirs.write_all(b"x").unwrap();
    let mut outer = DevpollSelector::new().unwrap();
    outer.register(inner.as_fd(), Interest::READ, ()).unwrap();
    let mut poll = PollSelector::new().unwrap();
    poll.register(inner.as_fd(), Interest::READ, ()).unwrap();
    for ready in [true, false] {
        assert_eq!(outer.select(LONG).unwrap().len(), 1, "POLLERR, ready or not: {ready}");
        assert_eq!(poll.select(LONG).unwrap().len(), 1, "{ready}");
        drain(&ours).unwrap();
    }
}

#[test]
fn a_forked_child_is_refused_and_harmless() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let (other, _other_peer) = unix_pair().unwrap();
    let mut selector = DevpollSelector::new().unwrap();
    let token = selector.register(ours.as_fd(), Interest::READ, ()).unwrap();
    let once = selector.register_with(other.as_fd(), Interest::WRITE, (), Mode::OneShot).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [once]);
    let mut slot = Some(selector);
    let fine = in_forked_child(|| {
        let mut selector = slot.take().unwrap();
        assert!(matches!(selector.select(NOW), Err(Error::Forked)));
        assert!(matches!(selector.modify(token, BOTH), Err(Error::Forked)));
        // The kernel would refuse it, too.
        let mut backend = Devpoll::new().unwrap();
        backend.wait(&mut Events::new(), NOW).unwrap();
        let denied = in_forked_child(|| {
            let denied = Some(Errno::EACCES as i32);
            assert_eq!(errno(backend.register(ours.as_fd(), token, watch(BOTH))), denied);
            assert_eq!(errno(backend.wait(&mut Events::new(), None)), denied);
        });
        assert!(denied.unwrap());
        let (third, _third_peer) = unix_pair().unwrap();
        selector.after_fork().unwrap();
        let mut expected = vec![token, once];
        selector.modify(token, Interest::WRITE).unwrap();
        selector.modify(once, Interest::WRITE).unwrap();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), expected);
        expected.pop();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), expected);
        assert_eq!(selector.close().len(), 2);
        // Its own is as good as any.
        let mut own = DevpollSelector::new().unwrap();
        own.register(&third, Interest::WRITE, ()).unwrap();
        assert_eq!(own.select(LONG).unwrap().len(), 1);
    });
    assert!(fine.unwrap());
    let mut selector = slot.unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
    selector.modify(once, Interest::WRITE).unwrap();
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [token, once]);
}

#[test]
fn the_room_grows_and_every_wait_reports_every_source() {
    descriptor_limit().unwrap();
    let pairs: Vec<_> = (0..300).map(|_| unix_pair().unwrap()).collect();
    let mut selector = DevpollSelector::new().unwrap();
    for (ours, _) in &pairs {
        selector.register(ours, Interest::WRITE, ()).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(selector.select(LONG).unwrap().len(), 300);
    }
}

#[test]
fn a_file_object_may_be_watched_by_two() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let mut first = DevpollSelector::new().unwrap();
    let mut second = DevpollSelector::new().unwrap();
    first.register(&ours, Interest::READ, ()).unwrap();
    let token = second.register(&ours, BOTH, ()).unwrap();
    second.unregister(token).unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(first.select(LONG).unwrap().len(), 1);
    assert!(second.select(NOW).unwrap().is_empty());
}

#[test]
fn without_its_descriptor_nothing_is_watched_any_more() {
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = ours.as_raw_fd();
    // Alone, so that nobody else is given the number.
    let fine = in_forked_child(|| {
        let mut backend = Devpoll::new().unwrap();
        let token = Token::from_bits(1);
        backend.register(ours.as_fd(), token, watch(BOTH)).unwrap();
        // SAFETY: closed behind its back, which it has to survive.
        unsafe { sys::close(backend.as_fd().as_raw_fd()) };
        let bad = Some(Errno::EBADF as i32);
        assert_eq!(errno(backend.modify(fd, token, watch(BOTH), watch(Interest::READ))), bad);
        assert_eq!(errno(backend.wait(&mut Events::new(), NOW)), bad);
        backend.unregister(fd, token, watch(BOTH)).unwrap();
    });
    assert!(fine.unwrap());
}

/// What the emulation can be made to do.
#[cfg(all(target_os = "linux", not(external_devpoll)))]
mod provoked {
    use std::os::fd::BorrowedFd;

    use selectors::{DeferredSelector, Selector};
    use selectors_testkit::devpoll_emulation::{
        Flavor, Write, all_written, calls, fail_source, limit_entries, next_writes, refuse_to_open,
    };
    use selectors_testkit::fixtures::tcp_pair;
    use socket2::SockRef;

    use super::*;

    const NO_MEMORY: i32 = Errno::ENOMEM as i32;

    fn fails(after: usize) -> Write {
        Write::Failed { after, errno: NO_MEMORY }
    }

    type Sources<'a> = DevpollSelector<BorrowedFd<'a>>;

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
        // An error and no spin: it would be ready for ever.
        // Each wait tries again, by itself.
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
                // With a limit of one the manual page allows no room at all.
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

    type Putting<'a> = DeferredSelector<BorrowedFd<'a>, (), Devpoll>;

    fn deferred<'a>() -> Putting<'a> {
        Selector::with_backend(Deferred::new(Devpoll::new().unwrap()))
    }

    #[test]
    fn changes_that_were_put_off_are_one_write() {
        let pairs: Vec<_> = (0..30).map(|_| unix_pair().unwrap()).collect();
        let mut selector = deferred();
        let mut tokens = Vec::new();
        let before = calls();
        for (ours, _) in &pairs {
            tokens.push(selector.register(ours.as_fd(), Interest::WRITE, ()).unwrap());
        }
        assert_eq!(selector.select(LONG).unwrap().len(), 30);
        assert_eq!(calls().write - before.write, 1);
        for &token in &tokens[..10] {
            selector.modify(token, Interest::READ).unwrap();
        }
        for &token in &tokens[10..20] {
            selector.unregister(token).unwrap();
        }
        assert_eq!(selector.select(LONG).unwrap().len(), 10);
        // One for all that was modified, and one for each that was unregistered.
        assert_eq!(calls().write - before.write, 12);
        for (at, (ours, _)) in pairs.iter().enumerate() {
            let events = [Some(POLLIN), None, Some(POLLOUT)][at / 10];
            assert_eq!(in_kernel(selector.backend(), ours.as_raw_fd()), events);
        }
    }

    #[test]
    fn changes_that_fail_together_are_made_one_by_one() {
        for after in 0..=9 {
            let (first, _first_peer) = unix_pair().unwrap();
            let (second, _second_peer) = unix_pair().unwrap();
            let (third, _third_peer) = unix_pair().unwrap();
            let mut selector = deferred();
            let kept = selector.register(first.as_fd(), Interest::WRITE, ()).unwrap();
            let gone = selector.register(second.as_fd(), Interest::WRITE, ()).unwrap();
            assert_eq!(selector.select(LONG).unwrap().len(), 2);
            selector.modify(kept, BOTH).unwrap();
            selector.unregister(gone).unwrap();
            let new = selector.register(third.as_fd(), Interest::WRITE, ()).unwrap();
            // Together, and then the first by itself, which is then not watched at all.
            next_writes(&[fails(after), fails(after.min(2))]);
            let events = selector.select(LONG).unwrap();
            assert!(all_written());
            assert_eq!(tokens(&events), [kept, new]);
            let refusal = selector.backend().refusal(kept).and_then(io::Error::raw_os_error);
            assert_eq!(refusal, Some(NO_MEMORY));
            let events = [&first, &second, &third]
                .map(|socket| in_kernel(selector.backend(), socket.as_raw_fd()));
            assert_eq!(events, [None, None, Some(POLLOUT)]);
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
}
