//! Deferred changes, which are one write.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use selectors::backend::{Deferred, Devpoll};
use selectors::{DeferredSelector, Interest, Selector};
use selectors_sys::devpoll::{POLLIN, POLLOUT};
use selectors_testkit::devpoll_emulation::{all_written, calls, next_writes};
use selectors_testkit::fixtures::unix_pair;

use super::{NO_MEMORY, fails};
use crate::{BOTH, LONG, in_kernel, tokens};

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
        // Together, and then the first one alone, which is then not watched at all.
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
