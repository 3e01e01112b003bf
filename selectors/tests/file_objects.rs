//! File objects of various types.
#![cfg(unix)]

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use selectors::{DefaultSelector, Interest, RegisterError};

const LONG: Option<Duration> = Some(Duration::from_secs(10));

/// Registers `ours` with data, makes it readable, finds it by event, by token and by object, and
/// unregisters it.
fn serves<F: AsFd>(ours: F, mut theirs: impl Write) -> io::Result<F> {
    let number = ours.as_fd().as_raw_fd();
    let mut selector = DefaultSelector::new()?;
    let token = selector.register(ours, Interest::READ, "data")?;
    theirs.write_all(b"x")?;
    let events = selector.select(LONG)?;
    let tokens: Vec<_> = events.iter().map(selectors::Event::token).collect();
    assert_eq!(tokens, [token]);
    let key = selector.get(token).expect("it is registered");
    assert_eq!((key.fd, *key.data), (number, "data"));
    assert_eq!(selector.token_of(key.fileobj), Some(token));
    let (ours, data) = selector.unregister(token)?;
    assert_eq!((ours.as_fd().as_raw_fd(), data), (number, "data"));
    Ok(ours)
}

fn tcp() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    Ok((ours, theirs))
}

#[test]
fn a_stream() -> io::Result<()> {
    let (ours, theirs) = tcp()?;
    let _: TcpStream = serves(ours, theirs)?;
    Ok(())
}

#[test]
fn an_owned_descriptor() -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let _: OwnedFd = serves(OwnedFd::from(ours), theirs)?;
    Ok(())
}

#[test]
fn an_enum() -> io::Result<()> {
    enum Source {
        Tcp(TcpStream),
        Unix(UnixStream),
    }
    impl AsFd for Source {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self {
                Source::Tcp(stream) => stream.as_fd(),
                Source::Unix(stream) => stream.as_fd(),
            }
        }
    }
    let (ours, theirs) = tcp()?;
    assert!(matches!(serves(Source::Tcp(ours), theirs)?, Source::Tcp(_)));
    let (ours, theirs) = UnixStream::pair()?;
    assert!(matches!(serves(Source::Unix(ours), theirs)?, Source::Unix(_)));
    Ok(())
}

#[test]
fn a_trait_object() -> io::Result<()> {
    let (ours, theirs) = tcp()?;
    let _: Box<dyn AsFd> = serves(Box::new(ours) as Box<dyn AsFd>, theirs)?;
    Ok(())
}

#[test]
fn a_shared_stream() -> io::Result<()> {
    let (ours, theirs) = tcp()?;
    let ours = Arc::new(ours);
    let same = serves(Arc::clone(&ours), theirs)?;
    assert!(Arc::ptr_eq(&same, &ours));
    assert_eq!(Arc::strong_count(&ours), 2, "the selector keeps no clone");
    Ok(())
}

#[test]
fn a_reference() -> io::Result<()> {
    let (ours, theirs) = tcp()?;
    let _: &TcpStream = serves(&ours, theirs)?;
    Ok(())
}

#[test]
fn a_borrowed_descriptor() -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let _: BorrowedFd<'_> = serves(ours.as_fd(), theirs)?;
    Ok(())
}

/// A file object whose descriptor changes.
struct Fickle {
    first: UnixStream,
    then: UnixStream,
    asked: std::cell::Cell<bool>,
}

impl AsFd for Fickle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.asked.replace(true) { self.then.as_fd() } else { self.first.as_fd() }
    }
}

#[test]
fn a_file_object_that_changes_its_answer_is_the_one_it_first_was() -> io::Result<()> {
    let (first, mut peer) = UnixStream::pair()?;
    let (then, mut other_peer) = UnixStream::pair()?;
    let number = first.as_raw_fd();
    let mut selector = DefaultSelector::new()?;
    let fickle = Fickle { first, then, asked: false.into() };
    let token = selector.register(fickle, Interest::READ, ())?;
    assert_eq!(selector.get(token).unwrap().fd, number);
    other_peer.write_all(b"x")?;
    assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    peer.write_all(b"x")?;
    assert_eq!(selector.select(LONG)?.len(), 1);
    selector.modify(token, Interest::WRITE)?;
    let (fickle, ()) = selector.unregister(token)?;
    assert!(selector.register(fickle, Interest::READ, ()).is_ok(), "nothing stayed behind");
    Ok(())
}

#[test]
fn file_object_and_data_come_back_from_a_refusal() -> io::Result<()> {
    let (ours, _theirs) = UnixStream::pair()?;
    let number = ours.as_raw_fd();
    let mut selector = DefaultSelector::new()?;
    let refused: RegisterError<_, _> =
        selector.register(ours, Interest::from_bits_retain(8), vec![1, 2, 3]).unwrap_err();
    assert_eq!(refused.fileobj.as_raw_fd(), number);
    assert_eq!(refused.data, [1, 2, 3]);
    let error: io::Error = refused.into();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), format!("unknown bits in interest 0x08 for descriptor {number}"));
    Ok(())
}

#[test]
fn a_refusal_is_an_error_that_asks_nothing_of_its_contents() {
    struct Plain;
    fn is_error<E: std::error::Error>() {}
    is_error::<RegisterError<Plain, Plain>>();
    is_error::<selectors::Error>();
}

#[test]
fn proc_3_a_selector_goes_where_its_contents_may_go() -> io::Result<()> {
    fn is_send<S: Send>(_: &S) {}
    fn is_sync<S: Sync>(_: &S) {}
    let selector: DefaultSelector<TcpStream, Vec<u8>> = DefaultSelector::new()?;
    is_send(&selector);
    is_send(&selectors::Events::new());
    let waker = selector.waker()?;
    is_send(&waker);
    is_sync(&waker);
    Ok(())
}

#[test]
fn proc_3_selectors_are_shared_between_threads_where_their_sources_are() {
    fn crosses<S: Send + Sync>() {}
    crosses::<selectors::AnySelector<std::net::TcpStream>>();
    crosses::<selectors::DefaultSelector<std::net::TcpStream>>();
    crosses::<selectors::Selector<std::net::TcpStream, (), selectors::backend::Select>>();
}

#[test]
#[cfg(target_os = "linux")]
fn the_descriptor_is_there_through_a_box_too() -> io::Result<()> {
    use selectors::backend::{Backend, Epoll};

    fn has_descriptor<S: std::os::fd::AsFd>() {}
    has_descriptor::<selectors::Selector<TcpStream, (), Box<Epoll>>>();
    for kind in selectors::BackendKind::available() {
        let selector: selectors::AnySelector<TcpStream> = selectors::AnySelector::new(kind)?;
        let declared = selector.capabilities().nesting;
        assert_eq!(selector.backend().descriptor().is_some(), declared, "{kind}");
    }
    Ok(())
}

/// Who has but a shared reference gets the waker, which is one for all.
#[test]
fn proc_1_threads_that_share_a_selector_get_its_waker() -> io::Result<()> {
    for kind in selectors::BackendKind::available() {
        let selector: selectors::AnySelector<TcpStream> = selectors::AnySelector::new(kind)?;
        let wakers = std::thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(|| selector.waker()));
            threads.map(|thread| thread.join().expect("it has not panicked"))
        });
        let mut selector = selector;
        for waker in wakers {
            // The first one before any wait.
            waker?.wake()?;
            assert!(selector.select(None)?.woken(), "{kind}");
            assert!(!selector.select(Some(Duration::ZERO))?.woken(), "{kind}");
        }
    }
    Ok(())
}

/// Each of many selectors repairs its own waker.
#[test]
fn proc_1_a_waker_works_however_many_are_made_after_it() -> io::Result<()> {
    for kind in selectors::BackendKind::available() {
        let mut selector: selectors::AnySelector<TcpStream> = selectors::AnySelector::new(kind)?;
        let waker = selector.waker()?;
        for _ in 0..255 {
            let other: selectors::AnySelector<TcpStream> = selectors::AnySelector::new(kind)?;
            other.waker()?;
        }
        waker.wake()?;
        assert!(selector.select(LONG)?.woken(), "{kind}");
    }
    Ok(())
}

/// A selector that watches another one by its descriptor is not to wait for that one's first wait.
#[test]
#[cfg(target_os = "linux")]
fn ready_13_a_wake_before_the_first_wait_shows_outside() -> io::Result<()> {
    use selectors::backend::{Backend, Deferred, Epoll};

    fn shows(backend: impl Backend) -> io::Result<()> {
        let mut inner: selectors::Selector<TcpStream, (), _> =
            selectors::Selector::with_backend(backend);
        let mut outer = DefaultSelector::new()?;
        let own = inner.backend().descriptor().expect("epoll has one").try_clone_to_owned()?;
        outer.register(own, Interest::READ, ())?;
        inner.waker()?.wake()?;
        assert_eq!(outer.select(Some(Duration::ZERO))?.len(), 1);
        assert!(inner.select(None)?.woken());
        Ok(())
    }
    shows(Epoll::new()?)?;
    shows(Deferred::new(Epoll::new()?))
}
