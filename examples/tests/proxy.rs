//! Sends through the proxy what clients and servers do, and compares every byte.
#![cfg(unix)]

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::{LONG, Program, come_to_rest, has_used_little_memory, limited, patient, refuses};

const PROXY: &str = env!("CARGO_BIN_EXE_proxy");
const MEGABYTE: usize = 1_000_003;

struct Proxy {
    program: Program,
    address: String,
}

impl Proxy {
    fn start(target: &TcpListener, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(PROXY).args(arguments), target)
    }

    fn spawn(command: &mut Command, target: &TcpListener) -> Self {
        let target = target.local_addr().unwrap().to_string();
        let command = command.args(["--listen", "127.0.0.1:0", &target]);
        let (program, address) = Program::listening(command);
        Self { program, address }
    }

    fn connect(&self) -> TcpStream {
        support::connect(&self.address)
    }

    /// A connection through the proxy, and where it arrives.
    fn pair(&self, target: &TcpListener) -> (TcpStream, TcpStream) {
        (self.connect(), patient(target.accept().unwrap().0))
    }

    /// It waits for its peers, and has needed little memory so far.
    fn rests(&self) {
        come_to_rest(&[self.program.pid()]);
        has_used_little_memory(self.program.pid());
    }

    fn interrupt(self) {
        assert_eq!(self.program.end(Signal::SIGINT), "");
    }
}

fn target() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Bytes of which no piece looks like another one.
fn pattern(seed: usize) -> Vec<u8> {
    (0..MEGABYTE).map(|at| ((at ^ seed).wrapping_mul(0x9E37_79B1) >> 13).to_le_bytes()[0]).collect()
}

fn send(mut stream: &TcpStream, pattern: &[u8], times: usize) {
    for _ in 0..times {
        stream.write_all(pattern).unwrap();
    }
}

fn receive(mut stream: &TcpStream, pattern: &[u8], times: usize) {
    let mut buffer = vec![0; pattern.len()];
    for at in 0..times {
        stream.read_exact(&mut buffer).unwrap();
        assert!(buffer == pattern, "other bytes came in megabyte {at}");
    }
}

fn ends(mut stream: &TcpStream) {
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// How many megabytes to send each way: 64, or what `PROXY_MEGABYTES` says.
fn megabytes() -> usize {
    std::env::var("PROXY_MEGABYTES").map_or(64, |count| count.parse().unwrap())
}

#[test]
fn every_byte_arrives_and_each_half_is_closed_alone() {
    let target = target();
    let proxy = Proxy::start(&target, &[]);
    let (up, down) = (pattern(1), pattern(2));
    let (client, server) = proxy.pair(&target);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            send(&client, &up, megabytes());
            client.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(|| receive(&client, &down, megabytes()));
        scope.spawn(|| send(&server, &down, megabytes()));
        receive(&server, &up, megabytes());
        ends(&server);
    });
    has_used_little_memory(proxy.program.pid());
    println!("{} MB each way in {:?}", megabytes(), start.elapsed());
    // One half is closed, and the other works on.
    send(&server, &down, 4);
    server.shutdown(Shutdown::Write).unwrap();
    receive(&client, &down, 4);
    ends(&client);

    let (client, server) = proxy.pair(&target);
    server.shutdown(Shutdown::Write).unwrap();
    ends(&client);
    thread::scope(|scope| {
        scope.spawn(|| {
            send(&client, &up, 4);
            client.shutdown(Shutdown::Write).unwrap();
        });
        receive(&server, &up, 4);
        ends(&server);
    });
    proxy.interrupt();
}

/// Sends until nothing goes any more, and returns how much went.
fn fill(mut stream: &TcpStream, pattern: &[u8], proxy: &Proxy) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    loop {
        match stream.write(&pattern[sent % pattern.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                proxy.rests();
                return sent;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn who_does_not_read_stops_the_sender_and_costs_nothing() {
    let target = target();
    let proxy = Proxy::start(&target, &[]);
    let pattern = pattern(3);
    for upwards in [true, false] {
        let (client, server) = proxy.pair(&target);
        let (from, mut to) = if upwards { (&client, &server) } else { (&server, &client) };
        let sent = fill(from, &pattern, &proxy);
        // Neither the other direction nor another connection suffers.
        send(to, b"against the stream", 1);
        receive(from, b"against the stream", 1);
        let (other, served) = proxy.pair(&target);
        send(&other, b"beside", 1);
        receive(&served, b"beside", 1);
        from.shutdown(Shutdown::Write).unwrap();
        receive(to, &pattern, sent / pattern.len());
        let mut rest = Vec::new();
        to.read_to_end(&mut rest).unwrap();
        assert!(rest == pattern[..sent % pattern.len()], "other bytes came at the end");
    }
    // If one end disconnects in the middle, the other end is closed.
    let (client, server) = proxy.pair(&target);
    fill(&client, &pattern, &proxy);
    drop(server);
    send_until_refused(&client);
    proxy.interrupt();
}

fn send_until_refused(mut stream: &TcpStream) {
    stream.set_write_timeout(LONG).unwrap();
    let error = loop {
        if let Err(error) = stream.write(&[0; 4096]) {
            break error.kind();
        }
    };
    assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

/// A target whose queue is full, so that Linux leaves further connections without an answer.
#[cfg(target_os = "linux")]
fn dead_target() -> (TcpListener, Vec<TcpStream>) {
    use selectors::{DefaultSelector, Interest};
    use selectors_examples::connect;

    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let target = TcpListener::from(socket);
    let address = target.local_addr().unwrap();
    let queued = vec![TcpStream::connect(address).unwrap()];
    let mut selector = DefaultSelector::new().unwrap();
    let unanswered = connect::connect(address).unwrap();
    selector.register(&unanswered, Interest::WRITE, ()).unwrap();
    assert!(selector.select(Some(Duration::ZERO)).unwrap().is_empty());
    (target, queued)
}

#[cfg(target_os = "linux")]
#[test]
fn a_target_that_does_not_answer_holds_up_nobody() {
    let (target, queued) = dead_target();
    let proxy = Proxy::start(&target, &["--timeout", "0.3"]);
    let clients: Vec<_> = (0..50).map(|_| proxy.connect()).collect();
    clients.iter().for_each(ends);
    proxy.interrupt();

    let proxy = Proxy::start(&target, &["--timeout", "3600"]);
    let early = proxy.connect();
    send(&early, b"early", 1);
    drop(queued);
    drop(target.accept().unwrap());
    // The kernel asks again after a second for the one that was left without an answer.
    let late = proxy.connect();
    send(&late, b"later", 1);
    let mut arrived: Vec<[u8; 5]> = Vec::new();
    for _ in 0..2 {
        let mut text = [0; 5];
        patient(target.accept().unwrap().0).read_exact(&mut text).unwrap();
        arrived.push(text);
    }
    arrived.sort_unstable();
    assert_eq!(arrived, [*b"early", *b"later"]);
    let (dead, _queued) = dead_target();
    let pending = Proxy::start(&dead, &["--timeout", "3600"]);
    drop(pending.connect());
    pending.interrupt();
    proxy.interrupt();
}

/// Out of descriptors: no client is rejected, and all are served eventually.
#[test]
fn more_clients_than_descriptors_are_forwarded_in_turn() {
    for limit in [23, 24] {
        let target = target();
        let proxy = Proxy::spawn(&mut limited(PROXY, limit), &target);
        let echo = thread::spawn(move || {
            for _ in 0..40 {
                let stream = patient(target.accept().unwrap().0);
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        let clients: Vec<_> = (0..40).map(|_| proxy.connect()).collect();
        proxy.rests();
        for client in clients {
            send(&client, b"there and back", 1);
            receive(&client, b"there and back", 1);
        }
        echo.join().unwrap();
        proxy.interrupt();
    }
}

#[test]
fn who_refuses_ends_the_connection_and_makes_room() {
    let target = target();
    let proxy = Proxy::start(&target, &["--clients", "1"]);
    let (client, server) = proxy.pair(&target);
    let waiting = proxy.connect();
    send(&waiting, b"later", 1);
    drop((client, server));
    receive(&target.accept().unwrap().0, b"later", 1);
    drop((waiting, target));
    for _ in 0..20 {
        ends(&proxy.connect());
    }
    proxy.interrupt();
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    let taken = target();
    let address = taken.local_addr().unwrap().to_string();
    refuses(
        "proxy",
        PROXY,
        &[
            &[],
            &["nowhere"],
            &["127.0.0.1:1", "127.0.0.1:2"],
            &["127.0.0.1:1", "--timeout", "0"],
            &["127.0.0.1:1", "--clients", "0"],
            &["127.0.0.1:1", "--wrong"],
            &["127.0.0.1:1", "--listen", "nowhere"],
            &["127.0.0.1:1", "--listen", &address],
        ],
    );
}
