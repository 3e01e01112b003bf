//! What the tests of the programs have in common: a program that runs while a test drives it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const LONG: Option<Duration> = Some(Duration::from_secs(30));

/// A running program, killed when a test fails.
pub(crate) struct Program {
    child: Child,
    pub(crate) lines: BufReader<Box<dyn Read>>,
    /// What ends it when a test fails.
    stop: Signal,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output: Box<dyn Read> = Box::new(child.stdout.take().unwrap());
        let lines = BufReader::new(output);
        Self { child, lines, stop: Signal::SIGKILL }
    }

    /// Lets it end its children when a test fails.
    pub(crate) fn gently(mut self) -> Self {
        self.stop = Signal::SIGTERM;
        self
    }

    /// Starts a server, and returns where it listens.
    pub(crate) fn listening(command: &mut Command) -> (Self, String) {
        let mut program = Self::start(command);
        let first = program.line();
        let address = first.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("odd first line: {first:?}")).to_owned();
        (program, address)
    }

    /// The next line that it prints, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it prints no more");
        assert_eq!(line.pop(), Some('\n'));
        line
    }

    /// Closes what it prints to.
    pub(crate) fn stop_reading(&mut self) {
        self.lines = BufReader::new(Box::new(io::empty()));
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends it by a signal, and returns what it printed until then.
    pub(crate) fn end(mut self, signal: Signal) -> String {
        self.signal(signal);
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(self.stop);
            // It may wait for a reader.
            let _ = io::copy(&mut self.lines, &mut io::sink());
            let _ = self.child.wait();
        }
    }
}

/// A client that waits long, but not for ever.
pub(crate) fn connect(address: &str) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(LONG).unwrap();
    stream.set_write_timeout(LONG).unwrap();
    stream
}

/// A program that may have so many descriptors open and no more.
pub(crate) fn limited(program: &str, descriptors: usize) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""), program]);
    command
}

/// Bytes that differ from seed to seed and from place to place.
pub(crate) fn pattern(seed: usize, count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251 + seed * 7).to_le_bytes()[0]).collect()
}

/// Checks that each of these command lines is refused in one line that begins with the name, and
/// that help is given. Returns those lines.
pub(crate) fn refuses(name: &str, program: &str, command_lines: &[&[&str]]) -> Vec<String> {
    let help = Command::new(program).arg("--help").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && text.contains(&format!("Usage: {name}")), "{text}");
    let refused = |arguments: &&[&str]| {
        let output = Command::new(program).args(*arguments).stdin(Stdio::null()).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(errors.starts_with(&format!("{name}: ")) && output.stdout.is_empty(), "{errors}");
        errors
    };
    command_lines.iter().map(refused).collect()
}

/// Out of descriptors, an echo server with several threads turns nobody away, and everybody gets
/// their turn.
pub(crate) fn serves_more_clients_than_descriptors(program: &str) {
    let mut command = limited(program, 24);
    command.args(["--listen", "127.0.0.1:0", "--workers", "2"]);
    let (program, address) = Program::listening(&mut command);
    let clients: Vec<_> = (0..60).map(|_| connect(&address)).collect();
    come_to_rest(&[program.pid()]);
    for mut client in clients {
        client.write_all(b"there").unwrap();
        let mut back = [0; 5];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"there");
    }
}

/// Command lines that a server with several threads refuses.
pub(crate) const WRONG_SERVING: [&[&str]; 5] =
    [&["--listen", "nonsense"], &["--workers", "0"], &["--workers", "257"], &["--wrong"], &["x"]];

/// Processor time that a process has used, in ticks of 10 ms: utime and stime of proc(5).
#[cfg(target_os = "linux")]
pub(crate) fn processor_ticks(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Checks that these processes come to rest: that there is half a second in which they do nothing.
#[cfg(target_os = "linux")]
pub(crate) fn come_to_rest(processes: &[Pid]) {
    let used = || processes.iter().map(|&pid| processor_ticks(pid)).sum::<u64>();
    let rest = || {
        let before = used();
        std::thread::sleep(Duration::from_millis(500));
        let ticks = used() - before;
        println!("{ticks} ticks of 10 ms in half a second");
        ticks <= 5
    };
    // At first they may still fill what there is of buffers.
    assert!((0..20).any(|_| rest()), "they do not rest");
}

/// Where processor time is not known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn come_to_rest(_: &[Pid]) {}

/// Checks that a process never had more than 16 MB of memory: proc(5).
#[cfg(target_os = "linux")]
pub(crate) fn has_used_little_memory(pid: Pid) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    println!("a peak of {peak} kB of memory");
    assert!(peak < 16 * 1024);
}

/// Where that is not known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn has_used_little_memory(_: Pid) {}
