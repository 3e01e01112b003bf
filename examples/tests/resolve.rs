//! Drives the DNS client against servers that lose, delay and forge answers.
#![cfg(unix)]

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};

const LONG: Option<Duration> = Some(Duration::from_secs(30));

fn program(server: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resolve"));
    command.args(["--server", server]).args(arguments);
    command
}

fn server() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(LONG).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) -> (i32, Vec<String>, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let mut lines: Vec<String> =
        String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    (status.code().expect("it ends by itself"), lines, String::from_utf8(stderr).unwrap())
}

/// The next question: its sender, the datagram, and the name in it.
fn question(socket: &UdpSocket) -> (SocketAddr, Vec<u8>, String) {
    let mut buffer = [0; 1500];
    let (count, peer) = socket.recv_from(&mut buffer).expect("the client asks");
    let packet = Packet::parse(&buffer[..count]).unwrap();
    let name = packet.questions[0].qname.to_string();
    (peer, buffer[..count].to_vec(), name)
}

fn answer(question: &[u8], address: Option<u32>) -> Vec<u8> {
    let mut packet = Packet::parse(question).unwrap();
    packet.set_flags(PacketFlag::RESPONSE);
    match address {
        Some(address) => {
            let name = packet.questions[0].qname.clone();
            let data = RData::A(A { address });
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 60, data));
        }
        None => *packet.rcode_mut() = RCODE::NameError,
    }
    packet.build_bytes_vec().unwrap()
}

#[test]
fn a_thousand_names_whose_first_questions_get_lost() {
    let (socket, address) = server();
    let names: Vec<String> = (0..1000).map(|at| format!("host-{at}.example")).collect();
    let mut command = program(&address, &["--timeout", "0.05", "--tries", "100"]);
    let child = start(command.args(&names));
    let lossy = thread::spawn(move || {
        let mut known = HashSet::new();
        let mut delayed = None;
        loop {
            let (peer, datagram, name) = question(&socket);
            if name == "stop" {
                break;
            }
            // The first question is lost, and each answer comes after the next question.
            if known.insert(name.clone()) {
                continue;
            }
            let number = name.strip_prefix("host-").and_then(|rest| rest.split('.').next());
            let number: u32 = number.unwrap().parse().unwrap();
            let reply = answer(&datagram, (number % 10 != 0).then_some(0x0A00_0000 + number));
            if let Some(reply) = delayed.replace(reply) {
                socket.send_to(&reply, peer).unwrap();
            }
        }
        known.len()
    });
    let (code, lines, errors) = finish(child);
    finish(start(&mut program(&address, &["--timeout", "0.1", "--tries", "1", "stop"])));
    assert_eq!(lossy.join().unwrap(), 1000);
    let mut expected: Vec<String> = (0..1000)
        .map(|at| match at % 10 {
            0 => format!("host-{at}.example: no such name"),
            _ => format!("host-{at}.example 10.0.{}.{}", at / 256, at % 256),
        })
        .collect();
    expected.sort();
    assert_eq!((code, &*errors), (1, ""));
    assert!(lines == expected, "{:?}", lines.iter().find(|line| !expected.contains(line)));
}

#[test]
fn a_silent_server_is_asked_as_often_as_allowed_and_no_sooner() {
    let (socket, address) = server();
    let begin = Instant::now();
    let child = start(&mut program(&address, &["--timeout", "0.1", "--tries", "3", "a", "b"]));
    let (code, lines, errors) = finish(child);
    // 0.1, 0.2 and 0.4 seconds.
    assert!(begin.elapsed() >= Duration::from_millis(700));
    assert_eq!((code, &*errors), (1, ""));
    assert_eq!(lines, ["a: no answer", "b: no answer"]);
    let mut asked: Vec<String> = (0..6).map(|_| question(&socket).2).collect();
    asked.sort();
    assert_eq!(asked, ["a", "a", "a", "b", "b", "b"]);
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 1]).is_err(), "it was asked more often");
}

#[test]
fn forged_answers_are_ignored() {
    let (socket, address) = server();
    let child = start(&mut program(&address, &["--timeout", "30", "Name.Example."]));
    let (peer, datagram, name) = question(&socket);
    assert_eq!(name, "Name.Example");
    let right = answer(&datagram, Some(0x7F00_0001));
    let (stranger, _) = server();
    stranger.send_to(&answer(&datagram, Some(1)), peer).unwrap();
    let mut other_id = answer(&datagram, Some(2));
    other_id[0] ^= 1;
    let mut other_name = answer(&datagram, Some(3));
    other_name[13] ^= 3;
    for forged in [&other_id[..], &other_name, &right[..20], &datagram, b"", &[0xFF; 600]] {
        socket.send_to(forged, peer).unwrap();
    }
    socket.send_to(&right, peer).unwrap();
    assert_eq!(finish(child), (0, vec!["Name.Example. 127.0.0.1".to_owned()], String::new()));
}

#[test]
fn a_port_without_a_server_is_named() {
    let (socket, address) = server();
    drop(socket);
    let child = start(&mut program(&address, &["--timeout", "0.05", "--tries", "2", "a"]));
    let (code, lines, _) = finish(child);
    assert_eq!(code, 1);
    assert!(lines[0].starts_with("a: no answer (Connection refused"), "{lines:?}");
}

#[test]
fn ctrl_c_ends_it() {
    let (socket, address) = server();
    let child = start(&mut program(&address, &["--timeout", "3000", "a"]));
    question(&socket);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(finish(child), (1, vec![], String::new()));
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    for arguments in
        [&["--timeout", "0", "a"][..], &["--type", "MX", "a"], &["--wrong"], &[], &["a..b"]]
    {
        let (code, lines, errors) = finish(start(&mut program("127.0.0.1:53", arguments)));
        assert_eq!((code, lines.len(), errors.lines().count()), (2, 0, 1), "{errors}");
        assert!(errors.starts_with("resolve: "), "{errors}");
    }
    let (code, lines, _) = finish(start(&mut program("127.0.0.1:53", &["--help"])));
    assert!(code == 0 && lines.iter().any(|line| line.contains("Usage: resolve")));
}
