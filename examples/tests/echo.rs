//! Drives the echo server as its users do: the program itself, over real connections.
#![cfg(unix)]

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;

use nix::sys::signal::Signal;
use selectors::{DefaultSelector, Interest};
use support::{LONG, Program, come_to_rest, limited, pattern, refuses};

const ECHO_SERVER: &str = env!("CARGO_BIN_EXE_echo-server");

struct Server {
    program: Program,
    address: String,
}

impl Server {
    fn start(backend: &str) -> Self {
        Self::spawn(&mut Command::new(ECHO_SERVER), backend)
    }

    fn spawn(command: &mut Command, backend: &str) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--backend", backend]);
        let (program, address) = Program::listening(command);
        Self { program, address }
    }

    fn connect(&self) -> TcpStream {
        support::connect(&self.address)
    }

    /// Reads the log until a line that starts so.
    fn wait_for(&mut self, start: &str) -> String {
        loop {
            let line = self.program.line();
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// Ctrl-C: the summary, and the rest of the log before it.
    fn interrupt(self) -> (String, String) {
        let rest = self.program.end(Signal::SIGINT);
        let summary = rest.lines().last().expect("there is a summary").to_owned();
        (summary, rest)
    }
}

fn assert_echoes(stream: &mut TcpStream, seed: usize) {
    let sent = pattern(seed, 1000);
    stream.write_all(&sent).unwrap();
    let mut received = vec![0; sent.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == sent, "other bytes came back");
}

/// One client of many, driven by a selector of our own.
struct Client {
    sent: usize,
    received: Vec<u8>,
    message: Vec<u8>,
}

fn many_clients(server: &Server, count: usize) -> io::Result<()> {
    let mut selector = DefaultSelector::new()?;
    for seed in 0..count {
        let stream = server.connect();
        stream.set_nonblocking(true)?;
        let message = pattern(seed, 3000 + seed * 17);
        let client = Client { sent: 0, received: Vec::new(), message };
        selector.register(stream, Interest::READ | Interest::WRITE, client)?;
    }
    let mut done = 0;
    let mut buffer = [0; 4096];
    while done < count {
        let events = selector.select(LONG)?;
        assert!(!events.is_empty(), "{} clients got no answer", count - done);
        for event in events {
            let Some(key) = selector.get_mut(event.token()) else { continue };
            let (mut stream, client) = (&*key.fileobj, key.data);
            if event.is_writable() && client.sent < client.message.len() {
                client.sent += stream.write(&client.message[client.sent..])?;
                if client.sent == client.message.len() {
                    stream.shutdown(Shutdown::Write)?;
                    selector.modify(event.token(), Interest::READ)?;
                    continue;
                }
            }
            if event.is_readable() {
                match stream.read(&mut buffer) {
                    Ok(0) => {
                        assert!(client.received == client.message, "other bytes came back");
                        done += 1;
                        selector.unregister(event.token())?;
                    }
                    Ok(read) => client.received.extend_from_slice(&buffer[..read]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

fn every_client_gets_its_bytes_back(backend: &str) {
    let server = Server::start(backend);
    many_clients(&server, 150).unwrap();
    let expected: usize = (0..150).map(|seed| 3000 + seed * 17).sum();
    let (summary, log) = server.interrupt();
    assert_eq!(summary, format!("served 150 connections, {expected} bytes"));
    assert_eq!(log.lines().filter(|line| line.starts_with("accepted 127.")).count(), 150);
    assert_eq!(log.lines().filter(|line| line.starts_with("closed 127.")).count(), 150);
}

fn bad_clients_harm_only_themselves(backend: &str) {
    let mut server = Server::start(backend);
    let mut good = server.connect();

    // One that sends and never reads: the server stops reading it, and goes on with the others.
    let mut never_reads = server.connect();
    never_reads.set_nonblocking(true).unwrap();
    let chunk = vec![7; 64 * 1024];
    let mut sent = 0;
    for seed in 0..200 {
        match never_reads.write(&chunk) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert_echoes(&mut good, seed);
    }
    assert!(sent > 64 * 1024, "it sent more than the server keeps");

    come_to_rest(&[server.program.pid()]);

    // One that resets: what it did not read makes its close a reset.
    let mut resets = server.connect();
    resets.write_all(b"unread").unwrap();
    resets.peek(&mut [0]).unwrap();
    let address = resets.local_addr().unwrap();
    drop(resets);
    let line = server.wait_for(&format!("closed {address}"));
    assert!(line.contains("6 bytes echoed"), "{line}");

    // One that vanishes without a word.
    let vanishes = server.connect();
    let address = vanishes.local_addr().unwrap();
    drop(vanishes);
    server.wait_for(&format!("closed {address}: 0 bytes echoed"));

    // The one that did not read gets all of its bytes when it does.
    never_reads.set_nonblocking(false).unwrap();
    never_reads.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    never_reads.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent);
    assert!(received.iter().all(|&byte| byte == 7));

    assert_echoes(&mut good, 1);
    drop(good);
    server.interrupt();
}

fn a_half_closed_client_gets_the_rest(backend: &str) {
    let server = Server::start(backend);
    let mut client = server.connect();
    let message = pattern(3, 200_000);
    let mut writer = client.try_clone().unwrap();
    let sent = message.clone();
    let thread = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    thread.join().unwrap();
    assert!(received == message, "{} of {} bytes", received.len(), message.len());
    server.interrupt();
}

macro_rules! on_every_backend {
    ($($test:ident)*) => { $(
        mod $test {
            #[test]
            #[cfg(any(target_os = "linux", target_os = "android"))]
            fn epoll() {
                super::$test("epoll");
            }
            #[test]
            fn poll() {
                super::$test("poll");
            }
            #[test]
            fn select() {
                super::$test("select");
            }
        }
    )* };
}

on_every_backend! {
    every_client_gets_its_bytes_back
    bad_clients_harm_only_themselves
    a_half_closed_client_gets_the_rest
}

/// Out of descriptors: connected clients are still served, and waiting ones are served later.
#[test]
fn more_clients_than_descriptors_are_served_in_turn() {
    let mut server = Server::spawn(&mut limited(ECHO_SERVER, 24), "poll");
    let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
    server.wait_for("cannot accept: ");
    for (seed, mut client) in clients.drain(..).enumerate() {
        assert_echoes(&mut client, seed);
    }
    let (summary, log) = server.interrupt();
    assert_eq!(summary, "served 40 connections, 40000 bytes");
    let complaints = log.lines().filter(|line| line.starts_with("cannot accept")).count();
    assert!(complaints < 100, "it tried again {complaints} times");
}

/// A limit lowered under a running server: it neither turns meanwhile nor stays closed afterwards.
#[test]
#[cfg(target_os = "linux")]
fn a_lowered_descriptor_limit_costs_no_processor_time() {
    use rlimit::{Resource, prlimit};
    let mut server = Server::start("epoll");
    let mut served = server.connect();
    assert_echoes(&mut served, 0);
    let pid = server.program.pid().as_raw();
    let (mut soft, mut hard) = (0, 0);
    prlimit(pid, Resource::NOFILE, None, Some((&mut soft, &mut hard))).unwrap();
    prlimit(pid, Resource::NOFILE, Some((4, hard)), None).unwrap();
    let mut waits = server.connect();
    server.wait_for("cannot accept: ");
    come_to_rest(&[server.program.pid()]);
    assert_echoes(&mut served, 1);
    let mut also_waits = server.connect();
    prlimit(pid, Resource::NOFILE, Some((soft, hard)), None).unwrap();
    drop(served);
    assert_echoes(&mut waits, 2);
    assert_echoes(&mut also_waits, 3);
    server.interrupt();
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cases = [
        (&["--listen", &address][..], &*format!("cannot listen on {address}: ")),
        (&["--listen", "127.0.0.1:99999"], "cannot listen on 127.0.0.1:99999: "),
        (&["--listen", "nonsense"], "cannot listen on nonsense: "),
        (&["--listen"], "missing argument for option '--listen'"),
        (&["--backend", "epol"], "unknown backend \"epol\""),
        (&["--colour"], "invalid option '--colour'"),
        (&["extra"], "unexpected argument \"extra\""),
    ];
    let lines = refuses("echo-server", ECHO_SERVER, &cases.map(|case| case.0));
    for (line, (_, expected)) in lines.iter().zip(cases) {
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn a_server_whose_log_is_closed_goes_on() {
    let mut server = Server::start("poll");
    let mut client = server.connect();
    assert_echoes(&mut client, 1);
    server.program.stop_reading();
    for seed in 0..5 {
        assert_echoes(&mut server.connect(), seed);
    }
    assert_echoes(&mut client, 2);
}

#[test]
fn a_server_whose_log_is_not_read_goes_on() {
    let server = Server::start("poll");
    // More lines than fit into a pipe.
    for seed in 0..2000 {
        assert_echoes(&mut server.connect(), seed);
    }
    let (summary, log) = server.interrupt();
    assert_eq!(summary, "served 2000 connections, 2000000 bytes");
    assert!(log.len() > 100_000, "{} bytes of log", log.len());
}
