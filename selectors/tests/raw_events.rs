//! How a selector filters the raw events of its backend, and the default methods of backends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::rc::Rc;
use std::time::Duration;

use selectors::backend::{Backend, BorrowedSource, Capabilities, RawSource, Registered};
use selectors::{Error, Event, Events, Interest, Mode, Readiness, Selector, Token, Watch};

#[cfg(unix)]
mod support;

const NOW: Option<Duration> = Some(Duration::ZERO);
const READ: Readiness = Readiness::READ;

/// A token that no selector makes.
const UNKNOWN: Token = Token::from_bits(0x7777_7777_7777_7777);

/// The events that a backend reports, and the calls that it received.
#[derive(Default)]
struct Script {
    /// The declared capabilities, and whether each list is marked.
    separate_directions: bool,
    repeats: bool,
    /// Whether a new kernel object cannot be had.
    refuses: bool,
    /// One list for each wait; after that there is nothing.
    waits: VecDeque<Vec<Event>>,
    /// What the old kernel object has still to report when it is recreated.
    left: Vec<Event>,
    /// How the next wait fails, after it has reported its list.
    fails: Option<io::ErrorKind>,
    registered: Vec<Token>,
    watches: Vec<Watch>,
    unregistered: Vec<Token>,
    /// A source that can be neither modified nor unregistered.
    stuck: Option<Token>,
    /// The sources that the new kernel object is to watch.
    rebuilt_with: Vec<Token>,
    limit: Option<RawSource>,
    rebuilt: usize,
}

/// A backend that reports given events.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Script>>);

impl Told {
    fn next(&self, events: &[(Token, Readiness)]) {
        self.0.borrow_mut().waits.push_back(raw(events));
    }
}

fn raw(events: &[(Token, Readiness)]) -> Vec<Event> {
    events.iter().map(|&(token, readiness)| Event::new(token, readiness)).collect()
}

impl Backend for Told {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.edge = true;
        capabilities.separate_directions = self.0.borrow().separate_directions;
        capabilities.max_descriptor = self.0.borrow().limit;
        capabilities
    }

    fn register(&mut self, _: BorrowedSource<'_>, token: Token, watch: Watch) -> io::Result<()> {
        self.0.borrow_mut().registered.push(token);
        self.0.borrow_mut().watches.push(watch);
        Ok(())
    }

    fn modify(&mut self, _: RawSource, token: Token, _: Watch, watch: Watch) -> io::Result<()> {
        self.0.borrow_mut().watches.push(watch);
        let stuck = self.0.borrow().stuck == Some(token);
        if stuck { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
    }

    fn unregister(&mut self, _: RawSource, token: Token, _: Watch) -> io::Result<()> {
        let mut script = self.0.borrow_mut();
        script.unregistered.push(token);
        if script.stuck == Some(token) { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let mut script = self.0.borrow_mut();
        let found = script.waits.pop_front();
        assert!(found.is_some() || timeout.is_some(), "nothing else would end this wait");
        events.extend(found.unwrap_or_default());
        if script.repeats {
            events.mark_repeats();
        }
        script.fails.take().map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        let mut script = self.0.borrow_mut();
        script.rebuilt += 1;
        script.rebuilt_with = sources.map(|source| source.token).collect();
        events.extend(script.left.drain(..));
        if script.refuses { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
    }
}

fn source() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a socket")
}

fn selector() -> (Selector<UdpSocket, (), Told>, Told) {
    let backend = Told::default();
    (Selector::with_backend(backend.clone()), backend)
}

#[test]
fn reg_2_nothing_is_reported_of_what_is_parked_whatever_the_backend_says() {
    let (mut selector, backend) = selector();
    let parked = selector.register(source(), Interest::empty(), ()).unwrap();
    let other = selector.register(source(), Interest::READ, ()).unwrap();
    for readiness in [Readiness::empty(), READ, Readiness::HANGUP, Readiness::all()] {
        backend.next(&[(parked, readiness), (other, READ)]);
        assert_eq!(selector.select(NOW).unwrap()[..], raw(&[(other, READ)]), "{readiness:?}");
    }
}

#[test]
fn close_4_what_is_not_registered_is_not_reported_and_has_the_backend_rebuilt() {
    let (mut selector, backend) = selector();
    let token = selector.register(source(), Interest::READ, ()).unwrap();
    backend.next(&[(token, READ)]);
    assert_eq!(selector.select(NOW).unwrap().len(), 1);
    assert_eq!(backend.0.borrow().rebuilt, 0);
    backend.next(&[(UNKNOWN, READ), (token, READ)]);
    assert_eq!(selector.select(NOW).unwrap()[..], raw(&[(token, READ)]));
    assert_eq!(backend.0.borrow().rebuilt, 1);
}

/// What a new kernel object reports again is left out, or it would be reported twice; the edges and
/// the wake that the old one had are not.
#[test]
fn wait_9_what_the_old_kernel_object_had_to_report_is_not_lost() {
    let (mut selector, backend) = selector();
    let waker = selector.waker().unwrap();
    // The backend has no changer.
    selector.select(NOW).unwrap();
    let wake = backend.0.borrow().registered[0];
    let mut register =
        |interest, mode| selector.register_with(source(), interest, (), mode).unwrap();
    let edge = register(Interest::READ, Mode::Edge);
    let level = register(Interest::READ, Mode::Level);
    let once = register(Interest::READ, Mode::OneShot);
    let parked = register(Interest::empty(), Mode::Edge);
    for woken in [false, true] {
        if woken {
            waker.wake().unwrap();
        }
        let wake = woken.then_some((wake, READ));
        let sources = [(level, READ), (edge, READ | Readiness::WRITE), (once, READ)];
        let left: Vec<_> = sources.into_iter().chain(wake).chain([(parked, READ)]).collect();
        backend.0.borrow_mut().left = raw(&left);
        backend.next(&[(UNKNOWN, READ)]);
        let events = selector.select(NOW).unwrap();
        assert_eq!(events[..], raw(&[(edge, READ)]), "the requested interest");
        assert_eq!(events.woken(), woken);
    }
    waker.wake().unwrap();
    backend.0.borrow_mut().left = raw(&[(wake, READ)]);
    backend.next(&[(UNKNOWN, READ)]);
    let events = selector.select(NOW).unwrap();
    assert!(events.is_empty() && events.woken());
    assert_eq!(backend.0.borrow().rebuilt, 3);
    assert!(selector.select(NOW).unwrap().is_empty());
    // What was found before stays, and comes once.
    backend.0.borrow_mut().left = raw(&[(edge, READ), (level, READ)]);
    backend.next(&[(level, READ), (UNKNOWN, READ), (edge, READ)]);
    assert_eq!(selector.select(NOW).unwrap()[..], raw(&[(level, READ), (edge, READ)]));
}

#[test]
fn wait_9_a_failed_rebuild_ends_no_wait() {
    let (mut selector, backend) = selector();
    let token = selector.register(source(), Interest::READ, ()).unwrap();
    backend.0.borrow_mut().refuses = true;
    for _ in 0..3 {
        backend.next(&[(UNKNOWN, READ)]);
    }
    backend.next(&[(token, READ)]);
    let events = selector.select(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(events[..], raw(&[(token, READ)]));
    assert!(!events.interrupted() && !events.woken());
}

/// What a failed attempt has fetched comes from the old kernel object, which goes on.
#[test]
fn mode_2_a_failed_rebuild_reports_no_one_shot_twice() {
    let (mut selector, backend) = selector();
    let once = selector.register_with(source(), Interest::READ, (), Mode::OneShot).unwrap();
    backend.0.borrow_mut().refuses = true;
    backend.0.borrow_mut().left = raw(&[(once, READ)]);
    backend.next(&[(once, READ), (UNKNOWN, READ)]);
    assert_eq!(selector.select(NOW).unwrap()[..], raw(&[(once, READ)]));
    // In a later wait as well.
    backend.0.borrow_mut().left = raw(&[(once, READ)]);
    for _ in 0..3 {
        backend.next(&[(UNKNOWN, READ)]);
        assert!(selector.select(NOW).unwrap().is_empty());
    }
    assert!(backend.0.borrow().left.is_empty());
    selector.unregister(once).unwrap();
    assert_eq!(backend.0.borrow().unregistered, [once], "the backend still knows it");
}

#[test]
fn mode_2_a_fired_one_shot_is_not_watched_by_a_new_kernel_object() {
    let (mut selector, backend) = selector();
    let once = selector.register_with(source(), Interest::READ, (), Mode::OneShot).unwrap();
    let level = selector.register(source(), Interest::READ, ()).unwrap();
    backend.next(&[(once, READ), (UNKNOWN, READ)]);
    assert_eq!(selector.select(NOW).unwrap()[..], raw(&[(once, READ)]));
    assert_eq!(backend.0.borrow().rebuilt_with, [level]);
    selector.unregister(once).unwrap();
    assert!(backend.0.borrow().unregistered.is_empty(), "the backend has forgotten it");
}

#[test]
fn mode_2_a_fired_one_shot_is_unregistered_with_the_backend() {
    let (mut selector, backend) = selector();
    let once = selector.register_with(source(), Interest::READ, (), Mode::OneShot).unwrap();
    backend.next(&[(once, READ)]);
    assert_eq!(selector.select(NOW).unwrap().len(), 1);
    selector.unregister(once).unwrap();
    assert_eq!(backend.0.borrow().unregistered, [once]);
}

/// The kernel watches a parked source if it could not be unregistered, because it was closed.
#[test]
fn close_4_an_event_of_a_parked_source_has_the_backend_rebuilt() {
    let (mut selector, backend) = selector();
    let parked = selector.register(source(), Interest::READ, ()).unwrap();
    selector.modify(parked, Interest::empty()).unwrap();
    backend.next(&[(parked, READ)]);
    assert!(selector.select(NOW).unwrap().is_empty());
    assert_eq!((backend.0.borrow().rebuilt, &backend.0.borrow().rebuilt_with[..]), (1, &[][..]));
}

#[test]
fn mode_2_the_other_direction_of_a_fired_one_shot_is_not_reported() {
    let backend = Told::default();
    backend.0.borrow_mut().separate_directions = true;
    let mut selector = Selector::with_backend(backend.clone());
    let both = Interest::READ | Interest::WRITE;
    let once = selector.register_with(source(), both, (), Mode::OneShot).unwrap();
    backend.next(&[(once, READ)]);
    assert_eq!(selector.select(NOW).unwrap()[..], raw(&[(once, READ)]));
    backend.next(&[(once, Readiness::WRITE)]);
    assert!(selector.select(NOW).unwrap().is_empty(), "it was reported once");
}

/// A wait without a timeout goes on if nothing that it has found is reported.
#[test]
fn wait_2_masked_readiness_ends_no_wait() {
    for (separate_directions, repeats) in [(false, false), (true, false), (false, true)] {
        let backend = Told::default();
        backend.0.borrow_mut().separate_directions = separate_directions;
        backend.0.borrow_mut().repeats = repeats;
        let mut selector = Selector::with_backend(backend.clone());
        let token = selector.register(source(), Interest::READ, ()).unwrap();
        for _ in 0..3 {
            backend.next(&[(token, Readiness::WRITE)]);
        }
        backend.next(&[(token, READ)]);
        assert_eq!(selector.select(None).unwrap()[..], raw(&[(token, READ)]));
    }
}

#[test]
fn wait_9_the_list_of_a_failed_wait_is_empty() {
    let (mut selector, backend) = selector();
    let token = selector.register(source(), Interest::READ, ()).unwrap();
    let mut events = Events::new();
    for timeout in [NOW, Some(Duration::from_secs(20)), None] {
        for before in [0, 1] {
            events.extend(raw(&vec![(UNKNOWN, READ); before]));
            backend.next(&[(token, READ)]);
            backend.0.borrow_mut().fails = Some(io::ErrorKind::OutOfMemory);
            let failed = selector.select_into(&mut events, timeout).unwrap_err();
            assert_eq!(io::Error::from(failed).kind(), io::ErrorKind::OutOfMemory);
            assert!(events.is_empty() && !events.woken(), "{timeout:?}: {events:?}");
        }
    }
}

#[test]
fn wait_6_events_beside_a_signal_are_filtered_and_reported() {
    let (mut selector, backend) = selector();
    let token = selector.register(source(), Interest::READ, ()).unwrap();
    let parked = selector.register(source(), Interest::empty(), ()).unwrap();
    for interruptible in [false, true] {
        selector.set_interruptible(interruptible);
        for timeout in [NOW, Some(Duration::from_secs(20)), None] {
            backend.next(&[(parked, READ), (token, READ | Readiness::WRITE)]);
            backend.0.borrow_mut().fails = Some(io::ErrorKind::Interrupted);
            let events = selector.select(timeout).unwrap();
            assert_eq!(events[..], raw(&[(token, READ)]), "{timeout:?}");
            assert_eq!(events.interrupted(), interruptible);
        }
    }
}

/// As documented: the source that could not be unregistered and the chosen ones after it stay
/// registered.
#[test]
fn reg_9_extracting_ends_with_the_first_failure() {
    let (mut selector, backend) = selector();
    let tokens = [(); 4].map(|()| selector.register(source(), Interest::READ, ()).unwrap());
    backend.0.borrow_mut().stuck = Some(tokens[1]);
    let failed = selector.extract_if(|_| true).unwrap_err();
    assert_eq!(io::Error::from(failed).kind(), io::ErrorKind::OutOfMemory);
    assert_eq!(tokens.map(|token| selector.contains(token)), [false, true, true, true]);
    assert_eq!(backend.0.borrow().unregistered, tokens[..2]);
    backend.0.borrow_mut().stuck = None;
    assert_eq!(selector.extract_if(|_| true).unwrap().len(), 3);
    assert!(selector.is_empty());
}

#[test]
fn reg_2_what_is_no_longer_parked_is_watched_in_its_mode() {
    let (mut selector, backend) = selector();
    for mode in [Mode::Level, Mode::OneShot, Mode::Edge] {
        let watches = || std::mem::take(&mut backend.0.borrow_mut().watches);
        let read = Watch::new(Interest::READ, mode);
        let token = selector.register_with(source(), Interest::empty(), (), mode).unwrap();
        assert_eq!(watches(), []);
        selector.modify(token, Interest::READ).unwrap();
        assert_eq!(watches(), [read]);
        selector.modify(token, Interest::empty()).unwrap();
        selector.modify(token, Interest::READ).unwrap();
        assert_eq!(watches(), [read]);
        selector.modify(token, Interest::WRITE).unwrap();
        assert_eq!(watches(), [Watch::new(Interest::WRITE, mode)]);
    }
}

#[test]
fn errors_name_operation_descriptor_and_token() {
    let (mut selector, backend) = selector();
    let token = selector.register_with(source(), Interest::READ, (), Mode::Edge).unwrap();
    let fd = selector.get(token).unwrap().fd;
    backend.0.borrow_mut().stuck = Some(token);
    for (operation, refused) in [
        ("modify", selector.modify(token, Interest::WRITE)),
        ("modify", selector.modify(token, Interest::READ | Interest::WRITE)),
        ("modify", selector.modify(token, Interest::empty())),
        ("modify", selector.rearm(token)),
        ("unregister", selector.unregister(token).map(drop)),
    ] {
        let refused = refused.unwrap_err().to_string();
        let expected = format!("cannot {operation} descriptor {fd}: ");
        assert!(refused.starts_with(&expected), "{refused}");
    }
    for refused in [
        selector.modify(UNKNOWN, Interest::WRITE),
        selector.rearm(UNKNOWN),
        selector.unregister(UNKNOWN).map(drop),
    ] {
        let Err(Error::NotRegistered { token, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(token, UNKNOWN);
    }
    let refused = selector.modify(token, Interest::PRIORITY).unwrap_err();
    assert!(matches!(refused, Error::Unsupported { fd: Some(it), .. } if it == fd), "{refused}");
    backend.0.borrow_mut().fails = Some(io::ErrorKind::OutOfMemory);
    let failed = selector.select(NOW).unwrap_err().to_string();
    assert!(failed.starts_with("cannot wait: "), "{failed}");
}

#[test]
fn ready_3_the_events_of_one_source_become_one() {
    for (separate_directions, repeats) in [(true, false), (false, true), (true, true)] {
        let backend = Told::default();
        backend.0.borrow_mut().separate_directions = separate_directions;
        backend.0.borrow_mut().repeats = repeats;
        let mut selector = Selector::with_backend(backend.clone());
        let both = Interest::READ | Interest::WRITE;
        let token = selector.register(source(), both, ()).unwrap();
        backend.next(&[(token, READ), (token, Readiness::WRITE), (token, READ)]);
        let events = selector.select(NOW).unwrap();
        assert_eq!(events[..], raw(&[(token, both.into())]));
    }
}

#[cfg(unix)]
mod by_default {
    use std::os::fd::{AsFd, AsRawFd};

    use selectors::Error;

    use super::support::Idle;
    use super::*;

    #[test]
    fn reg_8_a_backend_owns_its_descriptor() {
        let own = source();
        let itself = own.try_clone().unwrap();
        let mut selector = Selector::with_backend(Idle(Some(own)));
        selector.register(itself.as_fd(), Interest::READ, ()).unwrap();
        let number = selector.backend().descriptor().unwrap().as_raw_fd();
        // SAFETY: it is open for as long as the selector is.
        let own = unsafe { BorrowedSource::borrow_raw(number) };
        let refused = selector.register(own, Interest::READ, ()).unwrap_err();
        assert!(matches!(refused.error, Error::Unsupported { .. }), "{refused}");
    }

    #[test]
    fn what_a_backend_need_not_be_able_to_do_is_unsupported() {
        let mut backend = Idle(Some(source()));
        let rebuilt = backend.rebuild(&mut std::iter::empty(), &mut Events::new());
        assert_eq!(rebuilt.unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(backend.after_fork().unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!(backend.changer().unwrap().is_none());
        assert!(backend.waker(UNKNOWN).unwrap().is_none());
    }
}

#[test]
fn wait_8_a_waker_beyond_the_limit_is_refused() {
    let backend = Told::default();
    backend.0.borrow_mut().limit = Some(0);
    let selector: Selector<UdpSocket, (), _> = Selector::with_backend(backend);
    let refused = selector.waker().map(drop);
    assert!(matches!(refused, Err(Error::DescriptorOutOfRange { limit: 0, .. })), "{refused:?}");
}
