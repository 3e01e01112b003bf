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

#[cfg(all(target_os = "linux", not(external_devpoll)))]
mod provoked;

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
    // SAFETY: `asked` is ours and writable.
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
    // The kernel accepts it, although there is nothing to watch.
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
    // Alone, so that no other test gets the number.
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
