//! A DNS client over UDP (RFC 1035): sends queries for many names over one socket, with a deadline for
//! each, and repeats those without a response.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap, RandomState};
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser, ValueExt};
use selectors::{DefaultSelector, Events, Interest};
use selectors_examples::cli::{self, Outcome, Stop, say};
use selectors_examples::dns;
use selectors_examples::timers::{TimerId, Timers};
use simple_dns::{Packet, TYPE};

const HELP: &str = "\
Queries a DNS server for the addresses of many names at once.

Usage: resolve [--server ADDR] [--type A|AAAA] [--timeout SECONDS] [--tries N] NAME...

  --server ADDR      the address and port of the server [default: 127.0.0.1:53]
  --type TYPE        A or AAAA [default: A]
  --timeout SECONDS  the timeout of the first try; that of each further one is
                     twice as long, up to 32 times the first [default: 1]
  --tries N          the number of queries for each name [default: 4]
  --help             print this text

The exit code is 1 if no address was found for a name.
";

/// The maximum number of concurrent queries.
const IN_FLIGHT: usize = 1000;

/// The number of datagrams to receive before checking the timers.
const BATCH: usize = 64;

struct Options {
    server: SocketAddr,
    question: TYPE,
    timeout: Duration,
    tries: usize,
    names: VecDeque<String>,
}

fn main() -> ExitCode {
    cli::run("resolve", HELP, options, |options| Resolver::new(options).run())
}

fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
    let mut options = Options {
        server: SocketAddr::from(([127, 0, 0, 1], 53)),
        question: TYPE::A,
        timeout: Duration::from_secs(1),
        tries: 4,
        names: VecDeque::new(),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("server") => options.server = arguments.value()?.parse()?,
            Arg::Long("type") => match &*arguments.value()?.string()? {
                "A" => options.question = TYPE::A,
                "AAAA" => options.question = TYPE::AAAA,
                other => return Err(format!("unknown type {other:?}").into()),
            },
            Arg::Long("timeout") => {
                options.timeout = arguments.value()?.parse_with(cli::seconds)?;
            }
            Arg::Long("tries") => options.tries = arguments.value()?.parse_with(cli::count)?,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(name) => options.names.push_back(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.names.is_empty() {
        return Err("nothing to ask".into());
    }
    Ok(Some(options))
}

/// A query without a response.
struct Query {
    name: String,
    packet: Vec<u8>,
    tries: usize,
    timer: Option<TimerId>,
}

struct Resolver {
    options: Options,
    queries: HashMap<u16, Query>,
    /// Queries to send when the socket is writable.
    unsent: VecDeque<u16>,
    timers: Timers<u16>,
    random: (RandomState, u64),
    /// The error of the last datagram that was not sent or not delivered.
    trouble: Option<io::Error>,
    failed: usize,
}

impl Resolver {
    fn new(options: Options) -> Self {
        Self {
            options,
            queries: HashMap::new(),
            unsent: VecDeque::new(),
            timers: Timers::new(),
            random: (RandomState::new(), 0),
            trouble: None,
            failed: 0,
        }
    }

    fn run(mut self) -> Outcome {
        let local = match self.options.server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(local)?;
        // From now on the system drops datagrams from other addresses.
        socket.connect(self.options.server)?;
        socket.set_nonblocking(true)?;
        let mut selector = DefaultSelector::new()?;
        let token = selector.register(socket, Interest::READ, ())?;
        let stop = Stop::on_interrupt(selector.waker()?)?;
        let mut events = Events::new();
        while !stop.is_set() {
            self.ask()?;
            let Some(key) = selector.get(token) else { break };
            self.send(key.fileobj);
            if self.queries.is_empty() {
                return Ok(ExitCode::from(u8::from(self.failed > 0)));
            }
            let interest = Interest::READ | Interest::WRITE.when(!self.unsent.is_empty());
            selector.modify(token, interest)?;
            selector.select_into_until(&mut events, self.timers.next_deadline())?;
            for event in &events {
                let Some(key) = selector.get(event.token()) else { continue };
                self.receive(key.fileobj);
            }
            self.expire();
        }
        Ok(ExitCode::FAILURE)
    }

    /// Starts queries while there is room.
    fn ask(&mut self) -> Outcome<()> {
        while self.queries.len() < IN_FLIGHT {
            let Some(name) = self.options.names.pop_front() else { break };
            // Random, so that an attacker who does not see the query cannot guess it.
            let id = loop {
                self.random.1 += 1;
                let [low, high, ..] = self.random.0.hash_one(self.random.1).to_ne_bytes();
                let id = u16::from_ne_bytes([low, high]);
                if !self.queries.contains_key(&id) {
                    break id;
                }
            };
            let packet = dns::question(id, &name, self.options.question)
                .map_err(|_| format!("{name:?} cannot be a name"))?;
            self.queries.insert(id, Query { name, packet, tries: 0, timer: None });
            self.unsent.push_back(id);
        }
        Ok(())
    }

    /// Sends until the socket would block. The deadline of a query starts when it is sent.
    fn send(&mut self, socket: &UdpSocket) {
        while let Some(id) = self.unsent.pop_front() {
            // Otherwise a response to an earlier try has arrived meanwhile.
            let Some(query) = self.queries.get_mut(&id) else { continue };
            match socket.send(&query.packet) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.unsent.push_front(id);
                }
                Err(error) => self.trouble = Some(error),
                Ok(_) => {}
            }
            let patience = self.options.timeout * (1 << query.tries.min(5));
            query.tries += 1;
            query.timer = Some(self.timers.insert(Instant::now() + patience, id));
        }
    }

    fn receive(&mut self, socket: &UdpSocket) {
        let mut buffer = [0; 1500];
        for _ in 0..BATCH {
            match socket.recv(&mut buffer) {
                Ok(count) => drop(self.answer(&buffer[..count])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => self.trouble = Some(error),
            }
        }
    }

    /// Handles a response. Returns `None` if it is not a response to one of our queries.
    fn answer(&mut self, datagram: &[u8]) -> Option<()> {
        let packet = Packet::parse(datagram).ok()?;
        let Entry::Occupied(entry) = self.queries.entry(packet.id()) else { return None };
        if !dns::is_response(&packet, &entry.get().name, self.options.question) {
            return None;
        }
        let query = entry.remove();
        query.timer.and_then(|timer| self.timers.cancel(timer));
        match dns::addresses(&packet) {
            Ok(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
                say(format_args!("{} {}", query.name, addresses.join(" ")));
            }
            Err(problem) => self.fail(&query, problem),
        }
        Some(())
    }

    /// Repeats queries whose deadline has passed, or abandons them.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(id) = self.timers.pop_due(now) {
            let Entry::Occupied(entry) = self.queries.entry(id) else { continue };
            if entry.get().tries < self.options.tries {
                self.unsent.push_back(id);
                continue;
            }
            let query = entry.remove();
            let trouble = self.trouble.as_ref().map(|error| format!(" ({error})"));
            self.fail(&query, &format!("no answer{}", trouble.unwrap_or_default()));
        }
    }

    fn fail(&mut self, query: &Query, problem: &str) {
        self.failed += 1;
        say(format_args!("{}: {problem}", query.name));
    }
}
