//! Drives the pre-forking server as its clients and its administrator do.
#![cfg(unix)]

mod support;

#[cfg(target_os = "linux")]
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(target_os = "linux")]
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::Instant;

use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{LONG, Program, come_to_rest, limited, refuses};

const PREFORK: &str = env!("CARGO_BIN_EXE_prefork");

struct Server {
    program: Program,
    address: String,
    workers: Vec<Pid>,
}

impl Server {
    fn start(workers: usize) -> Self {
        Self::spawn(&mut Command::new(PREFORK), workers)
    }

    fn spawn(command: &mut Command, workers: usize) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--workers", &workers.to_string()]);
        let (program, address) = Program::listening(command);
        let mut server = Self { program: program.gently(), address, workers: Vec::new() };
        for _ in 0..workers {
            server.started();
        }
        server
    }

    fn started(&mut self) {
        let line = self.program.line();
        let pid = line.strip_prefix("worker ").and_then(|rest| rest.strip_suffix(" started"));
        self.workers.push(Pid::from_raw(pid.expect(&line).parse().unwrap()));
    }

    fn connect(&self) -> TcpStream {
        support::connect(&self.address)
    }

    /// Sends a signal to the parent, and checks that no worker is left.
    fn end(self, signal: Signal) {
        self.program.end(signal);
        for worker in self.workers {
            assert_eq!(kill(worker, None), Err(Errno::ESRCH), "{worker} is still there");
        }
        assert!(TcpStream::connect(self.address).is_err(), "somebody still listens");
    }
}

fn assert_echoes(client: &mut TcpStream, seed: u8) {
    let sent: Vec<u8> = (0..=255).map(|byte: u8| byte.wrapping_mul(seed)).collect();
    client.write_all(&sent).unwrap();
    let mut received = vec![0; sent.len()];
    client.read_exact(&mut received).unwrap();
    assert_eq!(received, sent);
}

#[test]
fn clients_are_served_side_by_side_until_sigterm() {
    let server = Server::start(3);
    let mut clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    for round in 1..4 {
        for client in &mut clients {
            assert_echoes(client, round);
        }
    }
    server.end(Signal::SIGTERM);
}

/// Whether the signal has reached it: proc(5).
#[cfg(target_os = "linux")]
fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('T')
}

#[test]
#[cfg(target_os = "linux")]
fn each_worker_serves_when_it_is_the_only_one_left() {
    let server = Server::start(2);
    for at in 0..2 {
        kill(server.workers[at], Signal::SIGSTOP).unwrap();
        while !is_stopped(server.workers[at]) {
            std::thread::yield_now();
        }
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        for client in &mut clients {
            assert_echoes(client, 7);
        }
        drop(clients);
        kill(server.workers[at], Signal::SIGCONT).unwrap();
    }
    server.end(Signal::SIGINT);
}

#[test]
fn a_worker_that_ends_is_replaced_and_the_others_go_on() {
    let mut server = Server::start(2);
    for (signal, said) in [(Signal::SIGKILL, "SIGKILL"), (Signal::SIGTERM, "Exited")] {
        let victim = server.workers.remove(0);
        kill(victim, signal).unwrap();
        let line = server.program.line();
        assert!(line.starts_with(&format!("worker {victim} ended: ")), "{line}");
        assert!(line.contains(said), "{line}");
        server.started();
        let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for client in &mut clients {
            assert_echoes(client, 3);
        }
    }
    server.end(Signal::SIGTERM);
}

/// Neither replacing a worker nor stopping waits for a client that does not read.
#[test]
#[cfg(target_os = "linux")]
fn nobody_reads_and_it_goes_on() {
    let server = Server::start(1);
    let mut output = OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(format!("/proc/{}/fd/1", server.program.pid()))
        .unwrap();
    for size in [4096, 1] {
        while output.write(&vec![b'.'; size]).is_ok() {}
    }
    kill(server.workers[0], Signal::SIGKILL).unwrap();
    assert_echoes(&mut server.connect(), 9);
    drop(output);
    server.end(Signal::SIGTERM);
}

#[test]
fn workers_end_with_their_parent() {
    let server = Server::start(3);
    server.program.signal(Signal::SIGKILL);
    let deadline = Instant::now() + LONG.unwrap();
    while TcpStream::connect(&server.address).is_ok() {
        assert!(Instant::now() < deadline, "somebody still listens");
    }
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses(
        "prefork",
        PREFORK,
        &[
            &["--listen", &address],
            &["--listen", "nonsense"],
            &["--workers", "0"],
            &["--workers", "257"],
            &["--workers"],
            &["extra"],
        ],
    );
}

/// Who does not read stops its worker from reading, and without descriptors the others wait: in
/// neither case do the processes turn.
#[test]
fn who_does_not_read_and_who_finds_no_descriptor_cost_nothing() {
    let server = Server::spawn(&mut limited(PREFORK, 24), 2);
    let everybody: Vec<_> = server.workers.iter().copied().chain([server.program.pid()]).collect();
    let never_reads = server.connect();
    never_reads.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(count) = (&never_reads).write(&[7; 4096]) {
        sent += count;
    }
    assert!(sent > 0);
    let mut clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    come_to_rest(&everybody);
    for mut client in clients.drain(..) {
        assert_echoes(&mut client, 5);
    }
    server.end(Signal::SIGTERM);
}
