//! Deferred changes, which go in the changelist of the call that waits.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use selectors::backend::{Deferred, Kqueue};
use selectors::{DeferredSelector, Interest, Readiness, Selector};
use selectors_testkit::fixtures::{pipe, regular_file, unix_pair, with_raw};

use super::{BOTH, LONG, NOW, close_reader, deferred, tokens};

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
    // Changes that the kernel refuses, together with ones that it accepts.
    let dead = selector.register(writer, BOTH, ()).unwrap();
    selector.modify(turned, BOTH).unwrap();
    drop(selector.unregister(gone).unwrap());
    let file = selector.register(regular_file().unwrap().into(), Interest::READ, ()).unwrap();
    let idle = selector.register(ours.into(), Interest::READ, ()).unwrap();
    let kept = selector.register(kept.into(), Interest::READ, ()).unwrap();
    kept_peer.write_all(b"x").unwrap();
    for _ in 0..2 {
        let events = selector.select(LONG).unwrap();
        let tokens = tokens(&events);
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
    let tokens = tokens(&events);
    let mut expected = [first, closed, second];
    expected.sort();
    assert_eq!(tokens, expected);
    let refusal = selector.backend().refusal(closed).map(std::io::Error::raw_os_error);
    assert_eq!(refusal, Some(Some(Errno::EBADF as i32)));
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
        let tokens = tokens(&events);
        assert_eq!(tokens, [dead], "{idle:?} is idle");
    }
}
