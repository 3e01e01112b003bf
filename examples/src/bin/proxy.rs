//! Forwards TCP connections, with back-pressure and half-close in both directions. An address that does
//! not answer delays only its own connection.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser, ValueExt};
use selectors::{Backend, DefaultSelector, Event, Events, Interest, Selector, Token};
use selectors_examples::acceptor::{Acceptor, ROUND, listen};
use selectors_examples::cli::{self, Outcome, Stop, say};
use selectors_examples::connect::{connect, connected, is_shortage};
use selectors_examples::relay::{CHUNK, End};
use selectors_examples::server::Source;
use selectors_examples::timers::{TimerId, Timers};

const HELP: &str = "\
Forwards TCP connections to another address. Runs until Ctrl-C.

Usage: proxy [--listen ADDR] [--clients N] [--timeout SECONDS] TARGET

  TARGET             the address to connect to; a name is looked up once, and its
                     addresses are tried one after the other
  --listen ADDR      the address to listen on [default: 127.0.0.1:4321];
                     with port 0 the system chooses a port, which is printed
  --clients N        the maximum number of clients [default: 1000]
  --timeout SECONDS  how long to try each address [default: 10]
  --help             print this text
";

struct Options {
    target: String,
    listen: String,
    clients: usize,
    timeout: Duration,
}

fn main() -> ExitCode {
    cli::run("proxy", HELP, options, |options| {
        let selector = DefaultSelector::new()?;
        let stop = Stop::on_interrupt(selector.waker()?)?;
        Proxy::new(selector, stop, options)?.run()
    })
}

fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
    let mut target = None;
    let (mut listen, mut clients) = ("127.0.0.1:4321".to_owned(), 1000);
    let mut timeout = Duration::from_secs(10);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("listen") => listen = arguments.value()?.string()?,
            Arg::Long("clients") => clients = arguments.value()?.parse_with(cli::count)?,
            Arg::Long("timeout") => timeout = arguments.value()?.parse_with(cli::seconds)?,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(value) if target.is_none() => target = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(Options { target: target.ok_or("no TARGET")?, listen, clients, timeout }))
}

/// A client's connection, or the connection to the target on its behalf.
struct Connection {
    end: End,
    /// The other connection. A client has none until connecting to the target has begun.
    peer: Option<Token>,
    connecting: Option<Attempt>,
}

/// An attempt to connect to an address of the target.
struct Attempt {
    /// The index of the target's next address.
    next: usize,
    timer: TimerId,
}

impl AsRef<TcpStream> for Connection {
    fn as_ref(&self) -> &TcpStream {
        self.end.stream()
    }
}

struct Proxy<B: Backend> {
    options: Options,
    stop: Stop,
    addresses: Vec<SocketAddr>,
    selector: Selector<Source<Connection>, (), B>,
    acceptor: Acceptor,
    /// The deadlines of attempts to connect.
    timers: Timers<Token>,
    /// Clients for which there was no descriptor, and the index of the address to try next.
    waiting: VecDeque<(Token, usize)>,
    /// Whether a connection was closed, so that descriptors are available again.
    freed: bool,
    buffer: Vec<u8>,
}

impl<B: Backend> Proxy<B> {
    fn new(
        mut selector: Selector<Source<Connection>, (), B>,
        stop: Stop,
        options: Options,
    ) -> Outcome<Self> {
        let target = &options.target;
        let addresses = target.to_socket_addrs().map_err(|error| format!("{target}: {error}"))?;
        let listener = listen(&options.listen)?;
        say(format_args!("listening on {}", listener.local_addr()?));
        let listener = selector.register(Source::Listener(listener), Interest::READ, ())?;
        Ok(Self {
            addresses: addresses.collect(),
            options,
            stop,
            selector,
            acceptor: Acceptor::new(listener),
            timers: Timers::new(),
            waiting: VecDeque::new(),
            freed: false,
            buffer: vec![0; CHUNK],
        })
    }

    fn run(&mut self) -> Outcome {
        let mut events = Events::new();
        while !self.stop.is_set() {
            let deadlines = self.timers.next_deadline().into_iter().chain(self.acceptor.deadline());
            self.selector.select_into_until(&mut events, deadlines.min())?;
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
            while let Some(target) = self.timers.pop_due(now) {
                self.try_next(target)?;
            }
            if self.freed || self.acceptor.deadline().is_some_and(|deadline| deadline <= now) {
                self.resume()?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Accepts pending connections while there is room.
    fn accept(&mut self) -> Outcome<()> {
        for _ in 0..ROUND {
            let room = self.options.clients.saturating_sub(self.selector.len() / 2);
            let accepted = self.acceptor.accept(&mut self.selector, room);
            let Ok(Some((stream, _))) = accepted else { break };
            let client = Connection { end: End::new(stream), peer: None, connecting: None };
            // Parked until the target is connected.
            match self.selector.register(Source::Client(client), Interest::empty(), ()) {
                Ok(client) => self.dial(client, 0)?,
                Err(_) => self.acceptor.pause(&mut self.selector)?,
            }
        }
        Ok(())
    }

    /// Continues with clients that wait for descriptors, and then accepts again.
    fn resume(&mut self) -> Outcome<()> {
        self.freed = false;
        self.acceptor.resume(&mut self.selector)?;
        while self.acceptor.deadline().is_none() {
            let Some((client, next)) = self.waiting.pop_front() else { break };
            self.dial(client, next)?;
        }
        Ok(())
    }

    /// Starts to connect to the first address from index `next` on that does not fail immediately. Closes the
    /// client if there is none.
    fn dial(&mut self, client: Token, next: usize) -> Outcome<()> {
        for at in next..self.addresses.len() {
            let stream = match connect(self.addresses[at]) {
                Ok(stream) => stream,
                Err(error) if is_shortage(&error) => return self.wait(client, at),
                Err(_) => continue,
            };
            let target = Connection { end: End::new(stream), peer: Some(client), connecting: None };
            let registered = self.selector.register(Source::Client(target), Interest::WRITE, ());
            let Ok(target) = registered else { return self.wait(client, at) };
            let timer = self.timers.insert(Instant::now() + self.options.timeout, target);
            let attempt = Attempt { next: at + 1, timer };
            self.get_mut(target).map(|target| target.connecting.insert(attempt));
            self.get_mut(client).map(|client| client.peer.insert(target));
            return Ok(());
        }
        self.close(client)
    }

    /// Leaves a client parked until descriptors are available, and accepts no others until then.
    fn wait(&mut self, client: Token, next: usize) -> Outcome<()> {
        self.waiting.push_front((client, next));
        Ok(self.acceptor.pause(&mut self.selector)?)
    }

    /// Abandons an address of the target, and tries the next one.
    fn try_next(&mut self, target: Token) -> Outcome<()> {
        let (gone, ()) = self.selector.unregister(target)?;
        if let Source::Client(Connection { peer: Some(client), connecting: Some(it), .. }) = gone {
            self.timers.cancel(it.timer);
            self.dial(client, it.next)?;
        }
        Ok(())
    }

    /// Reads and writes as one end is ready, and sets the interest of both.
    fn forward(&mut self, event: Event) -> Outcome<()> {
        let token = event.token();
        let Some(peer) = self.get_mut(token).and_then(|here| here.peer) else { return Ok(()) };
        let both = self.selector.get_disjoint_mut([token, peer]);
        let Some([here, there]) = both else { return Ok(()) };
        let both = (here.fileobj.client_mut(), there.fileobj.client_mut());
        let (Some(here), Some(there)) = both else { return Ok(()) };
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
        let modified = self.selector.modify(token, wanted_here);
        // Watching a parked source can fail, which closes only these two connections.
        let modified = modified.and_then(|()| self.selector.modify(peer, wanted_there));
        if modified.is_err() { self.close(token) } else { Ok(()) }
    }

    /// Closes both connections, which frees descriptors.
    fn close(&mut self, token: Token) -> Outcome<()> {
        let peer = self.get_mut(token).and_then(|connection| connection.peer);
        self.selector.unregister(token)?;
        if let Some(peer) = peer.filter(|&peer| self.selector.contains(peer)) {
            self.selector.unregister(peer)?;
        }
        self.freed = true;
        Ok(())
    }

    fn get_mut(&mut self, token: Token) -> Option<&mut Connection> {
        self.selector.get_mut(token)?.fileobj.client_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};

    use selectors::Readiness;
    use selectors_testkit::fixtures::tcp_pair;
    use selectors_testkit::scripted::{Script, Scripted};

    use super::*;

    /// A forwarded connection: the tokens of the proxy's two ends (the client's is parked, the target's is
    /// watched for `interest`), and the other ends.
    fn forwarded(proxy: &mut Proxy<Scripted>, interest: Interest) -> ([Token; 2], [TcpStream; 2]) {
        let ((near, client), (near_target, target)) = (tcp_pair().unwrap(), tcp_pair().unwrap());
        let mut register = |stream, peer, interest| {
            let connection = Connection { end: End::new(stream), peer, connecting: None };
            proxy.selector.register(Source::Client(connection), interest, ()).unwrap()
        };
        let near = register(near, None, Interest::empty());
        let near_target = register(near_target, Some(near), interest);
        proxy.get_mut(near).unwrap().peer = Some(near_target);
        for far in [&client, &target] {
            far.set_nonblocking(false).unwrap();
        }
        ([near, near_target], [client, target])
    }

    /// Runs the proxy with a script that reports an end as ready.
    fn play(proxy: &mut Proxy<Scripted>, script: &Script, ready: Token, readiness: Readiness) {
        script.ready(proxy.get_mut(ready).unwrap().end.stream(), readiness);
        let end = proxy.run().unwrap_err();
        assert_eq!(script.remaining(), 0, "{end}");
    }

    /// Tests each end in turn, with errors such as out-of-memory: an unchanged interest makes no call that
    /// could be refused.
    #[test]
    fn a_refused_modify_closes_one_connection_and_the_others_go_on() {
        let (backend, script) = Scripted::new();
        let options = Options {
            target: "127.0.0.1:1".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            clients: 10,
            timeout: Duration::from_secs(10),
        };
        let selector = Selector::with_backend(backend);
        let mut proxy = Proxy::new(selector, Stop::default(), options).unwrap();
        let ([client, _], [mut goes_on, mut target]) = forwarded(&mut proxy, Interest::READ);
        proxy.selector.modify(client, Interest::READ).unwrap();

        for (interest, readiness) in
            [(Interest::WRITE, Readiness::WRITE), (Interest::READ, Readiness::READ)]
        {
            let (near, far) = forwarded(&mut proxy, interest);
            if readiness.contains(Readiness::READ) {
                (&far[1]).write_all(b"passed on").unwrap();
            }
            script.refuse(ErrorKind::OutOfMemory.into());
            play(&mut proxy, &script, near[1], readiness);
            assert!(near.iter().all(|&token| !proxy.selector.contains(token)), "{interest:?}");
            for mut end in far {
                end.read_to_end(&mut Vec::new()).unwrap();
            }
        }

        goes_on.write_all(b"beside").unwrap();
        play(&mut proxy, &script, client, Readiness::READ);
        let mut received = [0; 6];
        target.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"beside");
    }
}
