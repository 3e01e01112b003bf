//! The filters that the kernel has for a source, and what they report.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use selectors::backend::Kqueue;
use selectors::{Backend, Events, Interest, KqueueSelector, Mode, Readiness, Token, Watch};
use selectors_sys::kqueue as sys;
use selectors_testkit::fixtures::{fill, pipe, unix_pair};

use super::{BOTH, LONG, NOW, had_filter, seen};

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
    // More than the capacity of the first wait, and not a multiple of two filters.
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
