//! Drives the TLS server as clients do: over real connections, with its certificate verified.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::{LONG, Program, come_to_rest, pattern, refuses};

const TLS_ECHO: &str = env!("CARGO_BIN_EXE_tls-echo");

struct Server {
    program: Program,
    address: String,
    trust: Arc<ClientConfig>,
}

type Client = StreamOwned<ClientConnection, TcpStream>;

impl Server {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tls-echo");
        fs::create_dir_all(&folder).unwrap();
        let certificate = folder.join(name);
        let mut command = Command::new(TLS_ECHO);
        command.args(["--listen", "127.0.0.1:0", "--self-signed"]).arg(&certificate);
        let (program, address) = Program::listening(command.args(arguments));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let trust = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { program, address, trust: Arc::new(trust) }
    }

    fn tcp(&self) -> TcpStream {
        support::connect(&self.address)
    }

    fn connect(&self) -> Client {
        let name = "localhost".try_into().unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.trust), name).unwrap(), self.tcp())
    }

    fn interrupt(self) {
        assert_eq!(self.program.end(Signal::SIGINT), "");
    }
}

fn assert_echoes(client: &mut Client, seed: usize, count: usize) {
    let sent = pattern(seed, count);
    client.write_all(&sent).unwrap();
    let mut received = vec![0; count];
    client.read_exact(&mut received).unwrap();
    assert!(received == sent, "other bytes came back");
}

#[test]
fn what_is_sent_comes_back_and_both_say_goodbye() {
    let server = Server::start("goodbye", &[]);
    let mut client = server.connect();
    for (seed, count) in [1, 100, 16_384, 16_385, 30_000].into_iter().enumerate() {
        assert_echoes(&mut client, seed, count);
    }
    client.conn.send_close_notify();
    client.flush().unwrap();
    // An end without close_notify would be an error.
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    server.interrupt();
}

#[test]
fn fifty_clients_take_turns() {
    let server = Server::start("many", &[]);
    let mut clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    for round in 0..3 {
        for (seed, client) in clients.iter_mut().enumerate() {
            assert_echoes(client, seed + round, 1000 + seed);
        }
    }
}

#[test]
fn rude_clients_harm_themselves_alone() {
    let server = Server::start("rude", &["--idle", "20"]);
    let mut kind = server.connect();
    assert_echoes(&mut kind, 0, 100);
    let mut plain = server.tcp();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut alert = Vec::new();
    // It may end with a reset.
    let _ = plain.read_to_end(&mut alert);
    assert_eq!(alert.first(), Some(&21), "an alert");
    let mut gone = server.connect();
    assert_echoes(&mut gone, 1, 100);
    gone.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(gone.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    drop(server.tcp());
    assert_echoes(&mut kind, 2, 100);
}

#[test]
fn a_handshake_that_does_not_go_on_is_ended() {
    let server = Server::start("handshake", &["--idle", "0.2"]);
    let mut silent = server.tcp();
    silent.write_all(&[22, 3, 1]).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let server = Server::start("pressure", &[]);
    let mut client = server.connect();
    assert_echoes(&mut client, 0, 10);
    client.sock.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let chunk = pattern(1, 16_384);
    let mut sent = 0;
    // Until neither the server nor the kernel takes more.
    loop {
        assert!(sent < 100_000_000, "the server takes everything");
        client.conn.writer().write_all(&chunk).unwrap();
        sent += chunk.len();
        match client.conn.write_tls(&mut client.sock) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        while client.conn.wants_write() && client.conn.write_tls(&mut client.sock).is_ok() {}
    }
    come_to_rest(&[server.program.pid()]);
    let mut other = server.connect();
    assert_echoes(&mut other, 2, 1000);
    // All of it comes back when the client reads again.
    client.sock.set_write_timeout(LONG).unwrap();
    client.sock.set_nonblocking(true).unwrap();
    let mut selector = selectors::DefaultSelector::new().unwrap();
    let watched = client.sock.try_clone().unwrap();
    let token = selector.register(watched, selectors::Interest::READ, ()).unwrap();
    let mut received = Vec::new();
    let mut buffer = vec![0; 65_536];
    while received.len() < sent {
        let (read, write) = (selectors::Interest::READ, selectors::Interest::WRITE);
        let wanted = if client.conn.wants_write() { read | write } else { read };
        selector.modify(token, wanted).unwrap();
        assert!(!selector.select(LONG).unwrap().is_empty(), "nothing more comes back");
        if client.conn.wants_write() {
            let _ = client.conn.write_tls(&mut client.sock);
        }
        let _ = client.conn.read_tls(&mut client.sock);
        client.conn.process_new_packets().unwrap();
        while let Ok(count) = client.conn.reader().read(&mut buffer) {
            assert!(count > 0, "the server gave up");
            received.extend_from_slice(&buffer[..count]);
        }
    }
    assert!(received.chunks(chunk.len()).all(|part| part == chunk), "other bytes came back");
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    let server = Server::start("errors", &[]);
    refuses(
        "tls-echo",
        TLS_ECHO,
        &[
            &[],
            &["--self-signed", "/no/such/directory/file"],
            &["--certificate", "/dev/null", "--key", "/dev/null"],
            &["--certificate", "/no", "--key", "/no"],
            &["--self-signed", "/dev/null", "--listen", &server.address],
            &["--idle", "-1"],
            &["--wrong"],
        ],
    );
}
