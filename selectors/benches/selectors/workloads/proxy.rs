//! A proxy: data that arrives at the front is sent at the back. For three events of ten the back is
//! treated as full: it is also watched for WRITE, until it is reported.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::platform::contenders::{Contender, Want, everyone, wait, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};

const MESSAGE: [u8; 64] = [b'x'; 64];

/// A client, the proxy's two ends, and a server.
struct Route {
    client: UnixStream,
    front: UnixStream,
    back: UnixStream,
    server: UnixStream,
}

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    for count in report.scale(&[10, 100]) {
        let point = Point {
            parameters: format!("{count} routes, WRITE on and off for 3 of 10 messages"),
            unit: "ns/message",
            pace: Pace::Timed,
        };
        if report.affords(&point, 4 * count) {
            let routes = (0..count).map(|_| route()).collect::<io::Result<Vec<_>>>()?;
            let mut rows = everyone!(row(&routes));
            rows.extend(everyone!(row(&routes) for OursDeferred));
            report.measure(point, rows)?;
        }
    }
    Ok(())
}

fn route() -> io::Result<Route> {
    let (client, front) = UnixStream::pair()?;
    let (back, server) = UnixStream::pair()?;
    front.set_nonblocking(true)?;
    back.set_nonblocking(true)?;
    Ok(Route { client, front, back, server })
}

fn row<'a, C: Contender<'a> + 'a>(routes: &'a [Route]) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(routes, iterations))
}

/// The data of the front of route n is 2 n, and that of the back 2 n + 1.
fn turn<'a, C: Contender<'a>>(routes: &'a [Route], iterations: u64) -> io::Result<Turn> {
    let mut contender = C::new()?;
    let mut backs = Vec::with_capacity(routes.len());
    for (route, nth) in routes.iter().zip(0..) {
        contender.register(route.front.as_fd(), Want::Read, 2 * nth)?;
        backs.push(contender.register(route.back.as_fd(), Want::Read, 2 * nth + 1)?);
    }
    let mut round = |_| {
        for Route { client, .. } in routes {
            { client }.write_all(&MESSAGE)?;
        }
        forward(&mut contender, routes, &backs)?;
        for Route { server, .. } in routes {
            { server }.read_exact(&mut [0; MESSAGE.len()])?;
        }
        io::Result::Ok(())
    };
    (0..3).try_for_each(&mut round)?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(&mut round)?;
    Ok(Turn::timed(start.elapsed()?, iterations * routes.len() as u64))
}

/// Forwards a message on each route, and waits for each back that was treated as full.
fn forward<'a, C: Contender<'a>>(
    contender: &mut C,
    routes: &'a [Route],
    backs: &[C::Key],
) -> io::Result<()> {
    let (mut forwarded, mut full) = (0, 0);
    let mut changes = Vec::with_capacity(routes.len());
    while forwarded < routes.len() || full > 0 {
        let mut done = Ok(());
        wait(contender, None, |_, &mut place| {
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            let (route, is_back) = (place / 2, place % 2 == 1);
            if is_back {
                full -= 1;
                changes.push((backs[route], Want::Read));
                return;
            }
            if let Err(error) = pass(&routes[route]) {
                done = Err(error);
            }
            if matches!(forwarded % 10, 0 | 3 | 7) {
                full += 1;
                changes.push((backs[route], Want::ReadWrite));
            }
            forwarded += 1;
        })?;
        done?;
        changes.drain(..).try_for_each(|(key, want)| contender.modify(key, want))?;
    }
    Ok(())
}

fn pass(route: &Route) -> io::Result<()> {
    let (mut front, mut back) = (&route.front, &route.back);
    let mut buffer = [0; 2 * MESSAGE.len()];
    let count = front.read(&mut buffer)?;
    let sent = back.write(&buffer[..count])?;
    if sent == MESSAGE.len() { Ok(()) } else { Err(wrong("a message was truncated")) }
}
