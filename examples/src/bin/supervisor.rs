//! Keeps programs running and merges their output line by line.

use std::process::ExitCode;

use selectors_examples::cli;

const HELP: &str = "\
Runs programs, prints each line of their output after the program's name, and
restarts programs that end. Runs until Ctrl-C.

Usage: supervisor [--back-off SECONDS] NAME=COMMAND...

  --back-off SECONDS  the pause before restarting a program [default: 1];
                      doubled, up to a minute, while the program runs for
                      less than the pause
  NAME=COMMAND        a name, and a command for sh(1)
  --help              print this text
";

#[cfg(unix)]
fn main() -> ExitCode {
    cli::run("supervisor", HELP, supervisor::options, supervisor::run)
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    let options = |_: &mut lexopt::Parser| Ok(Some(()));
    cli::run("supervisor", HELP, options, |()| Err("is not available on this system".into()))
}

#[cfg(unix)]
mod supervisor {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::process::{Child, ChildStdout, ExitCode};
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use lexopt::{Arg, Parser, ValueExt};
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    use selectors::{DefaultSelector, Interest, Token};
    use selectors_examples::back_off::BackOff;
    use selectors_examples::cli::{Outcome, seconds};
    use selectors_examples::lines::{Lines, append};
    use selectors_examples::relay::ready;
    use selectors_examples::signals::{Signals, stop_flag};
    use selectors_examples::{shell, write_some};
    use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};

    /// The limit of unprinted output. Beyond it, the programs block.
    const MOST: usize = 64 * 1024;

    /// The time for programs to end after SIGTERM, and for their output to be read.
    const GRACE: Duration = Duration::from_secs(5);

    pub(super) struct Options {
        back_off: Duration,
        programs: Vec<(String, String)>,
    }

    pub(super) fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
        let mut options = Options { back_off: Duration::from_secs(1), programs: Vec::new() };
        while let Some(argument) = arguments.next()? {
            match argument {
                Arg::Long("back-off") => {
                    options.back_off = seconds(&arguments.value()?.string()?)?;
                }
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Value(program) => {
                    let program = program.string()?;
                    let (name, command) = program
                        .split_once('=')
                        .filter(|(name, _)| !name.is_empty())
                        .ok_or_else(|| format!("{program:?} is no NAME=COMMAND"))?;
                    options.programs.push((name.to_owned(), command.to_owned()));
                }
                other => return Err(other.unexpected().into()),
            }
        }
        if options.programs.is_empty() {
            return Err("nothing to run".into());
        }
        Ok(Some(options))
    }

    enum Source {
        Output(ChildStdout),
        Signals(Signals),
        Screen(File),
    }

    impl AsFd for Source {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self {
                Self::Output(output) => output.as_fd(),
                Self::Signals(signals) => signals.as_fd(),
                Self::Screen(screen) => screen.as_fd(),
            }
        }
    }

    struct Program {
        name: String,
        command: String,
        child: Option<Child>,
        /// When to start it, if it is not running.
        due: Instant,
        back_off: BackOff,
    }

    struct Supervisor {
        selector: DefaultSelector<Source, Lines>,
        screen: Token,
        unwritten: Vec<u8>,
        programs: Vec<Program>,
    }

    pub(super) fn run(options: Options) -> Outcome {
        let stop = stop_flag()?;
        let mut selector = DefaultSelector::new()?;
        let signals = Source::Signals(Signals::new(&[SIGCHLD, SIGINT, SIGTERM])?);
        selector.register(signals, Interest::READ, Lines::default())?;
        let screen = Source::Screen(io::stdout().as_fd().try_clone_to_owned()?.into());
        let screen = selector.register(screen, Interest::empty(), Lines::default())?;
        let due = Instant::now();
        let program = |(name, command)| {
            let back_off = BackOff::new(options.back_off);
            Program { name, command, child: None, due, back_off }
        };
        let programs = options.programs.into_iter().map(program).collect();
        let mut supervisor = Supervisor { selector, screen, unwritten: Vec::new(), programs };
        while !stop.load(Ordering::Acquire) {
            let next = supervisor.start();
            supervisor.wait(next)?;
        }
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            supervisor.signal(signal);
            let deadline = Instant::now() + GRACE;
            while supervisor.is_busy() && Instant::now() < deadline {
                supervisor.wait(Some(deadline))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    impl Supervisor {
        /// Starts programs that are due, and returns when the next one is, unless the output is full.
        fn start(&mut self) -> Option<Instant> {
            if self.unwritten.len() >= MOST {
                return None;
            }
            let now = Instant::now();
            for program in &mut self.programs {
                if program.child.is_some() || program.due > now {
                    continue;
                }
                program.back_off.started(now);
                let started = shell(&program.command).and_then(|(mut child, output)| {
                    let (output, lines) = (Source::Output(output), Lines::of(&program.name));
                    if let Err(refused) = self.selector.register(output, Interest::READ, lines) {
                        child.kill()?;
                        child.wait()?;
                        return Err(refused.into());
                    }
                    Ok(child)
                });
                match started {
                    Ok(child) => {
                        let started = format!("started as {}", child.id());
                        append(&program.name, started.as_bytes(), &mut self.unwritten);
                        program.child = Some(child);
                    }
                    Err(error) => program.ended(&error.to_string(), &mut self.unwritten),
                }
            }
            let waiting = self.programs.iter().filter(|program| program.child.is_none());
            waiting.map(|program| program.due).min()
        }

        /// Waits once, and handles ready sources.
        fn wait(&mut self, deadline: Option<Instant>) -> Outcome<()> {
            let write = Interest::WRITE.when(!self.unwritten.is_empty());
            let read = Interest::READ.when(self.unwritten.len() < MOST);
            let is_output = |source: &Source| matches!(source, Source::Output(_));
            let outputs = self.selector.iter().filter(|(_, key)| is_output(key.fileobj));
            for token in outputs.map(|(token, _)| token).collect::<Vec<_>>() {
                self.selector.modify(token, read)?;
            }
            self.selector.modify(self.screen, write)?;
            for event in self.selector.select_until(deadline)? {
                self.serve(event.token())?;
            }
            Ok(())
        }

        /// Reads or writes once, so that each source has its turn however much another prints.
        fn serve(&mut self, token: Token) -> Outcome<()> {
            let Some(key) = self.selector.get_mut(token) else { return Ok(()) };
            match key.fileobj {
                Source::Output(output) => {
                    let mut buffer = [0; 8 * 1024];
                    let Some(count) = ready(output.read(&mut buffer))? else { return Ok(()) };
                    key.data.push(&buffer[..count], &mut self.unwritten);
                    if count == 0 {
                        key.data.end(&mut self.unwritten);
                        drop(self.selector.unregister(token)?);
                    }
                }
                Source::Screen(screen) => write_some(screen, &mut self.unwritten),
                Source::Signals(signals) => {
                    signals.take();
                    for program in &mut self.programs {
                        let Some(child) = &mut program.child else { continue };
                        if let Some(status) = child.try_wait()? {
                            program.ended(&status.to_string(), &mut self.unwritten);
                        }
                    }
                }
            }
            Ok(())
        }

        /// Returns true while programs run, or their output is not at end-of-file.
        fn is_busy(&self) -> bool {
            let runs = self.programs.iter().any(|program| program.child.is_some());
            runs || self.selector.len() > 2 || !self.unwritten.is_empty()
        }

        /// Sends a signal to the programs and their child processes.
        fn signal(&self, signal: Signal) {
            for child in self.programs.iter().filter_map(|program| program.child.as_ref()) {
                let Ok(group) = i32::try_from(child.id()) else { continue };
                // It was not waited for yet, so its process id was not reused.
                let _ = killpg(Pid::from_raw(group), signal);
            }
        }
    }

    impl Program {
        fn ended(&mut self, how: &str, into: &mut Vec<u8>) {
            self.child = None;
            self.due = self.back_off.ended(Instant::now());
            append(&self.name, how.as_bytes(), into);
        }
    }
}
