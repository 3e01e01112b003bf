//! Drives the supervisor as somebody who reads what it prints.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_supervisor"))
}

struct Supervisor {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Supervisor {
    fn start(arguments: &[&str]) -> Self {
        let mut child = program().args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the output ended");
        assert_eq!(line.pop(), Some('\n'));
        line
    }

    /// Reads on until a line starts so, and returns the rest of it.
    fn wait_for(&mut self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Ends it, and returns what it printed until then.
    fn end(mut self, signal: Signal) -> String {
        self.signal(signal);
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // So that its programs end as well: they may wait for a reader.
            self.signal(Signal::SIGTERM);
            let _ = std::io::copy(&mut self.lines, &mut std::io::sink());
            let _ = self.child.wait();
        }
    }
}

fn is_gone(pid: &str) -> bool {
    kill(Pid::from_raw(pid.parse().unwrap()), None) == Err(Errno::ESRCH)
}

#[test]
fn lines_of_several_programs_stay_whole() {
    let count =
        "for i in $(seq 2000); do printf 'li'; echo ne $i; done; printf end; exec sleep 600";
    let mut supervisor =
        Supervisor::start(&[&format!("a={count}"), &format!("b=exec >&2; {count}")]);
    let mut seen = [0, 0];
    while seen != [2000, 2000] {
        let line = supervisor.line();
        if line.contains(": started as ") {
            continue;
        }
        let at = usize::from(line.starts_with("b: "));
        seen[at] += 1;
        assert_eq!(line, format!("{}: line {}", ["a", "b"][at], seen[at]));
    }
    // What was printed of a line comes when the program has ended.
    let rest = supervisor.end(Signal::SIGTERM);
    assert!(rest.contains("a: end\n") && rest.contains("b: end\n"), "{rest}");
}

#[test]
fn what_ends_is_started_again() {
    let mut supervisor = Supervisor::start(&["--back-off", "0.05", "p=echo hello; exit 3"]);
    let mut before = String::new();
    for _ in 0..4 {
        let pid = supervisor.wait_for("p: started as ");
        assert_ne!(pid, before);
        before = pid;
        // Which of the two comes first is the system's to choose.
        let mut lines = [supervisor.line(), supervisor.line()];
        lines.sort();
        assert_eq!(lines, ["p: exit status: 3", "p: hello"]);
    }
    supervisor.end(Signal::SIGINT);
}

#[test]
fn what_is_killed_is_started_again() {
    let mut supervisor = Supervisor::start(&["--back-off", "0.05", "p=exec sleep 600"]);
    let pid = supervisor.wait_for("p: started as ");
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    assert!(supervisor.line().starts_with("p: signal: 9"));
    let next = supervisor.wait_for("p: started as ");
    supervisor.end(Signal::SIGTERM);
    assert!(is_gone(&next));
}

#[test]
fn a_program_that_never_stops_writing_holds_nobody_up() {
    let mut supervisor = Supervisor::start(&[
        "loud=exec yes",
        "one=exec tr '\\000' x </dev/zero",
        "quiet=for i in $(seq 20); do echo $i; sleep 0.01; done; exec sleep 600",
    ]);
    for expected in 1..=20 {
        loop {
            let rest = supervisor.wait_for("quiet: ");
            if !rest.starts_with("started") {
                assert_eq!(rest, expected.to_string());
                break;
            }
        }
    }
    supervisor.end(Signal::SIGTERM);
}

#[test]
#[cfg(target_os = "linux")]
fn nobody_reads_and_nobody_turns() {
    let ticks = |pid: &str| -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    };
    let mut supervisor = Supervisor::start(&["loud=exec yes"]);
    let loud = supervisor.wait_for("loud: started as ");
    let pids = [supervisor.child.id().to_string(), loud];
    supervisor.wait_for("loud: y");
    let silence = || {
        let before: u64 = pids.iter().map(|pid| ticks(pid)).sum();
        std::thread::sleep(std::time::Duration::from_millis(500));
        let spent = pids.iter().map(|pid| ticks(pid)).sum::<u64>() - before;
        println!("{spent} ticks of 10 ms in half a second");
        spent < 10
    };
    // At first both fill what there is of buffers.
    assert!((0..20).any(|_| silence()), "they never rest");
    supervisor.end(Signal::SIGTERM);
}

#[test]
fn what_does_not_want_to_end_is_killed() {
    let mut supervisor =
        Supervisor::start(&["p=trap '' TERM; echo ready; while :; do sleep 1; done"]);
    let pid = supervisor.wait_for("p: started as ");
    supervisor.wait_for("p: ready");
    let rest = supervisor.end(Signal::SIGTERM);
    assert!(rest.contains("p: signal: 9"), "{rest}");
    assert!(is_gone(&pid));
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    for arguments in [&[][..], &["nameless"], &["=sh"], &["--back-off", "x", "a=b"], &["--wrong"]] {
        let output = program().args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(errors.starts_with("supervisor: "), "{errors}");
    }
    assert!(program().arg("--help").output().unwrap().status.success());
}
