//! The effect of changes on the current wait, and refused changes.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use selectors::backend::{Backend, DefaultBackend, Deferred, Poll};
use selectors::{Error, Interest, Mode, SharedSelector, Source};

use super::{LONG, NOW, during_a_wait, everywhere, tokens};

#[test]
fn registering_is_effective_in_the_wait_that_is_going_on() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        for number in 0..100 {
            let ((source, theirs), events) = during_a_wait(&mut selector, || {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                theirs.write_all(b"x").unwrap();
                (registrar.register(ours, Interest::READ, number).unwrap(), theirs)
            });
            assert_eq!(tokens(&events), [source.token()], "{kind}");
            assert_eq!(selector.get(source.token()), Some(&number));
            drop((source, theirs));
        }
        assert!(selector.is_empty());
    });
}

#[test]
fn modifying_is_effective_in_the_wait_that_is_going_on() {
    everywhere(|mut selector, kind| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let source = selector.registrar().register(ours, Interest::READ, 1).unwrap();
        for _ in 0..100 {
            let ((), events) = during_a_wait(&mut selector, || {
                source.modify(Interest::READ | Interest::WRITE).unwrap();
            });
            assert_eq!(tokens(&events), [source.token()], "{kind}");
            source.modify(Interest::READ).unwrap();
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        }
    });
}

#[test]
fn a_token_changes_its_own_source_and_no_other() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let parked = Interest::empty();
        let source = registrar.register_with(&ours, parked, 1, Mode::OneShot).unwrap();
        let old = source.token();
        for _ in 0..3 {
            registrar.modify(old, Interest::WRITE).unwrap();
            assert_eq!(tokens(&selector.select(LONG).unwrap()), [old], "{kind}");
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}: it keeps its mode");
        }
        drop(source);
        // Their slot becomes vacant, and is used again.
        assert!(selector.select(NOW).unwrap().is_empty());
        let source = registrar.register(&ours, parked, 2).unwrap();
        let refused = registrar.modify(old, Interest::WRITE);
        assert!(
            matches!(refused, Err(Error::NotRegistered { token, .. }) if token == old),
            "{kind}"
        );
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}: it is another source");
        registrar.modify_with(source.token(), Interest::WRITE, Mode::OneShot).unwrap();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [source.token()], "{kind}");
        assert!(selector.select(NOW).unwrap().is_empty(), "{kind}: one-shot");
    });
}

#[test]
fn what_is_parked_is_silent_until_it_is_not() {
    everywhere(|mut selector, kind| {
        for mode in [Mode::Level, Mode::OneShot] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let registrar = selector.registrar();
            let source = registrar.register_with(ours, Interest::empty(), 1, mode).unwrap();
            drop(theirs);
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
            let ((), events) =
                during_a_wait(&mut selector, || source.modify(Interest::READ).unwrap());
            assert_eq!(tokens(&events), [source.token()], "{kind}");
            source.park().unwrap();
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
        }
    });
}

#[test]
fn what_was_unregistered_is_not_reported() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        for _ in 0..100 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            let source = registrar.register(ours, Interest::READ, 1).unwrap();
            let token = source.token();
            assert_eq!(tokens(&selector.select(LONG).unwrap()), [token]);
            let mut ours = thread::spawn(move || source.into_inner()).join().unwrap();
            assert_eq!(selector.get(token), None);
            assert!(selector.select(NOW).unwrap().is_empty(), "{kind}");
            ours.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn unregistering_during_a_wait_does_not_end_it() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let waker = selector.waker();
        let ((), events) = during_a_wait(&mut selector, || {
            for _ in 0..100 {
                let (ours, _theirs) = UnixStream::pair().unwrap();
                drop(registrar.register(ours, Interest::READ, 1).unwrap());
            }
            waker.wake().unwrap();
        });
        assert!(events.woken() && events.is_empty(), "{kind}");
        assert!(!selector.select(NOW).unwrap().woken(), "{kind}");
    });
}

#[test]
fn a_refusal_gives_back_the_file_object_and_the_data() {
    everywhere(|selector, kind| {
        let registrar = selector.registrar();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let shared = Arc::new(ours);
        for _ in 0..100 {
            let source = registrar.register(Arc::clone(&shared), Interest::READ, 7).unwrap();
            for interest in [Interest::READ, Interest::empty()] {
                let refused = registrar.register(Arc::clone(&shared), interest, 8).unwrap_err();
                assert!(
                    matches!(refused.error, Error::AlreadyRegistered { token, .. }
                        if token == source.token()),
                    "{kind}"
                );
                assert_eq!(refused.data, 8);
            }
            let unknown = Interest::from_bits_retain(0x80);
            let refused = registrar.register(Arc::clone(&shared), unknown, 9).unwrap_err();
            assert!(matches!(refused.error, Error::InvalidInterest { .. }), "{kind}");
        }
        assert_eq!(Arc::strong_count(&shared), 1);
    });
}

#[test]
fn what_the_kernel_refuses_is_returned_to_the_caller() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        for during in [false, true] {
            let waker = selector.waker();
            let register = || {
                // SAFETY: nothing is done with it but to register it, which is refused.
                let closed = unsafe { BorrowedFd::borrow_raw(1_000_000) };
                let refused = [Interest::READ, Interest::empty()]
                    .map(|interest| registrar.register(closed, interest, 7).unwrap_err());
                waker.wake().unwrap();
                refused
            };
            let refused =
                if during { during_a_wait(&mut selector, register).0 } else { register() };
            for refused in refused {
                let error = io::Error::from(refused.error);
                assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::EBADF as i32), "{kind}");
                assert_eq!(refused.data, 7);
            }
        }
        assert!(selector.is_empty());
    });
}

#[test]
fn sources_can_be_of_different_types() {
    let selector: SharedSelector = SharedSelector::new().unwrap();
    let registrar = selector.registrar();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let first: Source<UnixStream> = registrar.register(ours, Interest::READ, ()).unwrap();
    let second: Source<std::os::fd::OwnedFd> =
        registrar.register(theirs.into(), Interest::READ, ()).unwrap();
    assert_ne!(first.token(), second.token());
    assert_eq!(selector.len(), 2);
}

#[test]
fn changes_of_a_deferring_backend_are_made_at_once_or_refused() {
    let refused = SharedSelector::<()>::with_backend(Deferred::new(Poll::new().unwrap()));
    let error = refused.unwrap_err();
    assert_eq!(error.to_string(), "sharing with deferred changes is not supported by this backend");

    let backend = DefaultBackend::new().unwrap();
    if backend.changer().unwrap().is_some() {
        let mut selector = SharedSelector::with_backend(Deferred::new(backend)).unwrap();
        assert!(!selector.capabilities().deferred);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let source = selector.registrar().register(ours, Interest::WRITE, ()).unwrap();
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [source.token()]);
    }
}
