//! Drives the supervisor, and reads its output.
#![cfg(unix)]

mod support;

use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Program, come_to_rest, limited, refuses};

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_supervisor");

struct Supervisor(Program);

impl Supervisor {
    fn start(arguments: &[&str]) -> Self {
        Self(Program::start(Command::new(SUPERVISOR).args(arguments)).gently())
    }

    fn line(&mut self) -> String {
        self.0.line()
    }

    /// Reads on until a line starts so, and returns the rest of it.
    fn wait_for(&mut self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// Ends it, and returns what it printed until then.
    fn end(self, signal: Signal) -> String {
        self.0.end(signal)
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
fn nobody_reads_and_nobody_turns() {
    let mut supervisor = Supervisor::start(&["loud=exec yes"]);
    let loud = supervisor.wait_for("loud: started as ");
    supervisor.wait_for("loud: y");
    come_to_rest(&[supervisor.0.pid(), Pid::from_raw(loud.parse().unwrap())]);
    supervisor.end(Signal::SIGTERM);
}

/// Out of descriptors: what cannot be started waits its turn, and what runs goes on.
#[test]
fn more_programs_than_descriptors() {
    let programs: Vec<_> =
        (0..20).map(|at| format!("p{at}=while echo x; do sleep 1; done")).collect();
    let mut command = limited(SUPERVISOR, 20);
    let mut supervisor = Supervisor(Program::start(command.args(&programs)).gently());
    while !supervisor.line().ends_with("(os error 24)") {}
    supervisor.wait_for("p0: x");
    supervisor.end(Signal::SIGINT);
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
    refuses(
        "supervisor",
        SUPERVISOR,
        &[&[], &["nameless"], &["=sh"], &["--back-off", "x", "a=b"], &["--wrong"]],
    );
}
