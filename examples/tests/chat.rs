//! Talks in the chat room as people, crowds and rude clients do.
#![cfg(unix)]

mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use nix::sys::signal::Signal;
use support::{Program, come_to_rest, refuses};

const CHAT: &str = env!("CARGO_BIN_EXE_chat");

struct Room {
    program: Program,
    address: String,
}

impl Room {
    fn open(arguments: &[&str]) -> Self {
        let mut command = Command::new(CHAT);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        let (program, address) = Program::listening(&mut command);
        Self { program, address }
    }

    fn connect(&self) -> Person {
        Person(BufReader::new(support::connect(&self.address)))
    }

    fn enter(&self, name: &str) -> Person {
        let mut person = self.connect();
        assert_eq!(person.hear(), "Your name?");
        person.say(&format!("{name}\n"));
        assert_eq!(person.hear(), format!("* Welcome, {name}"));
        person
    }

    fn interrupt(self) {
        assert_eq!(self.program.end(Signal::SIGINT), "");
    }
}

struct Person(BufReader<TcpStream>);

impl Person {
    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line, or nothing at the end.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }
}

#[test]
fn people_hear_each_other_by_name() {
    let room = Room::open(&[]);
    let mut ann = room.enter("ann");
    let mut bob = room.connect();
    assert_eq!(bob.hear(), "Your name?");
    for wrong in ["ann\r\n", "\n", " \t\r\n", "a name of more than thirty-two bytes\n"] {
        bob.say(wrong);
        assert_eq!(bob.hear(), "Another name, please?");
    }
    // A name and two lines in three pieces.
    bob.say("bo");
    bob.say("b\r\n\r\n \r\nhel");
    bob.say("lo, \x1b[1mann\x07\r\nsecond\nnever complete");
    assert_eq!(bob.hear(), "* Welcome, bob");
    for heard in ["* bob has come", "bob: hello, [1mann", "bob: second"] {
        assert_eq!(ann.hear(), heard);
    }
    ann.say("hello, bob\n");
    assert_eq!(bob.hear(), "ann: hello, bob");
    bob.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(ann.hear(), "* bob has left");
    assert_eq!(bob.hear(), "");
    let mut bob = room.enter("bob");
    assert_eq!(ann.hear(), "* bob has come");
    bob.say(&"x".repeat(600));
    assert_eq!(ann.hear(), "* bob has sent too long a line");
    room.interrupt();
}

#[test]
fn five_hundred_people_hear_everybody() {
    let room = Room::open(&[]);
    let mut people: Vec<_> = (0..500).map(|at| room.enter(&format!("p{at}"))).collect();
    for (at, person) in people.iter_mut().enumerate() {
        person.say(&format!("hello from {at}\n"));
    }
    for (at, person) in people.iter_mut().enumerate() {
        let mut expected: HashSet<_> = (at + 1..500).map(|p| format!("* p{p} has come")).collect();
        let others = (0..500).filter(|&other| other != at);
        expected.extend(others.map(|other| format!("p{other}: hello from {other}")));
        while !expected.is_empty() {
            let heard = person.hear();
            assert!(expected.remove(&heard), "p{at} heard {heard:?}");
        }
    }
    // One more client is accepted only when another one leaves.
    let mut late = room.connect();
    drop(people.pop());
    assert_eq!(late.hear(), "Your name?");
    assert_eq!(people[0].hear(), "* p499 has left");
    room.interrupt();
}

#[test]
fn who_does_not_read_is_dropped_and_the_others_hear_on() {
    let room = Room::open(&["--clients", "3"]);
    let mut slow = room.enter("slow");
    let mut listener = room.enter("listener");
    let mut speaker = room.enter("speaker");
    assert_eq!(listener.hear(), "* speaker has come");
    let text = "x".repeat(400);
    let lines = format!("{text}\n").repeat(20);
    let mut dropped = false;
    while !dropped {
        speaker.say(&lines);
        for _ in 0..20 {
            let mut heard = listener.hear();
            if heard == "* slow was too slow" {
                dropped = true;
                heard = listener.hear();
            }
            assert_eq!(heard.strip_prefix("speaker: "), Some(&*text));
        }
    }
    come_to_rest(&[room.program.pid()]);
    // What had been sent before arrives, and then the end.
    let mut rest = Vec::new();
    let _ = slow.0.read_to_end(&mut rest);
    assert!(rest.starts_with(b"* listener has come\n* speaker has come\nspeaker: xxx"));
    let _slow = room.enter("slow");
    assert_eq!(listener.hear(), "* slow has come");
    room.interrupt();
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    let room = Room::open(&[]);
    refuses(
        "chat",
        CHAT,
        &[
            &["--listen", "nowhere"],
            &["--listen", &room.address],
            &["--clients", "many"],
            &["--clients", "0"],
            &["--wrong"],
            &["argument"],
        ],
    );
}
