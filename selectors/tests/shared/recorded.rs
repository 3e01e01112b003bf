//! Which calls a selector makes, and what it does with events that no kernel is known to report.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use selectors::{Error, Event, Interest, Mode, Readiness, Selector, SharedSelector, Source, Token};

use super::recorder::Recorder;
use super::{NOW, in_time, tokens};

/// A source of the selector.
fn register<'a>(
    selector: &SharedSelector<u32>,
    file: &'a UnixStream,
    interest: Interest,
    mode: Mode,
) -> Source<&'a UnixStream, u32> {
    selector.registrar().register_with(file, interest, 1, mode).unwrap()
}

#[test]
fn the_kernel_makes_the_changes_of_what_it_watches() {
    let recorder = Recorder::default();
    recorder.record().capabilities.exclusive = true;
    let selector = recorder.selector();
    let changes = || recorder.record().changes();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = register(&selector, &ours, Interest::READ, Mode::Level);
    assert_eq!(changes(), ["kernel: register"]);
    source.modify(Interest::WRITE).unwrap();
    assert_eq!(changes(), ["kernel: modify"]);
    source.park().unwrap();
    assert_eq!(changes(), ["kernel: unregister"]);
    source.modify(Interest::WRITE).unwrap();
    assert_eq!(changes(), ["kernel: register"]);
    source.modify_with(Interest::READ, Mode::Exclusive).unwrap();
    assert_eq!(changes(), ["modify"], "the backend registers it again");
    source.modify_with(Interest::READ, Mode::Level).unwrap();
    drop(source);
    assert_eq!(changes(), ["modify", "unregister"]);
    drop(register(&selector, &ours, Interest::READ, Mode::Level));
    assert_eq!(changes(), ["kernel: register", "kernel: unregister"]);
}

#[test]
fn the_backend_makes_the_changes_of_what_the_kernel_declines() {
    let recorder = Recorder::default();
    recorder.record().declines = true;
    let selector = recorder.selector();
    let changes = || recorder.record().changes();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = register(&selector, &ours, Interest::READ, Mode::Level);
    assert_eq!(changes(), ["kernel: register", "register"]);
    source.modify(Interest::WRITE).unwrap();
    assert_eq!(changes(), ["modify"]);
    source.park().unwrap();
    assert_eq!(changes(), ["unregister"]);
    source.modify(Interest::WRITE).unwrap();
    assert_eq!(changes(), ["kernel: register", "register"]);
    drop(source);
    assert_eq!(changes(), ["unregister"]);
}

#[test]
fn what_is_refused_is_armed_again_where_it_is_watched() {
    let recorder = Recorder::default();
    recorder.record().refuses = &["kernel: unregister"];
    let selector = recorder.selector();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = register(&selector, &ours, Interest::READ, Mode::Level);
    recorder.record().changes();
    let refused = source.park().unwrap_err().to_string();
    let expected = format!("cannot modify descriptor {}: ", ours.as_raw_fd());
    assert!(refused.starts_with(&expected), "{refused}");
    assert_eq!(recorder.record().changes(), ["kernel: unregister", "kernel: modify"]);
    // The kernel may have lost it, which the backend finds out.
    recorder.record().refuses = &["kernel: modify", "modify"];
    source.modify(Interest::WRITE).unwrap_err();
    assert_eq!(recorder.record().changes(), ["kernel: modify", "modify", "modify"]);
}

/// A file object whose descriptor changes.
struct Odd([UnixStream; 2], Cell<usize>);

impl AsFd for Odd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0[self.1.get()].as_fd()
    }
}

#[test]
fn a_parked_source_is_not_watched_under_another_number() {
    let recorder = Recorder::default();
    let selector = recorder.selector();
    let odd = Odd(UnixStream::pair().unwrap().into(), Cell::new(0));
    let source = selector.registrar().register(odd, Interest::READ, 1).unwrap();
    source.park().unwrap();
    source.1.set(1);
    recorder.record().changes();
    source.modify(Interest::READ).unwrap_err();
    assert!(recorder.record().changes().is_empty(), "it is refused");
    source.1.set(0);
    source.modify(Interest::READ).unwrap();
    assert_eq!(recorder.record().changes(), ["kernel: register"]);
    // What is watched is changed by its number, which is known.
    source.1.set(1);
    recorder.record().refuses = &["kernel: modify"];
    source.modify(Interest::WRITE).unwrap();
    source.1.set(0);
}

#[test]
fn a_kernel_that_only_reports_what_is_masked_is_replaced() {
    let recorder = Recorder::default();
    let mut selector = recorder.selector();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (other, _peer) = UnixStream::pair().unwrap();
    let parked = register(&selector, &ours, Interest::empty(), Mode::Level);
    let source = register(&selector, &other, Interest::READ, Mode::Level);
    let waker = recorder.record().waker.expect("there is one");
    let masked = Event::new(parked.token(), Readiness::HANGUP);
    let ready = Event::new(source.token(), Readiness::READ);
    let wake = Event::new(waker, Readiness::READ);
    let mut rebuilt = |events: &[Event], waits| {
        recorder.record().events = events.into();
        for _ in 0..waits {
            assert_eq!(selector.select(NOW).unwrap().len(), usize::from(events.contains(&ready)));
        }
        std::mem::take(&mut recorder.record().rebuilt_with).len()
    };
    assert_eq!(rebuilt(&[masked], 64), 0);
    assert_eq!(rebuilt(&[masked], 1), 1);
    for seldom in [&[masked, ready][..], &[ready], &[masked, wake], &[]] {
        assert_eq!(rebuilt(&[masked], 64), 0);
        assert_eq!(rebuilt(seldom, 1), 0);
        assert_eq!(rebuilt(&[masked], 64), 0);
        assert_eq!(rebuilt(seldom, 100), 0);
    }
}

#[test]
fn a_token_of_nobody_is_a_ghost_and_no_wake() {
    let recorder = Recorder::default();
    let mut selector = recorder.selector();
    let foreign = Event::new(Token::from_bits(1_000_000 << 32), Readiness::READ);
    recorder.record().events = vec![foreign];
    let events = selector.select(NOW).unwrap();
    assert!(events.is_empty() && !events.woken());
    assert_eq!(recorder.record().rebuilt_with.len(), 1);
}

#[test]
fn a_new_kernel_object_watches_what_is_armed() {
    let recorder = Recorder::default();
    recorder.record().capabilities.edge = true;
    let mut selector = recorder.selector();
    let files = [(); 4].map(|()| UnixStream::pair().unwrap().0);
    let level = register(&selector, &files[0], Interest::READ, Mode::Level);
    let edge = register(&selector, &files[1], Interest::READ, Mode::Edge);
    let fired = register(&selector, &files[2], Interest::READ, Mode::OneShot);
    let _parked = register(&selector, &files[3], Interest::empty(), Mode::Level);
    let ready = |token| Event::new(token, Readiness::READ);
    recorder.record().events = vec![ready(fired.token())];
    assert_eq!(tokens(&selector.select(NOW).unwrap()), [fired.token()]);
    let (waker, token) = (selector.waker(), recorder.record().waker.expect("there is one"));
    let ghost = ready(Token::from_bits(1_000_000 << 32));
    {
        let mut record = recorder.record();
        record.events = vec![ghost, ready(token)];
        record.pending = [level.token(), edge.token(), token].map(ready).into();
        let waker = waker.clone();
        record.during_rebuild = Some(Box::new(move || waker.wake().unwrap()));
    }
    // Once before the kernel object is replaced, and once while it is.
    for before in [false, true] {
        if before {
            waker.wake().unwrap();
        }
        let events = selector.select(NOW).unwrap();
        assert!(events.woken(), "{before}");
        assert_eq!(tokens(&events), [edge.token()], "others are reported by the new one");
        let sources = recorder.record().rebuilt_with.pop().expect("one attempt");
        assert_eq!(sources, [level.token(), edge.token()]);
    }
    recorder.record().events = vec![ghost];
    recorder.record().pending = vec![ready(token)];
    assert!(selector.select(NOW).unwrap().woken(), "by the old one alone");
    recorder.record().changes();
    fired.rearm().unwrap();
    assert_eq!(recorder.record().changes(), ["kernel: register"], "it was not watched");
}

#[test]
fn a_dropped_selector_keeps_neither_backend_nor_changer() {
    let recorder = Recorder::default();
    let selector = recorder.selector();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (registrar, waker) = (selector.registrar(), selector.waker());
    let source = registrar.register(ours, Interest::READ, 1).unwrap();
    drop(selector);
    assert_eq!(recorder.references(), 1, "whoever keeps a handle");
    in_time(move || drop((source, registrar, waker)));
}

#[test]
fn reg_6_only_what_the_backend_supports_reaches_it() {
    let recorder = Recorder::default();
    let selector = recorder.selector();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = register(&selector, &ours, Interest::READ, Mode::Level);
    recorder.record().changes();
    for (interest, mode) in [
        (Interest::READ, Mode::Edge),
        (Interest::READ, Mode::Exclusive),
        (Interest::PRIORITY, Mode::Level),
    ] {
        let refused = source.modify_with(interest, mode).unwrap_err();
        assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
        let refused = selector.registrar().modify_with(source.token(), interest, mode).unwrap_err();
        assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    }
    assert!(recorder.record().changes().is_empty());
}

#[test]
fn events_of_a_failed_rebuild_are_reported_once() {
    let recorder = Recorder::default();
    let mut selector = recorder.selector();
    let files = [(); 3].map(|()| UnixStream::pair().unwrap().0);
    let [level, fired, once] = [
        register(&selector, &files[0], Interest::READ, Mode::Level),
        register(&selector, &files[1], Interest::READ, Mode::OneShot),
        register(&selector, &files[2], Interest::READ, Mode::OneShot),
    ];
    let ready = |token| Event::new(token, Readiness::READ);
    {
        let mut record = recorder.record();
        record.refuses = &["rebuild"];
        record.events =
            [Token::from_bits(1_000_000 << 32), level.token(), fired.token()].map(ready).into();
        record.pending = [fired.token(), level.token(), once.token()].map(ready).into();
    }
    // The old kernel object goes on, and has reported them.
    let events = selector.select(NOW).unwrap();
    assert_eq!(tokens(&events), [level.token(), fired.token(), once.token()]);
    recorder.record().events.clear();
    recorder.record().changes();
    once.rearm().unwrap();
    assert_eq!(recorder.record().changes(), ["kernel: modify"], "it is watched as before");
}

#[test]
fn events_that_may_repeat_are_merged_and_end_no_wait_by_themselves() {
    let recorder = Recorder::default();
    let mut selector = recorder.selector();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let both = Interest::READ | Interest::WRITE;
    let source = register(&selector, &ours, both, Mode::Level);
    let event = |readiness| Event::new(source.token(), readiness);
    recorder.record().repeats = true;
    recorder.record().events = [Readiness::READ, Readiness::WRITE].map(event).into();
    assert_eq!(selector.select(NOW).unwrap()[..], [event(both.into())]);
    recorder.record().events = vec![event(Readiness::PRIORITY)];
    let (start, timeout) = (Instant::now(), Duration::from_millis(10));
    assert!(selector.select(Some(timeout)).unwrap().is_empty());
    assert!(start.elapsed() >= timeout, "what is masked does not end it");
}

#[test]
fn the_list_of_a_failed_wait_is_empty() {
    let recorder = Recorder::default();
    let mut selector = recorder.selector();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = register(&selector, &ours, Interest::READ, Mode::Level);
    recorder.record().events = vec![Event::new(source.token(), Readiness::READ)];
    let mut events = selector.select(NOW).unwrap();
    assert_eq!(events.len(), 1);
    recorder.record().fails = Some(io::ErrorKind::OutOfMemory);
    let failed = selector.select_into(&mut events, NOW).unwrap_err();
    assert_eq!(io::Error::from(failed).kind(), io::ErrorKind::OutOfMemory);
    assert!(events.is_empty());
}

#[test]
fn events_beside_a_signal_are_filtered_and_reported() {
    let recorder = Recorder::default();
    let mut selector = recorder.selector();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let source = register(&selector, &ours, Interest::READ, Mode::Level);
    let raw = Event::new(source.token(), Readiness::READ | Readiness::WRITE);
    recorder.record().events = vec![raw];
    recorder.record().fails = Some(io::ErrorKind::Interrupted);
    for interruptible in [false, true] {
        selector.set_interruptible(interruptible);
        let events = selector.select(NOW).unwrap();
        assert_eq!(events[..], [Event::new(source.token(), Readiness::READ)]);
        assert_eq!(events.interrupted(), interruptible);
    }
}

#[test]
fn what_fails_is_tried_again_after_as_many_waits_as_it_made_calls() {
    let recorder = Recorder::default();
    let mut selector = recorder.selector();
    let files = [(); 3].map(|()| UnixStream::pair().unwrap().0);
    let sources =
        files.each_ref().map(|file| register(&selector, file, Interest::READ, Mode::Level));
    recorder.record().refuses = &["rebuild"];
    recorder.record().events = vec![Event::new(Token::from_bits(1_000_000 << 32), Readiness::READ)];
    for _ in 0..9 {
        selector.select(NOW).unwrap();
    }
    let attempts = recorder.record().rebuilt_with.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(attempts, [3; 3], "one, then three waits without");
    drop(sources);
}

/// Until then the waiting thread makes the changes.
#[test]
fn the_changer_of_a_new_kernel_object_is_tried_again() {
    let recorder = Recorder::default();
    let mut selector = recorder.selector();
    let (file, _peer) = UnixStream::pair().unwrap();
    let mut changes = || {
        recorder.record().changes();
        drop(register(&selector, &file, Interest::READ, Mode::Level));
        let changes = recorder.record().changes();
        selector.select(NOW).unwrap();
        changes
    };
    let by_backend = ["register", "unregister"];
    let by_kernel = ["kernel: register", "kernel: unregister"];
    assert_eq!(changes(), by_kernel);
    recorder.record().refuses = &["changer"];
    recorder.record().events = vec![Event::new(Token::from_bits(1_000_000 << 32), Readiness::READ)];
    assert_eq!(changes(), by_kernel);
    recorder.record().events.clear();
    assert_eq!(recorder.record().rebuilt_with.len(), 1);
    for _ in 0..3 {
        assert_eq!(changes(), by_backend);
    }
    recorder.record().refuses = &[];
    assert_eq!(changes(), by_backend);
    assert_eq!(changes(), by_kernel);
}

/// The timeout of the first of the waits that `select` makes over such a backend.
fn first_timeout(constant_wait: bool, select: impl FnOnce(&Recorder)) -> Option<Duration> {
    let recorder = Recorder::default();
    recorder.record().capabilities.constant_wait = constant_wait;
    select(&recorder);
    recorder.record().timeouts[0]
}

#[test]
fn where_waits_are_cheap_the_first_does_not_block() {
    let timeout = Some(Duration::from_millis(1));
    for (constant_wait, interruptible) in [(false, false), (true, false), (true, true)] {
        let polls_first = constant_wait && !interruptible;
        let first = first_timeout(constant_wait, |recorder| {
            let mut selector = recorder.selector();
            selector.set_interruptible(interruptible);
            assert!(selector.select(timeout).unwrap().is_empty());
        });
        assert_eq!(first == NOW, polls_first, "shared: {first:?}");
        let first = first_timeout(constant_wait, |recorder| {
            let mut selector: Selector<UnixStream, (), _> =
                Selector::with_backend(recorder.clone());
            selector.set_interruptible(interruptible);
            assert!(selector.select(timeout).unwrap().is_empty());
        });
        assert_eq!(first == NOW, polls_first, "{first:?}");
    }
}
