//! Records a terminal session, as script(1) does: runs a program on a pseudo-terminal, with the terminal in
//! raw mode.

use std::process::ExitCode;

use selectors_examples::cli;

const HELP: &str = "\
Runs a program on a pseudo-terminal, and records its output.

Usage: terminal [--to FILE] [PROGRAM [ARGUMENT]...]

  --to FILE  the file to write [default: typescript]
  PROGRAM    the program to run [default: $SHELL, or sh]
  --help     print this text

The exit code is that of the program, or 128 plus the number of the signal that
ended it.
";

#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
fn main() -> ExitCode {
    cli::run("terminal", HELP, session::options, |options| session::run(&options))
}

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
fn main() -> ExitCode {
    let options = |_: &mut lexopt::Parser| Ok(Some(()));
    cli::run("terminal", HELP, options, |()| Err("is not available on this system".into()))
}

#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
mod session {
    use std::env;
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::{self, ErrorKind, Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;
    use std::process::{Child, ExitCode, ExitStatus};

    use lexopt::{Arg, Parser};
    use pty_process::blocking as pty;
    use rustix::io::Errno;
    use rustix::termios::{tcgetwinsize, tcsetwinsize};
    use selectors::{DefaultSelector, Events, Interest, Token};
    use selectors_examples::cli::{Outcome, Stop};
    use selectors_examples::set_nonblocking;
    use selectors_examples::tty::{self, Raw};
    use signal_hook::consts::{SIGCHLD, SIGWINCH};
    use signal_hook::low_level::pipe;

    /// The limit of the buffers for a terminal or a program that does not read.
    const MOST: usize = 64 * 1024;

    pub(super) struct Options {
        to: PathBuf,
        program: OsString,
        arguments: Vec<OsString>,
    }

    pub(super) fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
        let program = env::var_os("SHELL").unwrap_or_else(|| "sh".into());
        let mut options = Options { to: "typescript".into(), program, arguments: Vec::new() };
        while let Some(argument) = arguments.next()? {
            match argument {
                Arg::Long("to") => options.to = arguments.value()?.into(),
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Value(program) => {
                    options.program = program;
                    options.arguments = arguments.raw_args()?.collect();
                }
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }

    pub(super) fn run(options: &Options) -> Outcome {
        let tty = tty::open()?;
        let shown = options.to.display();
        let log = File::create(&options.to).map_err(|error| format!("{shown}: {error}"))?;

        let selector = DefaultSelector::new()?;
        // Before raw mode is set, so that no signal can leave the terminal in it.
        let stop = Stop::on_interrupt(selector.waker()?)?;
        let (signals, theirs) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        for signal in [SIGCHLD, SIGWINCH] {
            pipe::register(signal, theirs.try_clone()?)?;
        }
        let (master, slave) = pty::open()?;
        let master = File::from(OwnedFd::from(master));
        set_nonblocking(&master)?;
        tcsetwinsize(&master, tcgetwinsize(&tty)?)?;
        let child = pty::Command::new(&options.program)
            .args(&options.arguments)
            .spawn(slave)
            .map_err(|error| format!("cannot run {:?}: {error}", options.program))?;
        let raw = Raw::new(tty.try_clone()?)?;
        let mut session = Session {
            selector,
            stop,
            log,
            child,
            status: None,
            to_program: Vec::new(),
            to_screen: Vec::new(),
            silent: false,
        };
        let status = session.run(tty, master, File::from(OwnedFd::from(signals)));
        drop(raw);
        let code = status?.map_or(1, |status| {
            status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
        });
        Ok(ExitCode::from(u8::try_from(code)?))
    }

    struct Session {
        selector: DefaultSelector<File>,
        stop: Stop,
        log: File,
        child: Child,
        status: Option<ExitStatus>,
        to_program: Vec<u8>,
        to_screen: Vec<u8>,
        /// True after end-of-file from the program.
        silent: bool,
    }

    impl Session {
        /// Returns the status of the program when it has ended, or `None` when it must end.
        fn run(&mut self, tty: File, master: File, signals: File) -> Outcome<Option<ExitStatus>> {
            let tty = self.selector.register(tty, Interest::empty(), ())?;
            let master = self.selector.register(master, Interest::empty(), ())?;
            let signals = self.selector.register(signals, Interest::READ, ())?;
            let mut events = Events::new();
            while !self.stop.is_set() {
                // A background process may keep the pseudo-terminal open.
                if self.status.is_some() && self.hears() {
                    self.silent = self.hear(master)? != Received::Some;
                }
                if self.status.is_some() && self.silent && self.to_screen.is_empty() {
                    return Ok(self.status);
                }
                let types = !self.to_program.is_empty() && !self.silent;
                let (read, write) = (self.to_program.len() < MOST, !self.to_screen.is_empty());
                let of = |read, write| Interest::READ.when(read) | Interest::WRITE.when(write);
                self.selector.modify(tty, of(read, write))?;
                self.selector.modify(master, of(self.hears(), types))?;
                self.selector.select_into(&mut events, None)?;
                for event in &events {
                    let token = event.token();
                    if token == master && event.is_readable() {
                        self.silent |= self.hear(master)? == Received::End;
                    }
                    let Some(key) = self.selector.get_mut(token) else { continue };
                    if token == signals {
                        while key.fileobj.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
                        self.status = self.child.try_wait()?;
                        self.resize(tty, master)?;
                    } else if token == tty {
                        if event.is_readable()
                            && receive(key.fileobj, &mut self.to_program)? == Received::End
                        {
                            return Ok(None);
                        }
                        send(key.fileobj, &mut self.to_screen)?;
                    } else if event.is_writable()
                        && send(key.fileobj, &mut self.to_program).is_err()
                    {
                        // The terminal has been closed.
                        self.silent = true;
                    }
                }
            }
            Ok(None)
        }

        /// Returns true if the program may print more, and there is room for it.
        fn hears(&self) -> bool {
            !self.silent && self.to_screen.len() < MOST
        }

        /// Reads the output of the program.
        fn hear(&mut self, master: Token) -> Outcome<Received> {
            let Some(key) = self.selector.get_mut(master) else { return Ok(Received::End) };
            let before = self.to_screen.len();
            let received = receive(key.fileobj, &mut self.to_screen)?;
            self.log.write_all(&self.to_screen[before..])?;
            Ok(received)
        }

        /// Sets the size of the program's terminal to that of ours. The system sends SIGWINCH to the program.
        fn resize(&self, tty: Token, master: Token) -> io::Result<()> {
            let (tty, master) = (self.selector.get(tty), self.selector.get(master));
            if let (Some(tty), Some(master)) = (tty, master) {
                tcsetwinsize(master.fileobj, tcgetwinsize(tty.fileobj)?)?;
            }
            Ok(())
        }
    }

    #[derive(PartialEq)]
    enum Received {
        Some,
        Nothing,
        End,
    }

    fn receive(file: &mut File, into: &mut Vec<u8>) -> io::Result<Received> {
        let mut buffer = [0; 4096];
        match file.read(&mut buffer) {
            Ok(0) => Ok(Received::End),
            Ok(count) => {
                into.extend_from_slice(&buffer[..count]);
                Ok(Received::Some)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received::Nothing),
            // Linux reports a closed terminal side like this.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                Ok(Received::End)
            }
            Err(error) => Err(error),
        }
    }

    fn send(mut file: &File, from: &mut Vec<u8>) -> io::Result<()> {
        while !from.is_empty() {
            match file.write(from) {
                Ok(count) => drop(from.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
