//! Events and lists of events, as values.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use selectors::{DefaultSelector, Event, Events, Interest, Readiness, Token};

const READ: Readiness = Readiness::READ;

fn token(number: u64) -> Token {
    Token::from_bits(number)
}

#[test]
fn events_are_equal_if_token_and_readiness_are() {
    let event = Event::new(token(1), READ);
    assert_eq!(event, Event::new(token(1), READ));
    assert_ne!(event, Event::new(token(2), READ));
    assert_ne!(event, Event::new(token(1), Readiness::WRITE));
    assert_ne!(event, Event::new(token(1), READ | Readiness::WRITE));
}

#[test]
fn equal_events_are_one_element_of_a_set() {
    let events = [(1, READ), (1, READ), (2, READ), (1, Readiness::WRITE)];
    let hasher = std::hash::RandomState::new();
    let hash = |(number, readiness)| {
        std::hash::BuildHasher::hash_one(&hasher, Event::new(token(number), readiness))
    };
    let hashes: HashSet<u64> = events.into_iter().map(hash).collect();
    assert_eq!(hashes.len(), 3);
    let set: HashSet<Event> = events
        .into_iter()
        .map(|(number, readiness)| Event::new(token(number), readiness))
        .collect();
    assert_eq!(set.len(), 3);
}

#[test]
fn directions_are_told_apart() {
    for (readiness, readable, writable) in [
        (READ, true, false),
        (Readiness::WRITE, false, true),
        (READ | Readiness::WRITE, true, true),
        (Readiness::PRIORITY, false, false),
    ] {
        let event = Event::new(token(1), readiness);
        assert_eq!((event.is_readable(), event.is_writable()), (readable, writable));
    }
}

#[test]
fn a_list_has_what_was_pushed() {
    let mut events = Events::new();
    assert!(events.is_empty());
    assert_eq!((events.len(), events.iter().count()), (0, 0));
    events.push(Event::new(token(1), READ));
    events.extend([Event::new(token(2), Readiness::WRITE)]);
    let both = [Event::new(token(1), READ), Event::new(token(2), Readiness::WRITE)];
    assert!(!events.is_empty());
    assert_eq!(events.len(), 2);
    assert_eq!(events[..], both);
    assert_eq!(events.iter().copied().collect::<Vec<_>>(), both);
    assert_eq!((&events).into_iter().copied().collect::<Vec<_>>(), both);
    assert_eq!(events.clone().into_iter().collect::<Vec<_>>(), both);
    let room = events.capacity();
    events.clear();
    assert!(events.is_empty());
    assert_eq!(events.capacity(), room);
}

#[test]
fn a_list_has_the_room_that_was_asked_for() {
    assert_eq!(Events::new().capacity(), 0);
    assert!(Events::with_capacity(100).capacity() >= 100);
    // A guess that is too large is no failure.
    assert!(Events::with_capacity(usize::MAX).is_empty());
    let mut events = Events::new();
    events.reserve(1_000);
    assert!(events.capacity() >= 1_000);
    assert!(events.is_empty());
}

#[test]
fn values_are_printed_with_what_is_in_them() {
    let event = Event::new(token(3 << 32 | 1), READ);
    assert_eq!(token(3 << 32 | 1).to_string(), "3v1");
    assert_eq!(format!("{:>5}", token(3 << 32 | 1)), "  3v1");
    assert_eq!(format!("{event:?}"), "Event { token: Token(3v1), readiness: Readiness(READ) }");
    let mut events = Events::new();
    events.push(event);
    let printed = format!("{events:?}");
    assert!(printed.contains("readiness: Readiness(READ)"), "{printed}");
    assert!(printed.contains("woken: false, interrupted: false"), "{printed}");
}

#[test]
fn wait_6_a_wait_that_no_signal_ended_was_not_interrupted() -> std::io::Result<()> {
    assert!(!Events::new().interrupted() && !Events::new().woken());
    let mut selector: DefaultSelector<std::net::UdpSocket> = DefaultSelector::new()?;
    selector.set_interruptible(true);
    let events = selector.select(Some(Duration::ZERO))?;
    assert!(!events.interrupted() && !events.woken());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    selector.register(socket, Interest::WRITE, ())?;
    let events = selector.select(Some(Duration::from_secs(20)))?;
    assert_eq!(events.len(), 1);
    assert!(!events.interrupted() && !events.woken());
    selector.waker()?.wake()?;
    let events = selector.select(Some(Duration::from_secs(20)))?;
    assert!(events.woken() && !events.interrupted());
    let copy = events.clone();
    assert!(copy.woken() && !copy.interrupted());
    assert_eq!(copy[..], events[..]);
    Ok(())
}

#[test]
fn wait_3_a_wait_until_a_deadline_ends_then_or_earlier() -> std::io::Result<()> {
    let mut selector: DefaultSelector<std::net::UdpSocket> = DefaultSelector::new()?;
    let mut events = Events::new();
    let deadline = selector.now() + Duration::from_millis(20);
    selector.select_into_until(&mut events, Some(deadline))?;
    assert!(events.is_empty() && selector.now() >= deadline);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let token = selector.register(socket, Interest::WRITE, ())?;
    for deadline in [None, Some(deadline), Some(Instant::now() + Duration::from_secs(20))] {
        selector.select_into_until(&mut events, deadline)?;
        assert_eq!(events.iter().map(Event::token).collect::<Vec<_>>(), [token]);
    }
    Ok(())
}
