//! Behaviour that is specific to Windows.
#![cfg(windows)]

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawHandle, AsSocket, BorrowedSocket, RawSocket};
use std::time::{Duration, Instant};

use selectors::backend::{Backend, Select};
use selectors::{DefaultSelector, Error, Events, Interest, Mode, Readiness, Token, Watch};
use socket2::Socket;

const LONG: Option<Duration> = Some(Duration::from_secs(20));

fn borrow(number: RawSocket) -> BorrowedSocket<'static> {
    // SAFETY: this tests a number that is not a socket.
    unsafe { BorrowedSocket::borrow_raw(number) }
}

fn tcp() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    Ok((ours, theirs))
}

#[test]
fn reg_6_what_is_no_socket_is_refused() -> io::Result<()> {
    let mut selector = DefaultSelector::new()?;
    let file = File::open(std::env::current_exe()?)?;
    for number in [file.as_raw_handle() as RawSocket, 0x7fff_0000, 0] {
        let refused = selector.register(borrow(number), Interest::READ, "data").unwrap_err();
        assert!(matches!(refused.error, Error::Os { .. }), "{refused}");
        assert_eq!(refused.data, "data");
        let message = refused.to_string();
        assert!(message.starts_with(&format!("cannot register descriptor {number}: ")));
        assert_eq!(io::Error::from(refused).raw_os_error(), Some(10038), "WSAENOTSOCK");
    }
    assert!(selector.is_empty());
    assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    Ok(())
}

#[test]
fn ready_5_a_refusal_is_told_once_to_who_asked_for_once() -> io::Result<()> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    assert_eq!(socket.connect(&address.into()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let mut selector = DefaultSelector::new()?;
    let token = selector.register_with(socket, Interest::WRITE, (), Mode::OneShot)?;
    let events = selector.select(LONG)?;
    let [event] = events.iter().as_slice() else { panic!("{events:?}") };
    assert_eq!((event.token(), event.readiness()), (token, Readiness::WRITE));
    assert!(selector.select(Some(Duration::from_millis(5)))?.is_empty());
    Ok(())
}

#[test]
fn wait_4_urgent_data_that_nobody_asked_for_ends_a_single_call() -> io::Result<()> {
    let mut select = Select::new()?;
    let ours = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let watch = Watch::new(Interest::READ, Mode::Level);
    select.register(ours.as_socket(), Token::from_bits(1), watch)?;
    // The backend does not know that the socket is connected, and checks for a refused connect.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    ours.connect(&listener.local_addr()?.into())?;
    let theirs = Socket::from(listener.accept()?.0);
    theirs.send_out_of_band(b"!")?;

    let mut events = Events::new();
    let (start, timeout) = (Instant::now(), Duration::from_millis(30));
    select.wait(&mut events, Some(timeout))?;
    assert!(events.is_empty(), "{events:?}");
    assert!(start.elapsed() >= timeout, "it went on waiting");
    // Or every call would end at once, and the wait would spin.
    assert!(format!("{select:?}").contains("connected: true"), "{select:?}");
    Ok(())
}

#[test]
fn wait_8_the_sets_grow_and_shrink() -> io::Result<()> {
    let mut selector = DefaultSelector::new()?;
    let sockets: Vec<_> = (0..200).map(|_| tcp()).collect::<Result<_, _>>()?;
    let mut tokens = Vec::new();
    for (ours, _) in &sockets {
        tokens.push(selector.register(ours, Interest::WRITE, ())?);
    }
    while !tokens.is_empty() {
        let events = selector.select(LONG)?;
        assert_eq!(events.len(), tokens.len(), "one event for each, in one call");
        for token in tokens.split_off(tokens.len() - tokens.len().min(70)) {
            selector.unregister(token)?;
        }
    }
    assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    Ok(())
}

#[test]
fn wait_8_more_than_64_and_a_waker() -> io::Result<()> {
    let mut selector = DefaultSelector::new()?;
    let mut sockets: Vec<_> = (0..100).map(|_| tcp()).collect::<Result<_, _>>()?;
    for (ours, _) in &sockets {
        selector.register(ours.try_clone()?, Interest::READ, ())?;
    }
    let waker = selector.waker()?;
    waker.wake()?;
    let events = selector.select(LONG)?;
    assert!(events.woken() && events.is_empty(), "{events:?}");
    for (_, theirs) in &mut sockets {
        theirs.write_all(b"x")?;
    }
    // Loopback delivers in its own time.
    let mut events = selector.select(LONG)?;
    while events.len() < sockets.len() {
        events = selector.select(LONG)?;
    }
    waker.wake()?;
    let events = selector.select(LONG)?;
    assert!(events.woken(), "{events:?}");
    assert_eq!(events.len(), sockets.len());
    Ok(())
}
