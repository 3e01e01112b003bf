//! kqueue: the conformance suite over its backend, and what it alone has to cope with. On Linux
//! over the emulation, or over what `SELECTORS_KQUEUE_LIB` names.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selectors::backend::{Deferred, Kqueue};
use selectors::{
    Backend, DeferredSelector, Error, Events, Interest, KqueueSelector, Mode, Readiness, Selector,
    Token, Watch,
};
use selectors_sys::kqueue as sys;
use selectors_testkit::fixtures::{
    fifo, fill, in_forked_child, pipe, regular_file, unix_pair, with_raw,
};

selectors_testkit::conformance_tests!(kqueue, Kqueue::new);
selectors_testkit::shared_conformance_tests!(shared, Kqueue::new);
selectors_testkit::conformance_tests!(deferred, || Kqueue::new().map(Deferred::new));

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

/// macOS has both, as it refuses nothing here.
fn has_both_filters_or_none<F>(selector: &KqueueSelector<F>, fd: RawFd) -> bool {
    let [read, write] = [sys::EVFILT_READ, sys::EVFILT_WRITE]
        .map(|filter| had_filter(selector.backend(), fd, filter));
    read == write
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
    assert!(has_both_filters_or_none(&selector, writer.as_raw_fd()));
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
    assert!(has_both_filters_or_none(&selector, writer.as_raw_fd()));
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

fn deferred() -> DeferredSelector<OwnedFd, (), Kqueue> {
    Selector::with_backend(Deferred::new(Kqueue::new().unwrap()))
}

#[cfg(all(target_os = "linux", not(external_kqueue)))]
#[test]
fn deferred_changes_go_in_the_changelist_of_the_call_that_waits() {
    use selectors_testkit::kqueue_emulation::calls;

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
    // A list that is filled to the last place may not be all: another call asks.
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
fn what_does_not_fit_the_changelist_is_made_by_itself() {
    let (reader, writer) = pipe().unwrap();
    let (turned_reader, turned) = pipe().unwrap();
    let (ours, _theirs) = unix_pair().unwrap();
    let (gone, _gone_peer) = unix_pair().unwrap();
    let (kept, mut kept_peer) = unix_pair().unwrap();
    let mut selector = deferred();
    let gone = selector.register(gone.into(), BOTH, ()).unwrap();
    let turned = selector.register(turned, Interest::READ, ()).unwrap();
    assert_eq!(selector.select(NOW).unwrap().len(), 1);
    close_reader(reader, &writer);
    let get = |selector: &DeferredSelector<OwnedFd, (), Kqueue>, token| {
        selector.get(token).unwrap().fileobj.try_clone().unwrap()
    };
    close_reader(turned_reader, &get(&selector, turned));
    // Refused by the kernel, for the ways about it; and beside them what is not.
    let dead = selector.register(writer, BOTH, ()).unwrap();
    selector.modify(turned, BOTH).unwrap();
    drop(selector.unregister(gone).unwrap());
    let file = selector.register(regular_file().unwrap().into(), Interest::READ, ()).unwrap();
    let idle = selector.register(ours.into(), Interest::READ, ()).unwrap();
    let kept = selector.register(kept.into(), Interest::READ, ()).unwrap();
    kept_peer.write_all(b"x").unwrap();
    for _ in 0..2 {
        let events = selector.select(LONG).unwrap();
        let mut tokens: Vec<_> = events.iter().map(selectors::Event::token).collect();
        tokens.sort();
        let mut expected = [dead, turned, file, kept];
        expected.sort();
        assert_eq!(tokens, expected, "{idle:?} is idle");
        assert!(events.iter().all(|event| !event.readiness().contains(Readiness::ERROR)));
        for token in expected {
            assert!(selector.backend().refusal(token).is_none());
        }
    }
}

#[test]
fn a_refused_change_does_not_keep_the_others_from_being_made() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let (second, mut second_peer) = unix_pair().unwrap();
    let mut selector: DeferredSelector<BorrowedFd<'_>, (), Kqueue> =
        Selector::with_backend(Deferred::new(Kqueue::new().unwrap()));
    let first = selector.register(ours.as_fd(), Interest::READ, ()).unwrap();
    let closed = with_raw(900_000, |fd| selector.register(fd, Interest::READ, ())).unwrap();
    let second = selector.register(second.as_fd(), Interest::READ, ()).unwrap();
    theirs.write_all(b"x").unwrap();
    second_peer.write_all(b"x").unwrap();
    let events = selector.select(LONG).unwrap();
    let mut tokens: Vec<_> = events.iter().map(selectors::Event::token).collect();
    tokens.sort();
    let mut expected = [first, closed, second];
    expected.sort();
    assert_eq!(tokens, expected);
    let refusal = selector.backend().refusal(closed).map(std::io::Error::raw_os_error);
    assert_eq!(refusal, Some(Some(Errno::EBADF as i32)));
}

#[cfg(all(target_os = "linux", not(external_kqueue)))]
#[test]
fn a_terminal_that_the_kernel_refuses_is_waited_for_beside_it() {
    use selectors_testkit::fixtures::{drain, terminal};

    // EINVAL from macOS for /dev/tty, and so from the emulation.
    selectors_testkit::kqueue_emulation::refuse_devices(Some(Errno::EINVAL as i32));
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
    assert!(had_filter(&backend, ours.as_raw_fd(), sys::EVFILT_READ), "silent, until it is armed");
    let fd = ours.as_raw_fd();
    backend.unregister(fd, token, watch).unwrap();
    // ENOENT for READ, and then for both.
    backend.unregister(fd, token, watch).unwrap();
}

/// What a wait reports of the only source.
fn seen<F>(selector: &mut KqueueSelector<F>, timeout: Option<Duration>) -> Option<Readiness> {
    let events = selector.select(timeout).unwrap();
    assert!(events.len() <= 1, "{events:?}");
    events.iter().next().map(selectors::Event::readiness)
}

#[test]
fn a_source_that_is_idle_by_now_is_not_reported_and_its_one_shot_is_not_spent() {
    for mode in [Mode::Level, Mode::Edge, Mode::OneShot] {
        let (mut ours, mut theirs) = unix_pair().unwrap();
        let mut selector = KqueueSelector::new().unwrap();
        for before in [true, false] {
            if before {
                theirs.write_all(b"x").unwrap();
            }
            let clone = ours.try_clone().unwrap();
            let token = selector.register_with(clone, Interest::READ, (), mode).unwrap();
            if !before {
                theirs.write_all(b"x").unwrap();
            }
            ours.read_exact(&mut [0]).unwrap();
            assert_eq!(seen(&mut selector, NOW), None, "{mode:?}: nothing to read");
            theirs.write_all(b"y").unwrap();
            assert_eq!(seen(&mut selector, LONG), Some(Readiness::READ), "{mode:?}");
            ours.read_exact(&mut [0]).unwrap();
            selector.unregister(token).unwrap();
        }
    }
}

#[test]
fn a_one_shot_that_is_armed_again_is_not_reported_when_it_is_idle_by_then() {
    let (mut ours, mut theirs) = unix_pair().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let clone = ours.try_clone().unwrap();
    let token = selector.register_with(clone, Interest::READ, (), Mode::OneShot).unwrap();
    for _ in 0..2 {
        theirs.write_all(b"x").unwrap();
        assert_eq!(seen(&mut selector, LONG), Some(Readiness::READ));
        assert_eq!(seen(&mut selector, NOW), None);
        selector.modify_with(token, Interest::READ, Mode::OneShot).unwrap();
        ours.read_exact(&mut [0]).unwrap();
        assert_eq!(seen(&mut selector, NOW), None);
    }
}

#[test]
fn a_full_pipe_is_not_writable_to_a_one_shot_source() {
    let (_reader, writer) = pipe().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    selector.register_with(&writer, Interest::WRITE, (), Mode::OneShot).unwrap();
    fill(&writer).unwrap();
    assert_eq!(seen(&mut selector, NOW), None);
}

#[test]
fn a_dead_pipe_is_reported_by_every_wait() {
    for interest in [Interest::WRITE, BOTH] {
        for full in [false, true] {
            let (reader, writer) = pipe().unwrap();
            if full {
                fill(&writer).unwrap();
            }
            let fd = writer.as_raw_fd();
            let mut selector = KqueueSelector::new().unwrap();
            let token = selector.register(&writer, interest, ()).unwrap();
            close_reader(reader, &writer);
            for _ in 0..4 {
                let seen = seen(&mut selector, LONG);
                assert!(seen.is_some_and(|seen| seen.contains(Readiness::WRITE)), "{seen:?}");
            }
            selector.modify(token, Interest::READ).unwrap();
            selector.modify(token, Interest::WRITE).unwrap();
            assert_eq!(seen(&mut selector, LONG), Some(Readiness::WRITE));
            selector.unregister(token).unwrap();
            for filter in [sys::EVFILT_READ, sys::EVFILT_WRITE] {
                assert!(!had_filter(selector.backend(), fd, filter));
            }
            assert!(selector.select(NOW).unwrap().is_empty());
        }
    }
}

#[test]
fn a_dead_pipe_is_reported_once_to_a_source_that_wants_that() {
    for mode in [Mode::OneShot, Mode::Edge] {
        let (reader, writer) = pipe().unwrap();
        fill(&writer).unwrap();
        let mut selector = KqueueSelector::new().unwrap();
        let token = selector.register_with(&writer, Interest::WRITE, (), mode).unwrap();
        close_reader(reader, &writer);
        for _ in 0..2 {
            assert!(seen(&mut selector, LONG).is_some(), "{mode:?}");
            assert!(seen(&mut selector, NOW).is_none(), "{mode:?}");
            selector.modify_with(token, Interest::WRITE, Mode::Level).unwrap();
            selector.modify_with(token, Interest::WRITE, mode).unwrap();
        }
    }
}

#[test]
fn a_dead_pipe_beside_deferred_changes_is_reported_by_every_wait() {
    let (reader, writer) = pipe().unwrap();
    let (ours, _theirs) = unix_pair().unwrap();
    let mut selector = deferred();
    let dead = selector.register(writer.try_clone().unwrap(), Interest::WRITE, ()).unwrap();
    assert_eq!(selector.select(NOW).unwrap().len(), 1);
    close_reader(reader, &writer);
    let idle = selector.register(ours.into(), Interest::READ, ()).unwrap();
    for _ in 0..3 {
        let events = selector.select(LONG).unwrap();
        let tokens: Vec<_> = events.iter().map(selectors::Event::token).collect();
        assert_eq!(tokens, [dead], "{idle:?} is idle");
    }
}

#[test]
fn a_pipe_with_a_name_ends() {
    let pipe = fifo().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let token = selector.register(&pipe.reader, Interest::READ, ()).unwrap();
    assert_eq!(seen(&mut selector, NOW), None);
    drop(pipe.writer);
    for _ in 0..2 {
        assert!(seen(&mut selector, LONG).is_some_and(|seen| seen.contains(Readiness::READ)));
    }
    selector.unregister(token).unwrap();
    assert!(selector.is_empty() && seen(&mut selector, NOW).is_none());

    let pipe = fifo().unwrap();
    fill(&pipe.writer).unwrap();
    let mut selector = deferred();
    let writer = OwnedFd::from(pipe.writer);
    selector.register_with(writer, Interest::WRITE, (), Mode::OneShot).unwrap();
    assert!(selector.select(NOW).unwrap().is_empty());
    drop(pipe.reader);
    assert_eq!(selector.select(LONG).unwrap().len(), 1);
    assert!(selector.select(NOW).unwrap().is_empty());
}

#[test]
fn a_terminal_that_hung_up_is_ready() {
    let (controller, terminal) = selectors_testkit::fixtures::terminal().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let before = selector.register(terminal.try_clone().unwrap(), Interest::READ, ()).unwrap();
    drop(controller);
    assert_eq!(selector.select(LONG).unwrap().len(), 1);
    // The kernel will not have it any more.
    let after = selector.register(terminal, BOTH, ()).unwrap();
    selector.modify(before, BOTH).unwrap();
    for _ in 0..2 {
        let events = selector.select(LONG).unwrap();
        let mut tokens: Vec<_> = events.iter().map(selectors::Event::token).collect();
        tokens.sort();
        assert_eq!(tokens, [before, after]);
        assert!(events.iter().all(selectors::Event::is_readable));
    }
}

#[cfg(all(target_os = "linux", not(external_kqueue)))]
#[test]
fn a_device_without_filters_is_ready() {
    use selectors_testkit::fixtures::null_device;
    use selectors_testkit::kqueue_emulation::refuse_devices;

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

#[test]
fn a_queue_that_is_watched_is_idle_once_it_was_waited_on() {
    let (mut ours, mut theirs) = unix_pair().unwrap();
    let mut inner = KqueueSelector::new().unwrap();
    let mut outer = KqueueSelector::new().unwrap();
    inner.register(ours.try_clone().unwrap(), Interest::READ, ()).unwrap();
    outer.register(inner.as_fd().try_clone_to_owned().unwrap(), Interest::READ, ()).unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(seen(&mut outer, LONG), Some(Readiness::READ));
    assert_eq!(seen(&mut inner, LONG), Some(Readiness::READ));
    ours.read_exact(&mut [0]).unwrap();
    // It may still say so by what was queued.
    let _ = seen(&mut outer, NOW);
    assert_eq!(seen(&mut inner, NOW), None);
    assert_eq!(seen(&mut outer, NOW), None);
}

#[test]
fn the_number_of_a_queue_is_another_files_in_a_child() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let mut slot = Some(KqueueSelector::new().unwrap());
    let selector = slot.as_mut().unwrap();
    let token = selector.register(&ours, Interest::READ, ()).unwrap();
    let number = selector.as_fd().as_raw_fd();
    let fine = in_forked_child(|| {
        // The child's own queue gets the number that is free.
        let mut other = KqueueSelector::new().unwrap();
        let mut files = Vec::new();
        while other.as_fd().as_raw_fd() != number {
            assert!(files.len() < 1000, "the queue is inherited");
            files.push(std::mem::replace(&mut other, KqueueSelector::new().unwrap()));
        }
        drop(files);
        let (own, mut own_peer) = unix_pair().unwrap();
        other.register(own, Interest::READ, ()).unwrap();
        let inherited = slot.as_mut().unwrap();
        assert!(matches!(inherited.modify(token, Interest::WRITE), Err(Error::Forked)));
        assert!(matches!(inherited.select(NOW), Err(Error::Forked)));
        // With a queue of its own it is as good as new, and closes none but that.
        inherited.after_fork().unwrap();
        inherited.modify(token, Interest::WRITE).unwrap();
        assert_eq!(seen(inherited, LONG), Some(Readiness::WRITE));
        drop(slot.take());
        assert!(other.select(NOW).unwrap().is_empty());
        own_peer.write_all(b"x").unwrap();
        assert_eq!(seen(&mut other, LONG), Some(Readiness::READ));
    });
    assert!(fine.unwrap());
    theirs.write_all(b"x").unwrap();
    let selector = slot.as_mut().unwrap();
    let events = selector.select(NOW).unwrap();
    assert_eq!(events.iter().map(selectors::Event::token).collect::<Vec<_>>(), [token]);
}

#[test]
fn a_queue_that_a_child_has_not_is_neither_used_nor_closed_there() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let mut slot = Some(Kqueue::new().unwrap());
    let number = slot.as_ref().unwrap().as_fd().as_raw_fd();
    let (token, watch) = (Token::from_bits(9), Watch::new(Interest::READ, Mode::Level));
    let fine = in_forked_child(|| {
        let mut files = Vec::new();
        while files.last().map(AsRawFd::as_raw_fd) != Some(number) {
            assert!(files.len() < 1000, "the queue is inherited");
            files.push(regular_file().unwrap());
        }
        let backend = slot.as_mut().unwrap();
        assert!(backend.register(ours.as_fd(), token, watch).is_err());
        assert!(backend.wait(&mut Events::new(), NOW).is_err());
        drop(slot.take());
        assert!(files.pop().unwrap().metadata().is_ok());
    });
    assert!(fine.unwrap());
    let backend = slot.as_mut().unwrap();
    backend.register(ours.as_fd(), token, watch).unwrap();
    theirs.write_all(b"x").unwrap();
    let mut events = Events::new();
    backend.wait(&mut events, LONG).unwrap();
    assert_eq!(events.len(), 1);
}
