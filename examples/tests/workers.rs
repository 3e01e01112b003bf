//! Drives the server whose workers hand connections to each other, over every backend.
#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use selectors::BackendKind;
use selectors_examples::workers::Server;

#[test]
fn connections_are_served_wherever_they_are() {
    const CLIENTS: usize = 20;
    for backend in BackendKind::available() {
        let server = Server::bind("127.0.0.1:0", backend, 3).unwrap();
        let (address, stopper) = (server.address().unwrap(), server.stopper());
        let server = thread::spawn(move || server.run());
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = TcpStream::connect(address).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                client
            })
            .collect();
        for round in 0..50_u8 {
            for (client, number) in clients.iter_mut().zip(0_u8..) {
                client.write_all(&[round, number]).unwrap();
            }
            for (client, number) in clients.iter_mut().zip(0_u8..) {
                let mut echo = [0; 2];
                client.read_exact(&mut echo).unwrap();
                assert_eq!(echo, [round, number], "{backend}");
            }
        }
        // More than fits into the buffers of a connection.
        let mut reader = clients.pop().unwrap();
        let mut writer = reader.try_clone().unwrap();
        let sent = vec![7; 4 << 20];
        let expected = sent.clone();
        let writing = thread::spawn(move || writer.write_all(&sent));
        let mut echo = vec![0; expected.len()];
        reader.read_exact(&mut echo).unwrap();
        assert!(echo == expected, "{backend}");
        writing.join().unwrap().unwrap();
        drop(clients);
        stopper.stop().unwrap();
        let summary = server.join().unwrap().unwrap();
        assert_eq!(summary.accepted, CLIENTS, "{backend}");
        // The first worker accepts them all, and may keep but its share.
        assert!(summary.handed_over >= CLIENTS / 3, "{backend}: {summary:?}");
    }
}

#[test]
fn a_server_without_clients_stops() {
    for backend in BackendKind::available() {
        let server = Server::bind("127.0.0.1:0", backend, 2).unwrap();
        let stopper = server.stopper();
        let server = thread::spawn(move || server.run());
        stopper.stop().unwrap();
        assert_eq!(server.join().unwrap().unwrap().accepted, 0, "{backend}");
    }
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    support::refuses("worker-echo", env!("CARGO_BIN_EXE_worker-echo"), &support::WRONG_SERVING);
}

#[test]
fn it_serves_more_clients_than_descriptors() {
    support::serves_more_clients_than_descriptors(env!("CARGO_BIN_EXE_worker-echo"));
}
