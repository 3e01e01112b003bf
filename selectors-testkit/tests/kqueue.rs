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
use selectors_testkit::fixtures::{in_forked_child, pipe, regular_file, unix_pair};

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

#[cfg(all(target_os = "linux", not(external_kqueue)))]
#[test]
fn a_terminal_that_the_kernel_refuses_is_waited_for_beside_it() {
    use selectors_testkit::fixtures::{drain, terminal};

    // EINVAL from macOS for /dev/tty, and so from the emulation.
    selectors_testkit::kqueue_emulation::refuse_terminals(true);
    let (controller, terminal) = terminal().unwrap();
    let (ours, mut theirs) = unix_pair().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let socket = selector.register(ours.as_fd(), Interest::READ, ()).unwrap();
    let refused = selector.register_with(terminal.as_fd(), Interest::READ, (), Mode::Edge);
    let refused = refused.map_err(|refused| std::io::Error::from(refused.error).kind());
    assert_eq!(refused, Err(std::io::ErrorKind::InvalidInput), "there are no edges to be seen");
    let tty = selector.register_with(terminal.as_fd(), Interest::READ, (), Mode::OneShot).unwrap();
    let tokens = |events: &Events| {
        let mut tokens: Vec<_> = events.iter().map(selectors::Event::token).collect();
        tokens.sort();
        tokens
    };
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
