//! Serves the files of a directory over HTTP/1.1, with sendfile(2) on Linux.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser, ValueExt};
use selectors::{DefaultSelector, Events, Interest, Token};
use selectors_examples::acceptor::{Acceptor, listen};
use selectors_examples::cli::{self, Outcome, Stop, say};
use selectors_examples::http::{self, LARGEST_HEAD, Response};
use selectors_examples::send_file;
use selectors_examples::server::Source;
use selectors_examples::timers::{TimerId, Timers};

const HELP: &str = "\
Serves the files of a directory over HTTP/1.1. Runs until Ctrl-C.

Usage: http-files [--listen ADDR] [--clients N] [--idle SECONDS] [DIR]

  DIR             the directory; symbolic links are followed [default: .]
  --listen ADDR   the address to listen on [default: 127.0.0.1:8080]; with
                  port 0 the system chooses a port, which is printed
  --clients N     the maximum number of connections [default: 1000]
  --idle SECONDS  how long a connection may be idle [default: 30]
  --help          print this text
";

/// The number of bytes to send to one client before others have their turn.
const TURN: usize = 256 * 1024;

struct Options {
    root: PathBuf,
    listen: String,
    clients: usize,
    idle: Duration,
}

fn main() -> ExitCode {
    cli::run("http-files", HELP, options, |options| Server::new(options)?.run())
}

fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
    let mut options = Options {
        root: ".".into(),
        listen: "127.0.0.1:8080".to_owned(),
        clients: 1000,
        idle: Duration::from_secs(30),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("listen") => options.listen = arguments.value()?.string()?,
            Arg::Long("clients") => options.clients = arguments.value()?.parse_with(cli::count)?,
            Arg::Long("idle") => options.idle = arguments.value()?.parse_with(cli::seconds)?,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(root) => options.root = root.into(),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

/// A connection. Its interest follows from what is still to be sent.
struct Client {
    stream: TcpStream,
    /// Received requests, bounded by [`LARGEST_HEAD`].
    input: Vec<u8>,
    response: Response,
    /// True after the client has shut down its sending half.
    finished: bool,
    /// True after we have shut down ours: closing before the client does could lose the end of the response.
    closing: bool,
    timer: Option<TimerId>,
}

impl AsRef<TcpStream> for Client {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        let response = Response::default();
        Self { stream, input: vec![], response, finished: false, closing: false, timer: None }
    }

    /// Does what it can without blocking. Returns the next interest, or `None` if the connection is done.
    fn serve(&mut self, root: &Path, readable: bool) -> io::Result<Option<Interest>> {
        if readable && !self.finished && self.input.len() < LARGEST_HEAD {
            let mut buffer = [0; LARGEST_HEAD];
            match self.stream.read(&mut buffer[self.input.len()..]) {
                Ok(0) => self.finished = true,
                Ok(_) if self.closing => {}
                Ok(count) => self.input.extend_from_slice(&buffer[self.input.len()..][..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let mut budget = TURN;
        loop {
            if !self.send(&mut budget)? {
                return Ok(Some(Interest::WRITE));
            }
            if self.response.close && !self.closing {
                self.stream.shutdown(Shutdown::Write)?;
                self.closing = true;
                self.input.clear();
            }
            match http::respond(root, &self.input).filter(|_| !self.closing) {
                Some((length, response)) => {
                    self.input.drain(..length);
                    self.response = response;
                }
                None if self.finished => return Ok(None),
                None => return Ok(Some(Interest::READ)),
            }
        }
    }

    /// Sends the rest of the response. Returns false if some of it could not be sent yet.
    fn send(&mut self, budget: &mut usize) -> io::Result<bool> {
        loop {
            let sent = if !self.response.head.is_empty() {
                self.stream.write(&self.response.head).inspect(|&count| {
                    self.response.head.drain(..count);
                })
            } else if let Some((file, left)) = self.response.body.as_mut().filter(|body| body.1 > 0)
            {
                if *budget == 0 {
                    return Ok(false);
                }
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(*budget);
                send_file(&self.stream, file, count).inspect(|&count| {
                    *left -= count as u64;
                    *budget -= count;
                })
            } else {
                return Ok(true);
            };
            match sent {
                // The file was truncated meanwhile.
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

struct Server {
    options: Options,
    selector: DefaultSelector<Source<Client>>,
    acceptor: Acceptor,
    /// The deadlines of idle clients.
    timers: Timers<Token>,
    stop: Stop,
}

impl Server {
    fn new(mut options: Options) -> Outcome<Self> {
        let shown = options.root.display().to_string();
        options.root = options.root.canonicalize().map_err(|error| format!("{shown}: {error}"))?;
        if !options.root.is_dir() {
            return Err(format!("{shown} is no directory").into());
        }
        let mut selector = DefaultSelector::new()?;
        let listener = listen(&options.listen)?;
        let stop = Stop::on_interrupt(selector.waker()?)?;
        say(format_args!("listening on {}", listener.local_addr()?));
        let listener = selector.register(Source::Listener(listener), Interest::READ, ())?;
        let acceptor = Acceptor::new(listener);
        Ok(Self { options, selector, acceptor, timers: Timers::new(), stop })
    }

    fn run(mut self) -> Outcome {
        let mut events = Events::new();
        while !self.stop.is_set() {
            let deadlines = self.timers.next_deadline().into_iter().chain(self.acceptor.deadline());
            self.selector.select_into_until(&mut events, deadlines.min())?;
            self.acceptor.expire(&mut self.selector)?;
            for event in &events {
                let token = event.token();
                match self.selector.get_mut(token).map(|key| key.fileobj) {
                    Some(Source::Client(client)) => {
                        let next = client.serve(&self.options.root, event.is_readable());
                        self.go_on(token, next.ok().flatten())?;
                    }
                    Some(Source::Listener(_)) => self.accept()?,
                    None => {}
                }
            }
            let now = Instant::now();
            while let Some(idle) = self.timers.pop_due(now) {
                self.go_on(idle, None)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn accept(&mut self) -> Outcome<()> {
        let client = |stream| Ok(Source::Client(Client::new(stream)));
        let clients = self.options.clients;
        for token in self.acceptor.admit(&mut self.selector, clients, client)? {
            self.go_on(token, Some(Interest::READ))?;
        }
        Ok(())
    }

    /// Sets the next interest in a client and its deadline, or closes it.
    fn go_on(&mut self, token: Token, next: Option<Interest>) -> Outcome<()> {
        let key = self.selector.get_mut(token);
        let Some(Source::Client(client)) = key.map(|key| key.fileobj) else { return Ok(()) };
        // Data that arrives during the shutdown does not extend the deadline.
        if !client.closing || next.is_none() {
            client.timer.take().and_then(|timer| self.timers.cancel(timer));
        }
        if let Some(interest) = next {
            let deadline = Instant::now() + self.options.idle;
            client.timer.get_or_insert_with(|| self.timers.insert(deadline, token));
            return Ok(self.selector.modify(token, interest)?);
        }
        self.selector.unregister(token)?;
        Ok(self.acceptor.resume(&mut self.selector)?)
    }
}
