//! Drives the pre-forking server as its clients and its administrator do.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_prefork"))
}

struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: SocketAddr,
    workers: Vec<Pid>,
}

impl Server {
    fn start(workers: usize) -> Self {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--workers", &workers.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let address = first.strip_prefix("listening on ").unwrap().trim().parse().unwrap();
        let mut server = Self { child, lines, address, workers: Vec::new() };
        for _ in 0..workers {
            server.started();
        }
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the log ended");
        line
    }

    fn started(&mut self) {
        let line = self.line();
        let pid = line.strip_prefix("worker ").and_then(|rest| rest.strip_suffix(" started\n"));
        self.workers.push(Pid::from_raw(pid.expect(&line).parse().unwrap()));
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends a signal to the parent, and checks that it leaves nobody behind.
    fn end(mut self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
        assert!(self.child.wait().unwrap().success());
        for &worker in &self.workers {
            assert_eq!(kill(worker, None), Err(Errno::ESRCH), "{worker} is still there");
        }
        assert!(TcpStream::connect(self.address).is_err(), "somebody still listens");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // By SIGTERM, so that the workers end as well.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill(self.pid(), Signal::SIGTERM);
            let _ = self.child.wait();
        }
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
        let line = server.line();
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

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [
        &["--listen", &address][..],
        &["--listen", "nonsense"],
        &["--workers", "0"],
        &["--workers"],
        &["extra"],
    ] {
        let output = program().args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(errors.starts_with("prefork: "), "{errors}");
    }
    assert!(program().arg("--help").output().unwrap().status.success());
}
