//! The descriptor of the queue: watched by another, and in a forked child.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use selectors::backend::Kqueue;
use selectors::{Backend, Error, Events, Interest, KqueueSelector, Mode, Readiness, Token, Watch};
use selectors_testkit::fixtures::{in_forked_child, regular_file, unix_pair};

use super::{LONG, NOW, seen, tokens};

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
    // A queued event may still report it.
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
        // With a new queue it works again, and closes only that one.
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
    assert_eq!(tokens(&events), [token]);
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
