//! What the kernel refuses, or reports only once.

use std::os::fd::{AsRawFd, OwnedFd};

use selectors::{Interest, KqueueSelector, Mode, Readiness};
use selectors_sys::kqueue as sys;
use selectors_testkit::fixtures::{fifo, fill, pipe, regular_file};

use super::{
    BOTH, LONG, NOW, close_reader, deferred, had_filter, has_both_filters_or_none, seen, tokens,
};

#[test]
fn what_is_refused_is_undone_in_both_directions() {
    // READ is accepted, and WRITE is refused, because the other end is closed. The source is ready
    // nevertheless.
    let (reader, writer) = pipe().unwrap();
    close_reader(reader, &writer);
    let mut selector = KqueueSelector::new().unwrap();
    let token = selector.register(&writer, BOTH, ()).unwrap();
    let events = selector.select(NOW).unwrap();
    assert_eq!(tokens(&events), [token]);
    assert!(has_both_filters_or_none(&selector, writer.as_raw_fd()));
}

#[test]
fn a_modify_that_is_refused_leaves_what_was_there() {
    let (reader, writer) = pipe().unwrap();
    let mut selector = KqueueSelector::new().unwrap();
    let token = selector.register(&writer, Interest::READ, ()).unwrap();
    close_reader(reader, &writer);
    // The kernel refuses WRITE, so the source is tracked in user space.
    selector.modify(token, BOTH).unwrap();
    let events = selector.select(LONG).unwrap();
    assert!(events.iter().all(selectors::Event::is_writable));
    assert_eq!(events.len(), 1);
    assert!(has_both_filters_or_none(&selector, writer.as_raw_fd()));
    selector.unregister(token).unwrap();
    assert!(selector.select(NOW).unwrap().is_empty());
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
        let tokens = tokens(&events);
        assert_eq!(tokens, [before, after]);
        assert!(events.iter().all(selectors::Event::is_readable));
    }
}
