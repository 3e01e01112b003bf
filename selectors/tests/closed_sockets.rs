//! Sockets that are closed while registered, over every backend of the system.
//!
//! A single test, because another thread could reuse the number of a closed socket.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::RawSource;
use selectors::{AnySelector, BackendKind, Error, Event, Events, Interest, Mode, Readiness, Token};

const LONG: Duration = Duration::from_secs(20);
const NOW: Option<Duration> = Some(Duration::ZERO);

/// A number that is taken for an open socket's, whether it is or not.
#[derive(Debug, PartialEq)]
struct Loose(RawSource);

#[cfg(unix)]
mod family {
    use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

    use super::{Loose, TcpStream};

    /// EBADF, which has this number on every Unix.
    pub(super) const CLOSED: i32 = 9;

    impl AsFd for Loose {
        fn as_fd(&self) -> BorrowedFd<'_> {
            // SAFETY: nothing but the selector borrows it, and it has to cope.
            unsafe { BorrowedFd::borrow_raw(self.0) }
        }
    }

    pub(super) fn loose(stream: TcpStream) -> Loose {
        Loose(stream.into_raw_fd())
    }

    pub(super) fn close(Loose(fd): &Loose) {
        // SAFETY: it is open, and nothing else owns it.
        drop(unsafe { OwnedFd::from_raw_fd(*fd) });
    }
}

#[cfg(windows)]
mod family {
    use std::os::windows::io::{
        AsSocket, BorrowedSocket, FromRawSocket, IntoRawSocket, OwnedSocket,
    };

    use super::{Loose, TcpStream};

    /// WSAENOTSOCK.
    pub(super) const CLOSED: i32 = 10038;

    impl AsSocket for Loose {
        fn as_socket(&self) -> BorrowedSocket<'_> {
            // SAFETY: nothing but the selector borrows it, and it has to cope.
            unsafe { BorrowedSocket::borrow_raw(self.0) }
        }
    }

    pub(super) fn loose(stream: TcpStream) -> Loose {
        Loose(stream.into_raw_socket())
    }

    pub(super) fn close(Loose(socket): &Loose) {
        // SAFETY: it is open, and nothing else owns it.
        drop(unsafe { OwnedSocket::from_raw_socket(*socket) });
    }
}

use family::{CLOSED, close, loose};

fn tcp() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    Ok((ours, theirs))
}

fn of(events: &Events, token: Token) -> Option<Readiness> {
    events.iter().find(|event| event.token() == token).map(Event::readiness)
}

type Step = fn(BackendKind) -> io::Result<()>;

/// What is tried, by name.
const STEPS: &[(&str, Step)] = &[
    ("a closed socket is registered", reg_6_and_7_a_closed_socket_is_refused),
    ("one of three is closed", |kind| close_5_the_others_go_on(kind, Mode::Level)),
    ("one of three one-shots is closed", |kind| close_5_the_others_go_on(kind, Mode::OneShot)),
    ("the only one is closed", close_5_nothing_else_is_there),
    ("several of many are closed", close_5_several_among_many),
    ("a number is used again", close_1_and_3_a_number_that_is_used_again),
];

/// Some mistakes make a wait go on for ever: what does not come to an end fails by its name.
#[test]
fn closed_sockets_do_no_harm() {
    for kind in BackendKind::available() {
        for &(name, step) in STEPS {
            println!("{kind}: {name}");
            let (sender, outcome) = mpsc::channel();
            let thread = thread::spawn(move || sender.send(step(kind)));
            match outcome.recv_timeout(3 * LONG) {
                Ok(outcome) => outcome.unwrap_or_else(|error| panic!("{kind}: {name}: {error}")),
                Err(RecvTimeoutError::Timeout) => panic!("{kind}: no end when {name}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{kind}: a panic when {name}"),
            }
            thread.join().expect("it has ended").expect("it was waited for");
        }
    }
}

fn reg_6_and_7_a_closed_socket_is_refused(kind: BackendKind) -> io::Result<()> {
    let mut selector = AnySelector::new(kind)?;
    let (ours, _theirs) = tcp()?;
    let ours = loose(ours);
    close(&ours);
    let refused = selector.register(ours, Interest::READ, "data").unwrap_err();
    assert!(matches!(refused.error, Error::Os { .. }), "{refused}");
    assert_eq!(refused.data, "data");
    assert_eq!(selector.token_of(&refused.fileobj), None);
    assert_eq!(io::Error::from(refused).raw_os_error(), Some(CLOSED));
    assert!(selector.select(NOW)?.is_empty());
    Ok(())
}

fn close_5_the_others_go_on(kind: BackendKind, mode: Mode) -> io::Result<()> {
    let mut selector = AnySelector::new(kind)?;
    let mut watched = Vec::new();
    for _ in 0..3 {
        let (ours, theirs) = tcp()?;
        watched.push((selector.register_with(loose(ours), Interest::READ, (), mode)?, theirs));
    }
    let (token, _) = watched[1];
    close(selector.get(token).expect("it is registered").fileobj);
    for at in [0, 2] {
        watched[at].1.write_all(b"x")?;
    }
    // In one call or several: what arrives over a socket takes its time.
    let (start, mut live) = (Instant::now(), [false; 2]);
    while live != [true; 2] && start.elapsed() < LONG {
        let events = selector.select(Some(Duration::from_millis(5)))?;
        if let Some(readiness) = of(&events, token) {
            assert!(readiness.contains(Readiness::ERROR), "{readiness:?}");
        }
        for (seen, at) in live.iter_mut().zip([0, 2]) {
            *seen |= of(&events, watched[at].0) == Some(Readiness::READ);
        }
    }
    assert_eq!(live, [true; 2]);
    let (gone, ()) = selector.unregister(token)?;
    assert_eq!(selector.token_of(&gone), None);
    for (token, _) in [&watched[0], &watched[2]] {
        close(&selector.unregister(*token)?.0);
    }
    assert!(selector.select(NOW)?.is_empty());
    Ok(())
}

fn close_5_nothing_else_is_there(kind: BackendKind) -> io::Result<()> {
    let mut selector = AnySelector::new(kind)?;
    let (ours, _theirs) = tcp()?;
    let token = selector.register(loose(ours), Interest::WRITE, ())?;
    close(selector.get(token).expect("it is registered").fileobj);
    let events = selector.select(Some(Duration::from_millis(5)))?;
    if let Some(readiness) = of(&events, token) {
        assert_eq!(readiness, Readiness::WRITE | Readiness::ERROR);
    }
    selector.unregister(token)?;
    assert!(selector.select(NOW)?.is_empty());
    Ok(())
}

fn close_5_several_among_many(kind: BackendKind) -> io::Result<()> {
    let mut selector = AnySelector::new(kind)?;
    let (mut live, mut closed) = (BTreeSet::new(), BTreeSet::new());
    let mut peers = Vec::new();
    for at in 0..70 {
        let (ours, mut theirs) = tcp()?;
        theirs.write_all(b"x")?;
        peers.push(theirs);
        let token = selector.register(loose(ours), Interest::READ, ())?;
        if at % 10 == 0 { &mut closed } else { &mut live }.insert(token);
    }
    for &token in &closed {
        close(selector.get(token).expect("it is registered").fileobj);
    }
    let (start, mut found) = (Instant::now(), BTreeSet::new());
    while found != live && start.elapsed() < LONG {
        let events = selector.select(Some(Duration::from_millis(5)))?;
        let failed = |event: &&Event| event.readiness().contains(Readiness::ERROR);
        assert!(events.iter().filter(failed).all(|event| closed.contains(&event.token())));
        found = events.iter().filter(|event| !failed(event)).map(Event::token).collect();
    }
    assert_eq!(found, live);
    for token in closed {
        selector.unregister(token)?;
    }
    assert_eq!(selector.select(Some(LONG))?.len(), live.len());
    for token in live {
        close(&selector.unregister(token)?.0);
    }
    Ok(())
}

fn close_1_and_3_a_number_that_is_used_again(kind: BackendKind) -> io::Result<()> {
    let mut selector = AnySelector::new(kind)?;
    let (ours, _theirs) = tcp()?;
    let old = selector.register(loose(ours), Interest::READ | Interest::WRITE, ())?;
    close(selector.get(old).expect("it is registered").fileobj);
    // Somebody else's from now on.
    let (ours, mut theirs) = tcp()?;
    let (first, ()) = selector.unregister(old)?;
    assert!(selector.select(NOW)?.is_empty(), "the new socket is not watched");
    let second = loose(ours);
    let token = selector.register(Loose(second.0), Interest::READ, ())?;
    assert_ne!(token, old);
    assert!(selector.select(NOW)?.is_empty(), "nothing is left of the old interest");
    theirs.write_all(b"x")?;
    assert_eq!(
        of(&selector.select(Some(LONG))?, token),
        Some(Readiness::READ),
        "{first:?} {second:?}"
    );
    selector.unregister(token)?;
    close(&second);
    Ok(())
}
