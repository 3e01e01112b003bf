//! Forwards TCP connections: back-pressure and half-close in both directions, and no target that
//! does not answer holds up the others.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser, ValueExt};
use selectors::{DefaultSelector, Event, Events, Interest, Token};
use selectors_examples::cli::{self, Outcome, Stop, say};
use selectors_examples::connect::{connect, connected};
use selectors_examples::relay::{CHUNK, End};
use selectors_examples::server::{self, Source};
use selectors_examples::timers::{TimerId, Timers};

const HELP: &str = "\
Forwards TCP connections to another address, until Ctrl-C.

Usage: proxy [--listen ADDR] [--clients N] [--timeout SECONDS] TARGET

  TARGET             where to connect to; a name is looked up once, and its
                     addresses are tried one after the other
  --listen ADDR      where to listen [default: 127.0.0.1:4321]; with port 0 the
                     system chooses a port, and the first line says which
  --clients N        how many connections to forward at a time [default: 1000]
  --timeout SECONDS  how long each address has for an answer [default: 10]
  --help             this text
";

/// How many connections are accepted before the others have their turn.
const ROUND: usize = 64;
/// How long to wait with accepting when the system is out of descriptors.
const PAUSE: Duration = Duration::from_millis(250);

struct Options {
    target: String,
    listen: String,
    clients: usize,
    timeout: Duration,
}

fn main() -> ExitCode {
    cli::run("proxy", HELP, options, |options| Proxy::new(&options)?.run())
}

fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
    let mut target = None;
    let (mut listen, mut clients) = ("127.0.0.1:4321".to_owned(), 1000);
    let mut timeout = Duration::from_secs(10);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("listen") => listen = arguments.value()?.string()?,
            Arg::Long("clients") => clients = arguments.value()?.parse()?,
            Arg::Long("timeout") => timeout = arguments.value()?.parse_with(cli::seconds)?,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(value) if target.is_none() => target = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(Options { target: target.ok_or("no TARGET")?, listen, clients, timeout }))
}

/// A client, or the target on its behalf.
struct Connection {
    end: End,
    /// The other one. A client has none before there is an address to connect to.
    peer: Option<Token>,
    connecting: Option<Attempt>,
}

/// An attempt to connect.
struct Attempt {
    /// Which of the target's addresses comes after this one.
    next: usize,
    timer: TimerId,
}

impl AsRef<TcpStream> for Connection {
    fn as_ref(&self) -> &TcpStream {
        self.end.stream()
    }
}

/// What a timer is for.
enum Due {
    Connect(Token),
    Accept,
}

struct Proxy {
    stop: Stop,
    addresses: Vec<SocketAddr>,
    clients: usize,
    timeout: Duration,
    selector: DefaultSelector<Source<Connection>>,
    listener: Token,
    timers: Timers<Due>,
    buffer: Vec<u8>,
}

impl Proxy {
    fn new(options: &Options) -> Outcome<Self> {
        let target = &options.target;
        let addresses = target.to_socket_addrs().map_err(|error| format!("{target}: {error}"))?;
        let mut selector = DefaultSelector::new()?;
        let listener = server::listen(&options.listen)?;
        let stop = Stop::on_interrupt(selector.waker()?)?;
        say(format_args!("listening on {}", listener.local_addr()?));
        Ok(Self {
            stop,
            addresses: addresses.collect(),
            clients: options.clients,
            timeout: options.timeout,
            listener: selector.register(Source::Listener(listener), Interest::READ, ())?,
            selector,
            timers: Timers::new(),
            buffer: vec![0; CHUNK],
        })
    }

    fn run(mut self) -> Outcome {
        let mut events = Events::new();
        while !self.stop.is_set() {
            self.selector.select_into_until(&mut events, self.timers.next_deadline())?;
            for &event in &events {
                match self.selector.get(event.token()).map(|key| key.fileobj) {
                    Some(Source::Client(target)) if target.connecting.is_some() => {
                        match connected(target.end.stream()) {
                            Ok(true) => self.forward(event)?,
                            Ok(false) => {}
                            Err(_) => self.try_next(event.token())?,
                        }
                    }
                    Some(Source::Client(_)) => self.forward(event)?,
                    Some(Source::Listener(_)) => self.accept()?,
                    None => {}
                }
            }
            let now = Instant::now();
            while let Some(due) = self.timers.pop_due(now) {
                match due {
                    Due::Connect(client) => {
                        let target = self.get_mut(client).and_then(|client| client.peer);
                        target.map_or(Ok(()), |target| self.try_next(target))?;
                    }
                    Due::Accept => self.selector.modify(self.listener, Interest::READ)?,
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Accepts who is waiting, and parks the listener when there is no room for more.
    fn accept(&mut self) -> Outcome<()> {
        for _ in 0..ROUND {
            let key = self.selector.get(self.listener);
            let Some(Source::Listener(listener)) = key.map(|key| key.fileobj) else { break };
            if self.selector.len() / 2 >= self.clients {
                return Ok(self.selector.modify(self.listener, Interest::empty())?);
            }
            let accepted = server::accept(listener).and_then(|accepted| {
                let Some(stream) = accepted else { return Ok(None) };
                let client = Connection { end: End::new(stream), peer: None, connecting: None };
                // Nothing is read before there is somewhere to write it.
                Ok(Some(self.selector.register(Source::Client(client), Interest::empty(), ())?))
            });
            match accepted {
                Ok(Some(client)) => self.dial(client, 0)?,
                Ok(None) => break,
                // Out of descriptors, say: watching on would report it for ever.
                Err(_) => {
                    self.timers.insert(Instant::now() + PAUSE, Due::Accept);
                    return Ok(self.selector.modify(self.listener, Interest::empty())?);
                }
            }
        }
        Ok(())
    }

    /// Begins to connect to the first address from `next` on that allows it, or lets go.
    fn dial(&mut self, client: Token, mut next: usize) -> Outcome<()> {
        while let Some(&address) = self.addresses.get(next) {
            next += 1;
            let Ok(stream) = connect(address) else { continue };
            let timer = self.timers.insert(Instant::now() + self.timeout, Due::Connect(client));
            let connecting = Some(Attempt { next, timer });
            let target = Connection { end: End::new(stream), peer: Some(client), connecting };
            let registered = self.selector.register(Source::Client(target), Interest::WRITE, ());
            let Ok(target) = registered else {
                self.timers.cancel(timer);
                continue;
            };
            if let Some(client) = self.get_mut(client) {
                client.peer = Some(target);
            }
            return Ok(());
        }
        self.close(client)
    }

    /// Gives up an address of the target, and tries the next one.
    fn try_next(&mut self, target: Token) -> Outcome<()> {
        let (source, ()) = self.selector.unregister(target)?;
        if let Source::Client(Connection { peer: Some(client), connecting: Some(it), .. }) = source
        {
            self.timers.cancel(it.timer);
            self.dial(client, it.next)?;
        }
        Ok(())
    }

    /// Reads and writes what one end is ready for, and chooses what both wait for.
    fn forward(&mut self, event: Event) -> Outcome<()> {
        let token = event.token();
        let Some(peer) = self.get_mut(token).and_then(|here| here.peer) else { return Ok(()) };
        let Some([here, there]) = self.selector.get_disjoint_mut([token, peer]) else {
            return Ok(());
        };
        let (Source::Client(here), Source::Client(there)) = (here.fileobj, there.fileobj) else {
            return Ok(());
        };
        if let Some(attempt) = here.connecting.take() {
            self.timers.cancel(attempt.timer);
        }
        let (here, there) = (&mut here.end, &mut there.end);
        let moved = if event.is_readable() { here.read(there, &mut self.buffer) } else { Ok(()) };
        let moved = moved.and_then(|()| there.write(here)).and_then(|()| here.write(there));
        if moved.is_err() || here.is_done() && there.is_done() {
            return self.close(token);
        }
        let (wanted_here, wanted_there) = (here.interest(there), there.interest(here));
        self.selector.modify(token, wanted_here)?;
        Ok(self.selector.modify(peer, wanted_there)?)
    }

    /// Lets both ends go, which makes room.
    fn close(&mut self, token: Token) -> Outcome<()> {
        let peer = self.get_mut(token).and_then(|connection| connection.peer);
        self.selector.unregister(token)?;
        if let Some(peer) = peer.filter(|&peer| self.selector.contains(peer)) {
            self.selector.unregister(peer)?;
        }
        Ok(self.selector.modify(self.listener, Interest::READ)?)
    }

    fn get_mut(&mut self, token: Token) -> Option<&mut Connection> {
        match self.selector.get_mut(token)?.fileobj {
            Source::Client(connection) => Some(connection),
            Source::Listener(_) => None,
        }
    }
}
