//! A chat room over TCP, for telnet or nc. Drops clients that do not read.

use std::collections::VecDeque;
use std::io::Read;
use std::net::TcpStream;
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};
use selectors::{DefaultSelector, Events, Interest, Token};
use selectors_examples::acceptor::{Acceptor, listen};
use selectors_examples::cli::{self, Outcome, Stop, say};
use selectors_examples::relay::{ready, write_some};
use selectors_examples::server::Source;

const HELP: &str = "\
A chat room: the first line of a client is its name, the others are sent to all
other clients. Try it with nc 127.0.0.1 4000. Runs until Ctrl-C.

Usage: chat [--listen ADDR] [--clients N]

  --listen ADDR  the address to listen on [default: 127.0.0.1:4000]; with
                 port 0 the system chooses a port, which is printed
  --clients N    the maximum number of clients [default: 500]
  --help         print this text
";

/// The longest line, and the number of bytes read from one client before others have their turn.
const LINE: usize = 512;
/// The longest name, in bytes.
const NAME: usize = 32;
/// The limit of the buffer for a client that does not read.
const LIMIT: usize = 64 * 1024;

struct Options {
    listen: String,
    clients: usize,
}

fn main() -> ExitCode {
    cli::run("chat", HELP, options, |options| Room::new(options)?.run())
}

fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
    let mut options = Options { listen: "127.0.0.1:4000".to_owned(), clients: 500 };
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("listen") => options.listen = arguments.value()?.string()?,
            Arg::Long("clients") => options.clients = arguments.value()?.parse_with(cli::count)?,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

struct Client {
    stream: TcpStream,
    name: Option<String>,
    /// The received part of an incomplete line.
    input: Vec<u8>,
    /// What is still to be written, bounded by [`LIMIT`].
    output: VecDeque<u8>,
    /// The reason to drop the client, as the others read it.
    gone: Option<&'static str>,
}

impl AsRef<TcpStream> for Client {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, name: None, input: vec![], output: VecDeque::new(), gone: None }
    }

    fn read(&mut self) {
        let mut buffer = [0; LINE];
        match ready(self.stream.read(&mut buffer)) {
            Ok(Some(0)) | Err(_) => self.gone = Some("has left"),
            Ok(Some(count)) => self.input.extend_from_slice(&buffer[..count]),
            Ok(None) => {}
        }
    }

    /// The next complete line, without control characters.
    fn next_line(&mut self) -> Option<String> {
        let Some(end) = self.input.iter().position(|&byte| byte == b'\n') else {
            if self.input.len() >= LINE {
                self.gone = Some("has sent too long a line");
            }
            return None;
        };
        let line: Vec<u8> = self.input.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim().replace(char::is_control, ""))
    }

    /// Appends to the buffer. Returns true if the client then needs attention: the buffer was empty, or has
    /// no room.
    fn queue(&mut self, text: &str) -> bool {
        if self.output.len() + text.len() > LIMIT {
            self.gone = Some("was too slow");
            return true;
        }
        self.output.extend(text.as_bytes());
        self.output.len() == text.len()
    }
}

struct Room {
    options: Options,
    stop: Stop,
    selector: DefaultSelector<Source<Client>>,
    acceptor: Acceptor,
    /// Clients whose buffer was empty and no longer is, or that must be dropped.
    changed: Vec<Token>,
}

impl Room {
    fn new(options: Options) -> Outcome<Self> {
        let mut selector = DefaultSelector::new()?;
        let listener = listen(&options.listen)?;
        let stop = Stop::on_interrupt(selector.waker()?)?;
        say(format_args!("listening on {}", listener.local_addr()?));
        let listener = selector.register(Source::Listener(listener), Interest::READ, ())?;
        let acceptor = Acceptor::new(listener);
        Ok(Self { options, stop, selector, acceptor, changed: Vec::new() })
    }

    fn run(mut self) -> Outcome {
        let mut events = Events::new();
        while !self.stop.is_set() {
            self.selector.select_into_until(&mut events, self.acceptor.deadline())?;
            self.acceptor.expire(&mut self.selector)?;
            for event in &events {
                match self.selector.get(event.token()).map(|key| key.fileobj) {
                    Some(Source::Client(_)) => self.serve(event.token(), event.is_readable()),
                    Some(Source::Listener(_)) => self.accept()?,
                    None => {}
                }
                // Immediately, not after all events, so that only clients that do not read fall behind.
                self.settle()?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn accept(&mut self) -> Outcome<()> {
        let client = |stream| Ok(Source::Client(Client::new(stream)));
        for client in self.acceptor.admit(&mut self.selector, self.options.clients, client)? {
            self.tell(client, "Your name?\n");
        }
        Ok(())
    }

    fn serve(&mut self, token: Token, readable: bool) {
        if readable {
            self.client(token).map(Client::read);
        }
        while let Some(line) = self.client(token).and_then(Client::next_line) {
            match self.client(token).and_then(|client| client.name.clone()) {
                Some(_) if line.is_empty() => {}
                Some(name) => self.broadcast(token, &format!("{name}: {line}\n")),
                None => self.introduce(token, line),
            }
        }
        self.changed.push(token);
    }

    fn introduce(&mut self, token: Token, name: String) {
        let taken = self.selector.iter().any(|(_, key)| {
            matches!(key.fileobj, Source::Client(other) if other.name.as_ref() == Some(&name))
        });
        if name.is_empty() || name.len() > NAME || taken {
            return self.tell(token, "Another name, please?\n");
        }
        self.broadcast(token, &format!("* {name} has come\n"));
        self.tell(token, &format!("* Welcome, {name}\n"));
        self.client(token).map(|client| client.name.insert(name));
    }

    fn tell(&mut self, token: Token, text: &str) {
        if self.client(token).is_some_and(|client| client.queue(text)) {
            self.changed.push(token);
        }
    }

    /// Sends a line to every client with a name, except one.
    fn broadcast(&mut self, except: Token, text: &str) {
        for (token, key) in &mut self.selector {
            let Source::Client(client) = key.fileobj else { continue };
            if token != except && client.name.is_some() && client.queue(text) {
                self.changed.push(token);
            }
        }
    }

    /// Writes as much as possible, and drops the client if it must leave.
    fn settle(&mut self) -> Outcome<()> {
        while let Some(token) = self.changed.pop() {
            let Some(client) = self.client(token) else { continue };
            if client.gone.is_none() && write_some(&mut client.stream, &mut client.output).is_err()
            {
                client.gone = Some("has left");
            }
            if let Some(why) = client.gone {
                let name = client.name.take();
                self.selector.unregister(token)?;
                self.acceptor.resume(&mut self.selector)?;
                if let Some(name) = name {
                    self.broadcast(token, &format!("* {name} {why}\n"));
                }
                continue;
            }
            let interest = Interest::READ | Interest::WRITE.when(!client.output.is_empty());
            self.selector.modify(token, interest)?;
        }
        Ok(())
    }

    fn client(&mut self, token: Token) -> Option<&mut Client> {
        self.selector.get_mut(token)?.fileobj.client_mut()
    }
}
