//! A pre-forking echo server: the workers inherit the listener and its selector from the parent.

use std::process::ExitCode;

use selectors_examples::cli;
#[cfg(unix)]
use selectors_examples::cli::Serving;

const HELP: &str = "\
An echo server with several processes. Runs until Ctrl-C.

Usage: prefork [--listen ADDR] [--workers N]

  --listen ADDR  the address to listen on [default: 127.0.0.1:1234]; with
                 port 0 the system chooses a port, which is printed
  --workers N    the number of processes, 1 to 256 [default: 4]; one that
                 ends is replaced
  --help         print this text

Output is dropped while nobody reads it.
";

#[cfg(unix)]
fn main() -> ExitCode {
    cli::run("prefork", HELP, Serving::parse, |options| prefork::run(&options))
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    let options = |_: &mut lexopt::Parser| Ok(Some(()));
    cli::run("prefork", HELP, options, |()| Err("is not available on this system".into()))
}

#[cfg(unix)]
mod prefork {
    use std::collections::BTreeSet;
    use std::fmt;
    use std::io;
    use std::net::TcpListener;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;
    use std::process::ExitCode;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::{ForkResult, Pid, fork};
    use selectors::{DefaultSelector, Events, Interest, Mode, PollSelector, Token};
    use selectors_examples::acceptor::{Acceptor, listen};
    use selectors_examples::cli::{Outcome, Serving, say};
    use selectors_examples::echo::Client;
    use selectors_examples::signals::{Signals, stop_flag};
    use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};

    /// The default number of worker processes.
    const WORKERS: usize = 4;
    /// The pause before a worker is replaced.
    const PAUSE: Duration = Duration::from_millis(250);
    /// The time that workers have to end after SIGTERM.
    const GRACE: Duration = Duration::from_secs(5);

    enum Source {
        Listener(TcpListener),
        Client(Client),
        Signals(Signals),
        Parent(UnixStream),
    }

    impl AsFd for Source {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self {
                Self::Listener(listener) => listener.as_fd(),
                Self::Client(client) => client.as_ref().as_fd(),
                Self::Signals(signals) => signals.as_fd(),
                Self::Parent(parent) => parent.as_fd(),
            }
        }
    }

    /// Created by the parent. Each worker has a copy.
    struct Server {
        selector: DefaultSelector<Source>,
        listener: Token,
        signals: Token,
        stop: Arc<AtomicBool>,
        /// Only the parent keeps it open, so the workers see end-of-file when the parent ends.
        alive: Option<UnixStream>,
        parent: Token,
        workers: BTreeSet<Pid>,
    }

    pub(super) fn run(options: &Serving) -> Outcome {
        let stop = stop_flag()?;
        let mut selector = DefaultSelector::new()?;
        let listener = listen(&options.listen)?;
        let address = listener.local_addr()?;
        // The kernel then wakes as few as possible of the workers that wait for a connection.
        let exclusive = selector.capabilities().exclusive;
        let mode = if exclusive { Mode::Exclusive } else { Mode::Level };
        // Parked: the parent does not accept.
        let source = Source::Listener(listener);
        let listener = selector.register_with(source, Interest::empty(), (), mode)?;
        let signals = Source::Signals(Signals::new(&[SIGCHLD, SIGINT, SIGTERM])?);
        let signals = selector.register(signals, Interest::READ, ())?;
        let (alive, parent) = UnixStream::pair()?;
        let parent = selector.register(Source::Parent(parent), Interest::empty(), ())?;
        let (alive, workers) = (Some(alive), BTreeSet::new());
        let mut server = Server { selector, listener, signals, stop, alive, parent, workers };
        say(format_args!("listening on {address}"));
        match server.keep(options.workers.unwrap_or(WORKERS))? {
            Role::Parent => server.end()?,
            Role::Worker => server.work()?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Prints a line, unless that would block. A printing thread, as in `Log`, does not survive fork(2) in
    /// the child.
    fn report(line: fmt::Arguments<'_>) {
        let can_print = || -> Outcome<bool> {
            let mut output = PollSelector::new()?;
            output.register(io::stdout(), Interest::WRITE, ())?;
            Ok(!output.select(Some(Duration::ZERO))?.is_empty())
        };
        if can_print().unwrap_or(false) {
            say(line);
        }
    }

    enum Role {
        Parent,
        Worker,
    }

    impl Server {
        /// Keeps this many workers running. Returns in the parent at the end, and in each worker at its start.
        fn keep(&mut self, count: usize) -> Outcome<Role> {
            let mut next = Instant::now();
            while !self.stop.load(Ordering::Acquire) {
                while self.workers.len() < count && next <= Instant::now() {
                    // SAFETY: this process has one thread.
                    match unsafe { fork() } {
                        Ok(ForkResult::Child) => return Ok(Role::Worker),
                        Ok(ForkResult::Parent { child }) => {
                            self.workers.insert(child);
                            report(format_args!("worker {child} started"));
                        }
                        Err(error) => {
                            report(format_args!("cannot fork: {error}"));
                            next = Instant::now() + PAUSE;
                        }
                    }
                }
                if self.wait((self.workers.len() < count).then_some(next))? {
                    next = Instant::now() + PAUSE;
                }
            }
            Ok(Role::Parent)
        }

        /// Waits for a signal. Returns true if a worker has ended.
        fn wait(&mut self, deadline: Option<Instant>) -> Outcome<bool> {
            self.selector.select_until(deadline)?;
            if let Some(Source::Signals(signals)) =
                self.selector.get_mut(self.signals).map(|key| key.fileobj)
            {
                signals.take();
            }
            let before = self.workers.len();
            // Fails if there are no workers.
            while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                let Some(worker) = status.pid() else { break };
                self.workers.remove(&worker);
                report(format_args!("worker {worker} ended: {status:?}"));
            }
            Ok(self.workers.len() < before)
        }

        /// Ends the workers, with SIGKILL if they take too long.
        fn end(&mut self) -> Outcome<()> {
            self.signal(Signal::SIGTERM);
            let mut deadline = Some(Instant::now() + GRACE);
            while !self.workers.is_empty() {
                self.wait(deadline)?;
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    deadline = None;
                    self.signal(Signal::SIGKILL);
                }
            }
            Ok(())
        }

        fn signal(&self, signal: Signal) {
            for &worker in &self.workers {
                // It was not waited for yet, so its process id was not reused.
                let _ = kill(worker, signal);
            }
        }

        /// Serves clients, in a worker.
        fn work(&mut self) -> Outcome<()> {
            self.selector.after_fork()?;
            // Otherwise this process's signals would wake the parent's selector.
            drop(self.selector.unregister(self.signals)?);
            let signals = Source::Signals(Signals::new(&[SIGINT, SIGTERM])?);
            self.signals = self.selector.register(signals, Interest::READ, ())?;
            self.alive = None;
            self.selector.modify(self.parent, Interest::READ)?;
            self.selector.modify(self.listener, Interest::READ)?;
            let mut acceptor = Acceptor::new(self.listener);
            let mut events = Events::new();
            let mut buffer = vec![0; 16 * 1024];
            while !self.stop.load(Ordering::Acquire) {
                self.selector.select_into_until(&mut events, acceptor.deadline())?;
                acceptor.expire(&mut self.selector)?;
                for event in &events {
                    let token = event.token();
                    match self.selector.get_mut(token).map(|key| key.fileobj) {
                        // One at a time, so that the other workers accept as well.
                        Some(Source::Listener(_)) => {
                            let accepted = acceptor.accept(&mut self.selector, usize::MAX);
                            let Ok(Some((stream, peer))) = accepted else { continue };
                            let client = Source::Client(Client::new(stream, peer));
                            if self.selector.register(client, Interest::READ, ()).is_err() {
                                acceptor.pause(&mut self.selector)?;
                            }
                        }
                        Some(Source::Client(client)) => {
                            let next = client.serve(event.is_readable(), &mut buffer);
                            if let Ok(Some(interest)) = next {
                                self.selector.modify(token, interest)?;
                            } else {
                                drop(self.selector.unregister(token)?);
                                acceptor.resume(&mut self.selector)?;
                            }
                        }
                        Some(Source::Parent(_)) => return Ok(()),
                        Some(Source::Signals(_)) | None => {}
                    }
                }
            }
            Ok(())
        }
    }
}
