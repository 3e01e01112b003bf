//! A server over Unix connections, with a state machine for each: a request arrives in two pieces,
//! and its response is sent in one.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::platform::contenders::{Contender, Want, everyone, wait, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};

/// The maximum number of connections with a request at the same time.
const AT_ONCE: usize = 64;

const PIECE: [u8; 32] = [b'?'; 32];
const REQUEST: usize = 2 * PIECE.len();
const RESPONSE: [u8; 256] = [b'!'; 256];

/// Both ends of a connection.
type Connection = (UnixStream, UnixStream);

/// The state of a request.
#[derive(Debug, Clone, Copy)]
enum State {
    Reading { got: usize },
    Writing { sent: usize },
}

impl State {
    /// Continues until the stream would block (false) or a response was sent (true).
    fn advance(&mut self, mut stream: &UnixStream) -> io::Result<bool> {
        loop {
            match self {
                Self::Reading { got } => {
                    let mut buffer = [0; REQUEST];
                    let room = &mut buffer[*got..];
                    let (full, count) = (room.len(), stream.read(room)?);
                    *got += count;
                    if count < full {
                        return if count > 0 { Ok(false) } else { Err(wrong("end of file")) };
                    }
                    *self = Self::Writing { sent: 0 };
                }
                Self::Writing { sent } => {
                    *sent += stream.write(&RESPONSE[*sent..])?;
                    if *sent == RESPONSE.len() {
                        *self = Self::Reading { got: 0 };
                        return Ok(true);
                    }
                }
            }
        }
    }
}

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    for count in report.scale(&[1, 64, 1_000]) {
        let at_once = count.min(AT_ONCE);
        let point = Point {
            parameters: format!("{count} connections, {at_once} at once"),
            unit: "ns/request",
            pace: Pace::Timed,
        };
        if report.affords(&point, 2 * count) {
            let connections = connect(count)?;
            report.measure(point, everyone!(row(&connections, at_once)))?;
        }
    }
    Ok(())
}

fn connect(count: usize) -> io::Result<Vec<Connection>> {
    let connect = |_| {
        let connection = UnixStream::pair()?;
        connection.1.set_nonblocking(true)?;
        Ok(connection)
    };
    (0..count).map(connect).collect()
}

fn row<'a, C: Contender<'a> + 'a>(connections: &'a [Connection], at_once: usize) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(connections, at_once, iterations))
}

fn turn<'a, C: Contender<'a>>(
    connections: &'a [Connection],
    at_once: usize,
    iterations: u64,
) -> io::Result<Turn> {
    let mut contender = C::new()?;
    for ((_, server), data) in connections.iter().zip(0..) {
        contender.register(server.as_fd(), Want::Read, data)?;
    }
    let mut states = vec![State::Reading { got: 0 }; connections.len()];
    let mut round = |_| {
        let clients = || {
            let place = |nth| nth * connections.len() / at_once;
            (0..at_once).map(move |nth| &connections[place(nth)].0)
        };
        for responses in [0, at_once] {
            for mut client in clients() {
                client.write_all(&PIECE)?;
            }
            if serve(&mut contender, connections, &mut states, at_once)? != responses {
                return Err(wrong("not every request has its response"));
            }
        }
        for mut client in clients() {
            client.read_exact(&mut [0; RESPONSE.len()])?;
        }
        Ok(())
    };
    (0..3).try_for_each(&mut round)?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(&mut round)?;
    Ok(Turn::timed(start.elapsed()?, iterations * at_once as u64))
}

/// Serves until there were that many events, and returns how many responses were sent.
fn serve<'a, C: Contender<'a>>(
    contender: &mut C,
    connections: &[Connection],
    states: &mut [State],
    events: usize,
) -> io::Result<usize> {
    let (mut seen, mut responses, mut failed) = (0, 0, Ok(()));
    while seen < events {
        seen += wait(contender, None, |_, &mut place| {
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            match states[place].advance(&connections[place].1) {
                Ok(sent) => responses += usize::from(sent),
                Err(error) => failed = Err(error),
            }
        })?;
        std::mem::replace(&mut failed, Ok(()))?;
    }
    Ok(responses)
}
