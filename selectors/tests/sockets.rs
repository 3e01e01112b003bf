//! Sockets over every backend that the system has: the same cases on Unix and on Windows.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::AsSource;
use selectors::{AnySelector, BackendKind, Error, Event, Events, Interest, Mode, Readiness, Token};
use socket2::{Domain, Socket, Type};

const LONG: Option<Duration> = Some(Duration::from_secs(20));
const NOW: Option<Duration> = Some(Duration::ZERO);
const BOTH: Interest = Interest::READ.union(Interest::WRITE);
const HINTS: Readiness = Readiness::READ_CLOSED.union(Readiness::HANGUP).union(Readiness::ERROR);
const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Runs a case over each backend in turn.
fn over_each<F, T>(case: impl Fn(AnySelector<F, T>) -> io::Result<()>) -> io::Result<()> {
    let kinds = BackendKind::available();
    assert!(kinds.contains(&BackendKind::Select), "{kinds:?}");
    for kind in kinds {
        println!("{kind}");
        case(AnySelector::new(kind)?)?;
    }
    Ok(())
}

fn tcp() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(LOOPBACK)?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

fn unconnected() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Starts to connect. The result is known later.
fn connect(socket: &Socket, to: SocketAddr) {
    if let Err(error) = socket.connect(&to.into()) {
        assert!(is_in_progress(&error), "{error}");
    }
}

/// EINPROGRESS, which std has no stable name for.
#[cfg(unix)]
fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32)
}

#[cfg(windows)]
fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// A port without a listener, and the socket that is bound to it.
fn deserted() -> io::Result<(Socket, SocketAddr)> {
    let bound = unconnected()?;
    bound.bind(&SocketAddr::from(LOOPBACK).into())?;
    let address = bound.local_addr()?.as_socket().expect("it is one of IPv4");
    Ok((bound, address))
}

fn reported(events: &Events) -> Vec<(Token, Readiness)> {
    events.iter().map(|event| (event.token(), event.readiness())).collect()
}

fn one(events: &Events) -> Event {
    let [event] = events.iter().as_slice() else { panic!("{events:?}") };
    *event
}

#[test]
fn reg_1_and_9_what_goes_in_comes_out() -> io::Result<()> {
    over_each(|mut selector| {
        let (ours, _theirs) = tcp()?;
        let address = ours.local_addr()?;
        let token = selector.register(ours, Interest::READ, "data")?;
        let key = selector.get(token).expect("it is registered");
        assert_eq!(key.fileobj.local_addr()?, address);
        assert_eq!((key.events, *key.data), (Interest::READ, "data"));
        assert_eq!(selector.token_of(key.fileobj), Some(token));
        let (ours, data) = selector.unregister(token)?;
        assert_eq!((ours.local_addr()?, data), (address, "data"));
        let again = selector.unregister(token).unwrap_err();
        assert!(matches!(again, Error::NotRegistered { .. }), "{again}");
        Ok(())
    })
}

#[test]
fn reg_4_one_socket_is_one_source() -> io::Result<()> {
    over_each(|mut selector| {
        let (ours, _theirs) = tcp()?;
        let ours = Arc::new(ours);
        selector.register(Arc::clone(&ours), Interest::READ, ())?;
        let refused = selector.register(Arc::clone(&ours), Interest::WRITE, ()).unwrap_err();
        assert!(matches!(refused.error, Error::AlreadyRegistered { .. }), "{refused}");
        assert!(Arc::ptr_eq(&refused.fileobj, &ours));
        assert!(selector.select(NOW)?.is_empty());
        Ok(())
    })
}

#[test]
fn anything_with_a_socket_can_be_watched() -> io::Result<()> {
    fn serves<F: AsSource>(ours: F, mut theirs: TcpStream) -> io::Result<()> {
        let mut selector = selectors::DefaultSelector::new()?;
        let token = selector.register(ours, Interest::READ, ())?;
        theirs.write_all(b"x")?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::READ)]);
        Ok(())
    }
    let (ours, theirs) = tcp()?;
    serves(&ours, theirs.try_clone()?)?;
    serves(Box::new(ours.try_clone()?), theirs.try_clone()?)?;
    serves(Arc::new(ours.try_clone()?), theirs.try_clone()?)?;
    serves(Socket::from(ours), theirs)
}

#[test]
fn ready_1_2_and_3_a_stream() -> io::Result<()> {
    over_each(|mut selector| {
        let (ours, mut theirs) = tcp()?;
        let token = selector.register(ours, Interest::READ, ())?;
        assert!(selector.select(NOW)?.is_empty(), "idle");
        selector.modify(token, BOTH)?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::WRITE)]);
        selector.modify(token, Interest::READ)?;
        theirs.write_all(b"x")?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::READ)]);
        selector.modify(token, BOTH)?;
        let both = Readiness::READ | Readiness::WRITE;
        assert_eq!(reported(&selector.select(LONG)?), [(token, both)], "one event");
        selector.modify(token, Interest::WRITE)?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::WRITE)]);
        // Until nothing more fits. This takes a moment, because the system sends data meanwhile.
        let full = (0..100_000).any(|_| {
            let key = selector.get_mut(token).expect("it is registered");
            while key.fileobj.write(&[0; 8_192]).is_ok() {}
            selector.select(Some(Duration::from_millis(5))).expect("it waits").is_empty()
        });
        assert!(full, "a full buffer is not ready");
        Ok(())
    })
}

#[test]
fn ready_5_a_connection() -> io::Result<()> {
    over_each(|mut selector| {
        let listener = TcpListener::bind(LOOPBACK)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let door = selector.register(Socket::from(listener.try_clone()?), Interest::READ, ())?;
        assert!(selector.select(NOW)?.is_empty());
        let ours = unconnected()?;
        connect(&ours, address);
        assert_eq!(reported(&selector.select(LONG)?), [(door, Readiness::READ)]);
        selector.unregister(door)?;
        let (mut theirs, _) = listener.accept()?;
        let token = selector.register(ours, BOTH, ())?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::WRITE)]);
        theirs.write_all(b"x")?;
        selector.modify(token, Interest::READ)?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::READ)]);
        Ok(())
    })
}

#[test]
fn ready_5_a_refused_connection() -> io::Result<()> {
    for (interest, expected) in [
        (Interest::WRITE, Readiness::WRITE),
        (Interest::READ, Readiness::READ),
        (BOTH, Readiness::READ | Readiness::WRITE),
    ] {
        over_each(|mut selector| {
            let (_keeper, address) = deserted()?;
            let socket = unconnected()?;
            if let Err(error) = socket.connect(&address.into()) {
                assert_ne!(error.kind(), ErrorKind::ConnectionRefused, "not asynchronous");
            }
            let token = selector.register(socket, interest, ())?;
            for _level_triggered in 0..2 {
                let event = one(&selector.select(LONG)?);
                assert_eq!(event.token(), token);
                assert_eq!(event.readiness() - HINTS, expected, "{event:?}");
                let error = event.readiness().contains(Readiness::ERROR);
                assert_eq!(error, selector.capabilities().error, "{event:?}");
            }
            let (socket, ()) = selector.unregister(token)?;
            let error = socket.take_error()?.expect("it is still there");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn ready_5_a_connection_that_is_made_while_it_is_watched() -> io::Result<()> {
    over_each(|mut selector| {
        let listener = TcpListener::bind(LOOPBACK)?;
        let (_keeper, nowhere) = deserted()?;
        for (address, refused) in [(listener.local_addr()?, false), (nowhere, true)] {
            let token = selector.register_with(unconnected()?, Interest::WRITE, (), Mode::Level)?;
            connect(selector.get(token).expect("it is registered").fileobj, address);
            let event = one(&selector.select(LONG)?);
            assert!(event.is_writable(), "{event:?}");
            let (socket, ()) = selector.unregister(token)?;
            assert_eq!(socket.take_error()?.is_some(), refused);
        }
        Ok(())
    })
}

#[test]
fn ready_6_a_peer_that_leaves() -> io::Result<()> {
    over_each(|mut selector| {
        let can = selector.capabilities();
        let (half, half_peer) = tcp()?;
        let token = selector.register(half, Interest::READ, ())?;
        half_peer.shutdown(Shutdown::Write)?;
        let readiness = one(&selector.select(LONG)?).readiness();
        assert!(readiness.contains(Readiness::READ));
        assert_eq!(readiness.contains(Readiness::READ_CLOSED), can.read_closed);
        assert!(!readiness.intersects(Readiness::HANGUP | Readiness::ERROR), "{readiness:?}");
        selector.unregister(token)?;

        let (ours, theirs) = tcp()?;
        let token = selector.register(ours, Interest::READ, ())?;
        let theirs = Socket::from(theirs);
        theirs.set_linger(Some(Duration::ZERO))?;
        drop(theirs);
        let readiness = one(&selector.select(LONG)?).readiness();
        assert!(readiness.contains(Readiness::READ));
        assert_eq!(readiness.contains(Readiness::ERROR), can.error);
        let (mut ours, ()) = selector.unregister(token)?;
        match ours.read(&mut [0]) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            // Wine 8 takes note of the error and forgets it.
            Ok(count) => assert_eq!(count, 0),
        }
        Ok(())
    })
}

#[test]
fn ready_9_urgent_data() -> io::Result<()> {
    over_each(|mut selector| {
        let (ours, theirs) = tcp()?;
        if !selector.capabilities().priority {
            let refused = selector.register(ours, Interest::PRIORITY, ()).map_err(io::Error::from);
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
            return Ok(());
        }
        let token = selector.register(ours, Interest::PRIORITY, ())?;
        assert!(selector.select(NOW)?.is_empty());
        Socket::from(theirs.try_clone()?).send_out_of_band(b"!")?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::PRIORITY)]);
        selector.modify(token, Interest::READ | Interest::PRIORITY)?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::PRIORITY)]);
        selector.modify(token, Interest::READ)?;
        assert!(selector.select(Some(Duration::from_millis(5)))?.is_empty());
        selector.modify(token, Interest::WRITE)?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::WRITE)]);
        Ok(())
    })
}

#[test]
fn mode_2_urgent_data_alone_is_no_report() -> io::Result<()> {
    over_each(|mut selector| {
        let (ours, theirs) = tcp()?;
        let token = selector.register_with(ours, Interest::READ, (), Mode::OneShot)?;
        Socket::from(theirs.try_clone()?).send_out_of_band(b"!")?;
        for _ in 0..2 {
            assert!(selector.select(Some(Duration::from_millis(5)))?.is_empty());
        }
        (&theirs).write_all(b"xyz")?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::READ)]);
        assert!(selector.select(NOW)?.is_empty());
        Ok(())
    })
}

#[test]
fn ready_10_an_empty_datagram() -> io::Result<()> {
    over_each(|mut selector| {
        let (ours, theirs) = (UdpSocket::bind(LOOPBACK)?, UdpSocket::bind(LOOPBACK)?);
        let address = ours.local_addr()?;
        let token = selector.register(ours, BOTH, ())?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::WRITE)]);
        selector.modify(token, Interest::READ)?;
        theirs.send_to(&[], address)?;
        assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::READ)]);
        let key = selector.get(token).expect("it is registered");
        assert_eq!(key.fileobj.recv(&mut [0; 8])?, 0);
        assert!(selector.select(NOW)?.is_empty());
        Ok(())
    })
}

#[test]
fn mode_2_once_and_no_more() -> io::Result<()> {
    over_each(|mut selector| {
        let (ours, theirs) = tcp()?;
        let token = selector.register_with(ours, Interest::WRITE, (), Mode::OneShot)?;
        for _ in 0..2 {
            assert_eq!(reported(&selector.select(LONG)?), [(token, Readiness::WRITE)]);
            assert!(selector.select(NOW)?.is_empty());
            selector.modify(token, Interest::WRITE)?;
        }
        assert!(!selector.select(LONG)?.is_empty());
        drop(theirs);
        // With nothing that can be reported, a wait is still one.
        let start = Instant::now();
        assert!(selector.select(Some(Duration::from_millis(30)))?.is_empty());
        assert!(start.elapsed() >= Duration::from_millis(30));
        let waker = selector.waker()?;
        let thread = thread::spawn(move || waker.wake());
        assert!(selector.select(None)?.woken());
        Ok(thread.join().unwrap()?)
    })
}

#[test]
fn mode_3_and_4_are_refused_where_they_are_not_declared() -> io::Result<()> {
    over_each(|mut selector| {
        let can = selector.capabilities();
        for (mode, declared) in [(Mode::Edge, can.edge), (Mode::Exclusive, can.exclusive)] {
            let (ours, _theirs) = tcp()?;
            match selector.register_with(ours, Interest::READ, (), mode) {
                Ok(_) => assert!(declared, "{mode:?}"),
                Err(refused) => {
                    assert!(!declared, "{mode:?}");
                    assert!(matches!(refused.error, Error::Unsupported { .. }), "{refused}");
                }
            }
        }
        Ok(())
    })
}

#[test]
fn wait_1_2_and_3_without_a_source() -> io::Result<()> {
    over_each(|mut selector: AnySelector<TcpStream>| {
        assert!(selector.select(NOW)?.is_empty());
        for timeout in [Duration::from_micros(300), Duration::from_millis(40)] {
            let start = Instant::now();
            assert!(selector.select(Some(timeout))?.is_empty());
            assert!(start.elapsed() >= timeout);
        }
        for timeout in [None, LONG, Some(Duration::MAX)] {
            let waker = selector.waker()?;
            let thread = thread::spawn(move || waker.wake());
            assert!(selector.select(timeout)?.woken());
            thread.join().unwrap()?;
        }
        let start = Instant::now();
        let timeout = Duration::from_millis(20);
        assert!(selector.select(Some(timeout))?.is_empty(), "no wake was left");
        assert!(start.elapsed() >= timeout);
        Ok(())
    })
}

#[test]
fn wait_8_more_sockets_than_an_fd_set_holds() -> io::Result<()> {
    over_each(|mut selector| {
        let mut sockets = Vec::new();
        for number in 0..300 {
            let socket = UdpSocket::bind(LOOPBACK)?;
            let address = socket.local_addr()?;
            sockets.push((selector.register(socket, Interest::READ, number)?, address));
        }
        let sender = UdpSocket::bind(LOOPBACK)?;
        for (token, address) in &sockets {
            sender.send_to(b"x", address)?;
            assert_eq!(reported(&selector.select(LONG)?), [(*token, Readiness::READ)]);
            selector.get(*token).expect("it is registered").fileobj.recv(&mut [0; 8])?;
        }
        for (_, address) in &sockets {
            sender.send_to(b"x", address)?;
        }
        for rest in (0..sockets.len()).rev() {
            let event = one_of(&selector.select(LONG)?);
            selector.unregister(event.token())?;
            assert_eq!(selector.len(), rest);
        }
        Ok(())
    })
}

fn one_of(events: &Events) -> Event {
    *events.iter().next().expect("one is ready")
}

#[test]
fn proc_1_and_2_wakes() -> io::Result<()> {
    over_each(|mut selector: AnySelector<TcpStream>| {
        let waker = selector.waker()?;
        for _ in 0..100_000 {
            waker.wake()?;
        }
        assert!(selector.select(LONG)?.woken());
        let events = selector.select(NOW)?;
        assert!(!events.woken() && events.is_empty(), "all of them were one");
        for _ in 0..1_000 {
            waker.wake()?;
            assert!(selector.select(LONG)?.woken(), "none is lost");
        }
        drop(selector);
        Ok(waker.wake()?)
    })
}
