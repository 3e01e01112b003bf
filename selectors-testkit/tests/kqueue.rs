//! kqueue: the conformance suite over its backend, and what it alone has to cope with. On Linux
//! over the emulation, or over what `SELECTORS_KQUEUE_LIB` names.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selectors::backend::Kqueue;
use selectors::{Backend, Events, Interest, KqueueSelector, Mode, Readiness, Token, Watch};
use selectors_sys::kqueue as sys;
use selectors_testkit::fixtures::{in_forked_child, null_device, pipe, regular_file, unix_pair};

selectors_testkit::conformance_tests!(kqueue, Kqueue::new);

const BOTH: Interest = Interest::READ.union(Interest::WRITE);
const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(20));

/// Whether the kernel has this filter for `fd`: found out by removing it.
fn had_filter(queue: &impl AsFd, fd: RawFd, filter: sys::Filter) -> bool {
    let ident = usize::try_from(fd).unwrap();
    let change = sys::EV_SET(ident, filter, sys::EV_DELETE, 0, 0, ptr::null_mut());
    let queue = queue.as_fd().as_raw_fd();
    // SAFETY: one change is read, nothing is written, and without room nothing is waited for.
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

/// Closes the reading end of a pipe, and waits until nobody has it: a child that another test has
/// forked may, for a moment.
fn close_reader(reader: OwnedFd, writer: &OwnedFd) {
    drop(reader);
    let mut polled = [PollFd::new(writer.as_fd(), PollFlags::empty())];
    assert_eq!(poll(&mut polled, PollTimeout::from(20_000_u16)), Ok(1));
}

#[test]
fn what_is_refused_is_undone_in_both_directions() {
    // READ is accepted, and WRITE is not: the other end is gone. It is ready all the same.
    let (reader, writer) = pipe().unwrap();
    close_reader(reader, &writer);
    let mut selector = KqueueSelector::new().unwrap();
    let token = selector.register(&writer, BOTH, ()).unwrap();
    let events = selector.select(NOW).unwrap();
    assert_eq!(events.iter().map(selectors::Event::token).collect::<Vec<_>>(), [token]);
    for filter in [sys::EVFILT_READ, sys::EVFILT_WRITE] {
        assert!(!had_filter(selector.backend(), writer.as_raw_fd(), filter));
    }
}

#[test]
fn a_modify_that_is_refused_leaves_what_was_there() {
    let (reader, writer) = pipe().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let token = selector.register(&writer, Interest::READ, ()).unwrap();
    close_reader(reader, &writer);
    // The kernel will not have WRITE, so the source is kept beside it.
    selector.modify(token, BOTH).unwrap();
    let events = selector.select(LONG).unwrap();
    assert!(events.iter().all(selectors::Event::is_writable));
    assert_eq!(events.len(), 1);
    for filter in [sys::EVFILT_READ, sys::EVFILT_WRITE] {
        assert!(!had_filter(selector.backend(), writer.as_raw_fd(), filter));
    }
    selector.unregister(token).unwrap();
    assert!(selector.select(NOW).unwrap().is_empty());
}

#[test]
fn a_change_of_mode_takes_hold() {
    // EV_ADD can neither set nor drop EV_CLEAR and EV_ONESHOT of a filter that is there.
    let (ours, mut theirs) = unix_pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let token = selector.register(&ours, BOTH, ()).unwrap();
    let modes = [Mode::Level, Mode::Edge, Mode::OneShot, Mode::Edge, Mode::Level, Mode::OneShot];
    for mode in modes {
        selector.modify_with(token, BOTH, mode).unwrap();
        let mut seen = [0; 3];
        for seen in &mut seen {
            *seen = selector.select(NOW).unwrap().len();
        }
        assert_eq!(seen, if mode == Mode::Level { [1, 1, 1] } else { [1, 0, 0] }, "{mode:?}");
    }
}

#[test]
fn both_directions_are_one_event_however_many_there_are() {
    // More than the first wait has room for, which is no multiple of two filters.
    let mut selector = KqueueSelector::new().unwrap();
    let (first, mut first_peer) = unix_pair().unwrap();
    first_peer.write_all(b"x").unwrap();
    selector.register(first, Interest::READ, ()).unwrap();
    let mut peers = Vec::new();
    for _ in 0..100 {
        let (ours, mut theirs) = unix_pair().unwrap();
        theirs.write_all(b"x").unwrap();
        peers.push(theirs);
        selector.register(ours, BOTH, ()).unwrap();
    }
    let events = selector.select(LONG).unwrap();
    let both = Readiness::READ | Readiness::WRITE;
    assert_eq!(events.len(), 101);
    assert_eq!(events.iter().filter(|event| event.readiness() == both).count(), 100);
}

#[test]
fn what_the_kernel_refuses_is_waited_for_beside_it() {
    // /dev/null: EINVAL from macOS and from the emulation. Others watch it themselves.
    let null = null_device().unwrap();
    let (ours, mut theirs) = unix_pair().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let socket = selector.register(ours.as_fd(), Interest::READ, ()).unwrap();
    let device = selector.register_with(null.as_fd(), Interest::READ, (), Mode::OneShot).unwrap();
    assert_eq!(selector.select(LONG).unwrap().len(), 1);
    // It has fired: now only the socket is waited for.
    let waker = selector.waker().unwrap();
    assert!(selector.select(Some(Duration::from_millis(2))).unwrap().is_empty());
    waker.wake().unwrap();
    assert!(selector.select(LONG).unwrap().woken());
    theirs.write_all(b"x").unwrap();
    let events = selector.select(LONG).unwrap();
    assert_eq!(events.iter().map(selectors::Event::token).collect::<Vec<_>>(), [socket]);
    selector.modify(device, Interest::WRITE).unwrap();
    assert_eq!(selector.select(LONG).unwrap().len(), 2);
    if cfg!(target_os = "linux") {
        // There are no edges to be seen.
        let refused = selector.modify_with(device, Interest::WRITE, Mode::Edge).unwrap_err();
        assert_eq!(std::io::Error::from(refused).kind(), std::io::ErrorKind::InvalidInput);
        selector.modify(device, Interest::WRITE).unwrap();
    }
    selector.unregister(device).unwrap();
    let events = selector.select(LONG).unwrap();
    assert_eq!(events.iter().map(selectors::Event::token).collect::<Vec<_>>(), [socket]);
}

#[test]
fn a_file_at_its_end_is_ready_and_not_given_to_the_kernel() {
    let file = regular_file().unwrap();
    nix::unistd::lseek(&file, 0, nix::unistd::Whence::SeekEnd).unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    selector.register(&file, Interest::READ, ()).unwrap();
    assert_eq!(selector.select(LONG).unwrap().len(), 1);
    assert!(!had_filter(selector.backend(), file.as_raw_fd(), sys::EVFILT_READ));
}

#[test]
fn a_fired_one_shot_can_be_unregistered_and_a_closed_one_too() {
    let (ours, mut theirs) = unix_pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let mut backend = Kqueue::new().unwrap();
    let (token, watch) = (Token::from_bits(9), Watch::new(BOTH, Mode::OneShot));
    backend.register(ours.as_fd(), token, watch).unwrap();
    let mut events = Events::new();
    backend.wait(&mut events, NOW).unwrap();
    assert_eq!(events.len(), 2, "one for each direction");
    assert!(!had_filter(&backend, ours.as_raw_fd(), sys::EVFILT_READ));
    let fd = ours.as_raw_fd();
    backend.unregister(fd, token, watch).unwrap();
    // ENOENT both times.
    backend.unregister(fd, token, watch).unwrap();
}

#[test]
fn a_forked_child_has_no_queue() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    selector.register(&ours, Interest::READ, ()).unwrap();
    theirs.write_all(b"x").unwrap();
    let fine = in_forked_child(|| {
        let refused = selector.select(NOW).map_err(std::io::Error::from);
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(Errno::EBADF as i32));
    });
    assert!(fine.unwrap());
    assert_eq!(selector.select(NOW).unwrap().len(), 1);
}
