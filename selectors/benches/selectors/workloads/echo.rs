//! A TCP echo server over each contender, and the same client for all of them, in a closed loop: each
//! connection sends its next message when the reply to the last one has arrived.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use crate::platform::contenders::{BareEpoll, Contender, Want, everyone, wait, wrong};
use crate::platform::cores::stay_on;
use crate::platform::measure::{Pace, Row, Turn};
use crate::platform::report::{Point, Report};

const MESSAGE: [u8; 64] = [b'x'; 64];

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    for count in report.scale(&[1, 100, 1_000]) {
        let point = Point {
            parameters: format!("{count} connections"),
            unit: "ns/message",
            pace: Pace::Timed,
        };
        if report.affords(&point, 2 * count) {
            let connections = connect(count)?;
            report.measure(point, everyone!(row(&connections)))?;
        }
    }
    Ok(())
}

/// The ends of the client and of the server.
struct Connections {
    clients: Vec<TcpStream>,
    servers: Vec<TcpStream>,
}

fn connect(count: usize) -> io::Result<Connections> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        clients.push(TcpStream::connect(listener.local_addr()?)?);
        servers.push(listener.accept()?.0);
    }
    for stream in clients.iter().chain(&servers) {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
    }
    Ok(Connections { clients, servers })
}

fn row<'a, C: Contender<'a> + 'a>(connections: &'a Connections) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(connections, iterations))
}

/// The number of messages on each connection.
fn turn<'a, C: Contender<'a>>(connections: &'a Connections, messages: u64) -> io::Result<Turn> {
    let Connections { clients, servers } = connections;
    let expected = messages * clients.len() as u64;
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            stay_on(1)?;
            let mut contender = C::new()?;
            echo(&mut contender, servers, expected)
        });
        let client = scope.spawn(move || {
            stay_on(0)?;
            talk(clients, messages)
        });
        let elapsed = client.join().map_err(|_| wrong("the client panicked"))??;
        server.join().map_err(|_| wrong("the server panicked"))??;
        Ok(Turn::timed(elapsed, expected))
    })
}

/// Sends a number of messages on each connection, each when the one before has come back.
fn talk(clients: &[TcpStream], messages: u64) -> io::Result<Duration> {
    let mut client = BareEpoll::new()?;
    for (stream, data) in clients.iter().zip(0..) {
        client.register(stream.as_fd(), Want::Read, data)?;
    }
    let mut to_send = vec![messages - 1; clients.len()];
    let start = Instant::now();
    for mut stream in clients {
        stream.write_all(&MESSAGE)?;
    }
    let (mut received, expected) = (0, messages * clients.len() as u64);
    while received < expected {
        on_each(&mut client, |place| {
            let mut stream = &clients[place];
            if stream.read(&mut [0; 2 * MESSAGE.len()])? != MESSAGE.len() {
                return Err(wrong("a message came in pieces"));
            }
            received += 1;
            if to_send[place] > 0 {
                to_send[place] -= 1;
                stream.write_all(&MESSAGE)?;
            }
            Ok(())
        })?;
    }
    Ok(start.elapsed())
}

/// Sends back what arrives, until that many messages were sent.
fn echo<'a, C: Contender<'a>>(
    contender: &mut C,
    streams: &'a [TcpStream],
    expected: u64,
) -> io::Result<()> {
    for (stream, data) in streams.iter().zip(0..) {
        contender.register(stream.as_fd(), Want::Read, data)?;
    }
    let mut echoed = 0;
    while echoed < expected {
        on_each(contender, |place| {
            let mut stream = &streams[place];
            let mut buffer = [0; 2 * MESSAGE.len()];
            let count = stream.read(&mut buffer)?;
            echoed += 1;
            stream.write_all(&buffer[..count])
        })?;
    }
    Ok(())
}

/// Waits, and calls a function with the data of each ready source.
fn on_each<'a, C: Contender<'a>>(
    contender: &mut C,
    mut each: impl FnMut(usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut done = Ok(());
    wait(contender, None, |_, place| {
        if done.is_ok() {
            done = each(usize::try_from(*place).unwrap_or(usize::MAX));
        }
    })?;
    done
}
