//! An accept storm: many clients connect at once, each sends one message and is closed.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use slab::Slab;

use crate::platform::contenders::{Contender, Want, borrow, everyone, wait, wrong};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};

/// How many clients connect at once: at most as many as the listener's queue holds.
const STORM: usize = 100;

/// The data of the listener.
const LISTENER: u64 = u64::MAX;

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    // An abstract address, which no other program uses.
    let name = format!("selectors-bench-{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    let point = Point {
        parameters: format!("{STORM} connections at once"),
        unit: "ns/connection",
        pace: Pace::Timed,
    };
    report.measure(point, everyone!(row(&listener)))
}

fn row<'a, C: Contender<'a> + 'a>(listener: &'a UnixListener) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(listener, iterations))
}

fn turn<'a, C: Contender<'a>>(listener: &'a UnixListener, iterations: u64) -> io::Result<Turn> {
    let mut contender = C::new()?;
    contender.register(listener.as_fd(), Want::Read, LISTENER)?;
    let address = listener.local_addr()?;
    let mut round = |_| {
        let mut clients = Vec::with_capacity(STORM);
        for _ in 0..STORM {
            let mut client = UnixStream::connect_addr(&address)?;
            client.write_all(b"?")?;
            clients.push(client);
        }
        serve(&mut contender, listener)
    };
    (0..3).try_for_each(&mut round)?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(&mut round)?;
    Ok(Turn::timed(start.elapsed()?, iterations * STORM as u64))
}

/// Accepts all of them, and closes each connection after it has sent its data.
fn serve<'a, C: Contender<'a>>(contender: &mut C, listener: &'a UnixListener) -> io::Result<()> {
    let mut connections: Slab<(UnixStream, C::Key)> = Slab::with_capacity(STORM);
    let mut ready = Vec::with_capacity(STORM + 1);
    let mut served = 0;
    while served < STORM {
        wait(contender, None, |_, &mut data| ready.push(data))?;
        for data in ready.drain(..) {
            if data == LISTENER {
                accept(contender, listener, &mut connections)?;
                continue;
            }
            let (mut stream, key) = connections.remove(usize::try_from(data).unwrap_or(usize::MAX));
            contender.unregister(key)?;
            if stream.read(&mut [0; 16])? != 1 {
                return Err(wrong("a client sent nothing"));
            }
            served += 1;
        }
    }
    Ok(())
}

fn accept<'a, C: Contender<'a>>(
    contender: &mut C,
    listener: &UnixListener,
    connections: &mut Slab<(UnixStream, C::Key)>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        let place = connections.vacant_entry();
        // Unregistered before it is closed, in `serve`.
        let key = contender.register(borrow(&stream), Want::Read, place.key() as u64)?;
        place.insert((stream, key));
    }
}
