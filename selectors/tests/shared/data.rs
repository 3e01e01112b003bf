//! The lifetime of data and handles.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use selectors::{BackendKind, Error, Interest, SharedSelector, Source};

use super::hooked::{Call, Hooked};
use super::{LONG, NOW, during_a_wait, everywhere, in_time, tokens};

#[test]
fn data_can_be_changed_while_its_source_is_registered() {
    everywhere(|mut selector, kind| {
        assert!(selector.is_empty(), "{kind}");
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let source = selector.registrar().register(ours, Interest::READ, 1).unwrap();
        let token = source.token();
        assert!(!selector.is_empty(), "{kind}");
        *selector.get_mut(token).expect("it is registered") += 1;
        assert_eq!(selector.get(token), Some(&2), "{kind}");
        drop(source);
        assert_eq!(selector.get_mut(token), None, "{kind}");
        assert!(selector.is_empty(), "{kind}");
    });
}

#[test]
fn handles_show_what_they_are_of() {
    let selector: SharedSelector<u32> = SharedSelector::new().unwrap();
    let registrar = selector.registrar();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = registrar.register(ours, Interest::READ, 1).unwrap();
    assert_eq!(format!("{selector:?} {registrar:?}"), "SharedSelector { .. } Registrar { .. }");
    let (token, fileobj) = (source.token(), &*source);
    let shown = format!("Source {{ token: {token:?}, fileobj: {fileobj:?}, .. }}");
    assert_eq!(format!("{source:?}"), shown);
}

#[test]
fn data_is_dropped_by_the_wait_after_it_was_unregistered() {
    for kind in BackendKind::available() {
        let mut selector = SharedSelector::of_kind(kind).unwrap();
        let alive = Arc::new(());
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let source =
            selector.registrar().register(ours, Interest::READ, Arc::clone(&alive)).unwrap();
        let token = source.token();
        selector.select(LONG).unwrap();
        let data = selector.get(token).unwrap();
        drop(source);
        // It was borrowed before, and is good until the next wait.
        assert!(Arc::ptr_eq(data, &alive), "{kind}");
        assert!(selector.get(token).is_none(), "{kind}");
        assert_eq!(Arc::strong_count(&alive), 2, "{kind}");
        selector.select(NOW).unwrap();
        assert_eq!(Arc::strong_count(&alive), 1, "{kind}");
    }
}

#[test]
fn slots_are_used_again_under_other_tokens_even_if_no_wait_ends() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let waker = selector.waker();
        let rounds = if kind == BackendKind::Epoll { 20_000 } else { 5_000 };
        let (slots, _) = during_a_wait(&mut selector, || {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let mut ours = ours;
            let mut tokens = std::collections::HashSet::new();
            let mut slots = std::collections::HashSet::new();
            for round in 0..rounds {
                let source = registrar.register(ours, Interest::READ, round).unwrap();
                assert!(tokens.insert(source.token()), "{kind}: {:?} came twice", source.token());
                slots.insert(source.token().to_bits() >> 32);
                ours = source.into_inner();
            }
            waker.wake().unwrap();
            slots.len()
        });
        assert!(slots < rounds as usize / 2 || rounds < 10_000, "{kind}: {slots} slots");
    });
}

#[test]
fn handles_outlive_their_selector_harmlessly() {
    let outlive = |selector: SharedSelector<u32>, kind| {
        let registrar = selector.registrar();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let source = registrar.register(ours, Interest::READ, 1).unwrap();
        let waker = registrar.waker();
        // Also by a panic.
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            let _selector = selector;
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(dropped.is_err());
        assert!(matches!(source.modify(Interest::WRITE), Err(Error::Closed)), "{kind}");
        let refused = registrar.register(theirs, Interest::READ, 2).unwrap_err();
        assert!(matches!(refused.error, Error::Closed), "{kind}");
        waker.wake().unwrap();
        source.into_inner().write_all(b"x").unwrap();
    };
    everywhere(|selector, kind| in_time(move || outlive(selector, kind)));
}

#[test]
fn data_that_holds_handles_goes_with_the_selector() {
    type Data = std::sync::Mutex<Option<Box<dyn std::any::Any + Send>>>;
    let goes = |kind| {
        let selector: SharedSelector<Data> = SharedSelector::of_kind(kind).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let held = selector.registrar().register(ours, Interest::READ, Data::default()).unwrap();
        let (other, mut peer) = UnixStream::pair().unwrap();
        let data = Data::new(Some(Box::new(held)));
        let holder = selector.registrar().register(other, Interest::READ, data).unwrap();
        drop(selector);
        let mut theirs = theirs;
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "{kind}: the held source was closed");
        drop(holder);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "{kind}");
    };
    for kind in BackendKind::available() {
        in_time(move || goes(kind));
    }
}

#[test]
fn a_panic_leaves_the_selector_usable() {
    everywhere(|mut selector, kind| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let source = selector.registrar().register(ours, Interest::READ, 1).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let events = selector.select(LONG).unwrap();
            assert_eq!(selector.get(events.iter().next().unwrap().token()), Some(&1));
            std::panic::resume_unwind(Box::new("handled"));
        }));
        assert!(panicked.is_err());
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [source.token()], "{kind}");
    });
}

#[test]
fn a_panic_in_the_data_leaves_the_selector_usable() {
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                std::panic::resume_unwind(Box::new("dropped"));
            }
        }
    }
    let mut selector = SharedSelector::new().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let data = Bomb(Arc::clone(&dropped));
        drop(selector.registrar().register(ours, Interest::READ, data).unwrap());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| selector.select(NOW))).is_err());
    selector.select(NOW).unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn handles_cross_threads() {
    fn crosses<S: Send + Sync>(_: &S) {}
    fn moves<S: Send>(_: &S) {}
    let selector = SharedSelector::<std::cell::Cell<u32>>::new().unwrap();
    moves(&selector);
    let registrar = selector.registrar();
    crosses(&registrar);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = registrar.register(ours, Interest::READ, std::cell::Cell::new(1)).unwrap();
    crosses(&source);
    assert!(source.as_fd().as_raw_fd() >= 0);
}

/// A file object that uses the selector when its descriptor is requested.
struct Meddling(UnixStream, Arc<std::sync::OnceLock<Source<UnixStream, u32>>>);

impl AsFd for Meddling {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        if let Some(other) = self.1.get() {
            other.modify(Interest::READ).unwrap();
            other.park().unwrap();
        }
        self.0.as_fd()
    }
}

#[test]
fn a_file_object_may_use_the_selector_when_it_is_asked_for_its_descriptor() {
    everywhere(|mut selector, kind| {
        let registrar = selector.registrar();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let other = Arc::new(std::sync::OnceLock::new());
        let source =
            registrar.register(Meddling(ours, Arc::clone(&other)), Interest::empty(), 1).unwrap();
        assert!(other.set(registrar.register(theirs, Interest::empty(), 2).unwrap()).is_ok());
        let (done, is_done) = std::sync::mpsc::channel();
        // It would hang if its descriptor was requested while a lock is held.
        std::thread::spawn(move || {
            source.modify(Interest::WRITE).unwrap();
            done.send(source).unwrap();
        });
        let source = is_done.recv_timeout(LONG.unwrap()).expect("modify returns");
        assert_eq!(tokens(&selector.select(LONG).unwrap()), [source.token()], "{kind}");
    });
}

/// What was registered, or is unregistered, when a backend panics leaves nothing behind, and what was
/// modified is as before.
#[test]
fn a_panic_in_a_backend_leaves_the_selector_usable() {
    type When = fn(Call) -> bool;
    let panics: Arc<Mutex<Option<When>>> = Arc::default();
    let modified = Arc::new(AtomicUsize::new(0));
    let backend = {
        let (panics, modified) = (Arc::clone(&panics), Arc::clone(&modified));
        Hooked::new(move |call| {
            modified.fetch_add(usize::from(call == Call::Modify), Ordering::Relaxed);
            if panics.lock().unwrap().take_if(|panics| panics(call)).is_some() {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        })
    };
    let panicking = |when, act: &mut dyn FnMut()| {
        *panics.lock().unwrap() = Some(when);
        catch_unwind(AssertUnwindSafe(act)).unwrap_err();
    };
    let mut selector = SharedSelector::with_backend(backend).unwrap();
    let registrar = selector.registrar();
    let data = Arc::new(());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let offered: When = |call| call == Call::Offer;
    for when in [offered, |call| matches!(call, Call::Register(_))] {
        panicking(when, &mut || {
            drop(registrar.register(&ours, Interest::READ, Arc::clone(&data)));
        });
        selector.select(NOW).unwrap();
        assert_eq!((Arc::strong_count(&data), selector.len()), (1, 0));
    }
    let source = registrar.register(&theirs, Interest::READ, Arc::clone(&data)).unwrap();
    panicking(|call| call == Call::Modify, &mut || source.modify(Interest::WRITE).unwrap());
    source.modify(Interest::WRITE).unwrap();
    assert_eq!(modified.load(Ordering::Relaxed), 2, "it was watched as before");
    assert_eq!(tokens(&selector.select(LONG).unwrap()), [source.token()]);
    let (token, mut source) = (source.token(), Some(source));
    panicking(|call| call == Call::Unregister, &mut || drop(source.take()));
    assert!(selector.get(token).is_none());
    assert!(selector.select(NOW).unwrap().is_empty());
    assert_eq!((Arc::strong_count(&data), selector.len()), (1, 0));
}
