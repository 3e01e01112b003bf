//! Drives the recorder through a pseudo-terminal, as a user would.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pty_process::Size;
use pty_process::blocking::{Command as PtyCommand, Pty, open};
use rustix::termios::{LocalModes, tcgetattr};

struct Session {
    child: Child,
    screen: Pty,
    seen: String,
    record: PathBuf,
}

impl Session {
    fn start(name: &str, program: &[&str]) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("terminal");
        fs::create_dir_all(&folder).unwrap();
        let record = folder.join(name);
        let (screen, slave) = open().unwrap();
        screen.resize(Size::new(24, 80)).unwrap();
        let command = PtyCommand::new(env!("CARGO_BIN_EXE_terminal"));
        let child = command.arg("--to").arg(&record).args(program).spawn(slave).unwrap();
        Self { child, screen, seen: String::new(), record }
    }

    /// Reads what is shown until `wanted` is.
    fn wait_for(&mut self, wanted: &str) {
        while !self.seen.contains(wanted) {
            assert!(self.more(), "{wanted:?} never came: {}", self.seen);
        }
    }

    /// Linux reports the end as an error.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.screen.read(&mut buffer).unwrap_or(0);
        self.seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        count > 0
    }

    fn press(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.screen).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// The exit code, what was shown, and what was recorded.
    fn end(mut self) -> (Option<i32>, String, String) {
        while self.more() {}
        let code = self.child.wait().unwrap().code();
        (code, self.seen, fs::read_to_string(&self.record).unwrap())
    }
}

#[test]
fn a_program_is_shown_typed_to_and_recorded() {
    let script = "stty size; read line; echo \"<$line>\"; exit 7";
    let mut session = Session::start("typed", &["sh", "-c", script]);
    session.wait_for("24 80\r\n");
    assert!(session.is_raw());
    session.press("hello\r");
    let (code, shown, recorded) = session.end();
    assert_eq!(code, Some(7));
    assert_eq!(shown, "24 80\r\nhello\r\n<hello>\r\n");
    assert_eq!(recorded, shown);
}

#[test]
fn the_terminal_is_as_before_at_the_end() {
    let (screen, slave) = open().unwrap();
    let before = tcgetattr(&screen).unwrap();
    let record = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("terminal-restored");
    let command = PtyCommand::new(env!("CARGO_BIN_EXE_terminal"));
    let mut child = command.arg("--to").arg(record).arg("true").spawn(slave).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(tcgetattr(&screen).unwrap().local_modes, before.local_modes);
}

#[test]
fn the_program_learns_of_another_size() {
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do read line; done";
    let mut session = Session::start("size", &["sh", "-c", script]);
    session.wait_for("ready\r\n");
    session.screen.resize(Size::new(50, 132)).unwrap();
    session.wait_for("50 132\r\n");
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn ctrl_c_is_the_programs_and_sigterm_ours() {
    let script = "trap 'echo caught' INT; echo ready; while :; do read line; done";
    let mut session = Session::start("signals", &["sh", "-c", script]);
    session.wait_for("ready\r\n");
    session.press("\x03");
    session.wait_for("caught\r\n");
    kill(Pid::from_raw(i32::try_from(session.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(session.end().0, Some(1));
}

#[test]
fn a_program_that_a_signal_ends() {
    let session = Session::start("killed", &["sh", "-c", "kill -KILL $$"]);
    assert_eq!(session.end().0, Some(128 + 9));
}

#[test]
fn much_output_arrives_whole_however_late_it_is_read() {
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo done";
    let mut session = Session::start("much", &["sh", "-c", script]);
    session.wait_for("line 0\r\n");
    let (code, shown, recorded) = session.end();
    let expected: String =
        (0..20000).map(|at| format!("line {at}\r\n")).chain(["done\r\n".to_owned()]).collect();
    assert_eq!(code, Some(0));
    assert!(shown == expected, "{} bytes of {}", shown.len(), expected.len());
    assert!(recorded == expected);
}

#[test]
fn nobody_reads_and_nobody_turns() {
    let mut session = Session::start("unread", &["sh", "-c", "echo $$; exec yes"]);
    session.wait_for("\r\ny\r\n");
    let program = session.seen.split("\r\n").next().unwrap().parse().unwrap();
    let recorder = Pid::from_raw(i32::try_from(session.child.id()).unwrap());
    support::come_to_rest(&[recorder, Pid::from_raw(program)]);
    kill(recorder, Signal::SIGTERM).unwrap();
    assert_eq!(session.end().0, Some(1));
}

#[test]
fn what_runs_on_in_the_background_holds_nobody_up() {
    let script = "trap '' HUP; sleep 3600 & echo $!";
    let session = Session::start("background", &["sh", "-c", script]);
    let (code, shown, _) = session.end();
    assert_eq!(code, Some(0));
    kill(Pid::from_raw(shown.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    let program = env!("CARGO_BIN_EXE_terminal");
    support::refuses("terminal", program, &[&["true"], &["--wrong"], &["--to"]]);
    let session = Session::start("missing", &["/no/such/program"]);
    let (code, shown, _) = session.end();
    assert_eq!(code, Some(2));
    assert!(shown.starts_with("terminal: cannot run \"/no/such/program\": "), "{shown}");
}
