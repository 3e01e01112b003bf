//! An echo server over TLS: the interest follows from rustls's `wants_read` and `wants_write`.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser, ValueExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use selectors::{DefaultSelector, Events, Interest, Token};
use selectors_examples::acceptor::{Acceptor, listen};
use selectors_examples::cli::{self, Outcome, Stop, say};
use selectors_examples::server::Source;
use selectors_examples::timers::{TimerId, Timers};

const HELP: &str = "\
An echo server over TLS. Runs until Ctrl-C.

Usage: tls-echo --self-signed FILE [--listen ADDR] [--idle SECONDS]
       tls-echo --certificate FILE --key FILE [--listen ADDR] [--idle SECONDS]

  --self-signed FILE  create a certificate for localhost, and write it to FILE
                      for clients to trust
  --certificate FILE  the certificate and its chain, as PEM
  --key FILE          its private key, as PEM
  --listen ADDR       the address to listen on [default: 127.0.0.1:8443];
                      with port 0 the system chooses a port, which is printed
  --idle SECONDS      how long a connection may be idle [default: 30]
  --help              print this text
";

/// The number of records to read from one client before others have their turn.
const TURN: usize = 8;
/// The maximum number of concurrent connections.
const MOST: usize = 1000;

struct Options {
    listen: String,
    idle: Duration,
    self_signed: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

fn main() -> ExitCode {
    cli::run("tls-echo", HELP, options, |options| Server::new(&options)?.run())
}

fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
    let (listen, idle) = ("127.0.0.1:8443".to_owned(), Duration::from_secs(30));
    let mut options = Options { listen, idle, self_signed: None, certificate: None, key: None };
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("listen") => options.listen = arguments.value()?.string()?,
            Arg::Long("idle") => options.idle = arguments.value()?.parse_with(cli::seconds)?,
            Arg::Long("self-signed") => options.self_signed = Some(arguments.value()?.into()),
            Arg::Long("certificate") => options.certificate = Some(arguments.value()?.into()),
            Arg::Long("key") => options.key = Some(arguments.value()?.into()),
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

fn identity(options: &Options) -> Outcome<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    match (&options.self_signed, &options.certificate, &options.key) {
        (Some(file), None, None) => {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
            let problem = |error| format!("{}: {error}", file.display());
            fs::write(file, made.cert.pem()).map_err(problem)?;
            let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
            Ok((vec![made.cert.into()], key.into()))
        }
        (None, Some(certificate), Some(key)) => {
            let problem = |error| format!("{}: {error}", certificate.display());
            let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
            let chain = chain.map_err(problem)?;
            let problem = |error| format!("{}: {error}", key.display());
            Ok((chain, PrivateKeyDer::from_pem_file(key).map_err(problem)?))
        }
        _ => Err("either --self-signed or --certificate and --key (try --help)".into()),
    }
}

struct Client {
    stream: TcpStream,
    tls: ServerConnection,
    /// True after the client has finished sending.
    finished: bool,
    timer: Option<TimerId>,
}

impl AsRef<TcpStream> for Client {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Client {
    /// Does what it can without blocking. Returns the next interest, or `None` if the connection is done.
    fn serve(&mut self, readable: bool, buffer: &mut [u8]) -> io::Result<Option<Interest>> {
        let mut turns = if readable { TURN } else { 0 };
        // Reads nothing before everything received was sent back, so that a client that does not read
        // costs no memory.
        while self.send()? {
            match self.tls.reader().read(buffer) {
                Ok(0) if self.finished => return Ok(None),
                Ok(0) => {
                    self.tls.send_close_notify();
                    self.finished = true;
                }
                Ok(count) => self.tls.writer().write_all(&buffer[..count])?,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) if turns == 0 => break,
                Err(_) => {
                    turns -= 1;
                    match self.tls.read_tls(&mut self.stream) {
                        Ok(0) => return Ok(None),
                        Ok(_) => self.process()?,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => turns = 0,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(Some(if self.tls.wants_write() { Interest::WRITE } else { Interest::READ }))
    }

    /// Decrypts what was read, or sends an alert.
    fn process(&mut self) -> io::Result<()> {
        self.tls.process_new_packets().map(drop).map_err(|error| {
            let _ = self.tls.write_tls(&mut self.stream);
            io::Error::new(ErrorKind::InvalidData, error)
        })
    }

    /// Sends what rustls has to send. Returns false if some of it could not be sent yet.
    fn send(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

struct Server {
    selector: DefaultSelector<Source<Client>>,
    acceptor: Acceptor,
    /// The deadlines of idle clients.
    timers: Timers<Token>,
    stop: Stop,
    idle: Duration,
    tls: Arc<ServerConfig>,
}

impl Server {
    fn new(options: &Options) -> Outcome<Self> {
        let (chain, key) = identity(options)?;
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let mut selector = DefaultSelector::new()?;
        let listener = listen(&options.listen)?;
        let stop = Stop::on_interrupt(selector.waker()?)?;
        say(format_args!("listening on {}", listener.local_addr()?));
        let listener = selector.register(Source::Listener(listener), Interest::READ, ())?;
        let acceptor = Acceptor::new(listener);
        let (idle, tls) = (options.idle, Arc::new(tls));
        Ok(Self { selector, acceptor, timers: Timers::new(), stop, idle, tls })
    }

    fn run(mut self) -> Outcome {
        let mut events = Events::new();
        let mut buffer = vec![0; 16 * 1024];
        while !self.stop.is_set() {
            let deadlines = self.timers.next_deadline().into_iter().chain(self.acceptor.deadline());
            self.selector.select_into_until(&mut events, deadlines.min())?;
            self.acceptor.expire(&mut self.selector)?;
            for event in &events {
                let token = event.token();
                match self.selector.get_mut(token).map(|key| key.fileobj) {
                    Some(Source::Client(client)) => {
                        let next = client.serve(event.is_readable(), &mut buffer);
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
        let client = |stream| {
            let tls = ServerConnection::new(Arc::clone(&self.tls)).map_err(io::Error::other)?;
            Ok(Source::Client(Client { stream, tls, finished: false, timer: None }))
        };
        for token in self.acceptor.admit(&mut self.selector, MOST, client)? {
            self.go_on(token, Some(Interest::READ))?;
        }
        Ok(())
    }

    /// Sets the next interest in a client and its deadline, or closes it.
    fn go_on(&mut self, token: Token, next: Option<Interest>) -> Outcome<()> {
        let key = self.selector.get_mut(token);
        let Some(Source::Client(client)) = key.map(|key| key.fileobj) else { return Ok(()) };
        client.timer.take().and_then(|timer| self.timers.cancel(timer));
        if let Some(interest) = next {
            let deadline = Instant::now() + self.idle;
            client.timer = Some(self.timers.insert(deadline, token));
            return Ok(self.selector.modify(token, interest)?);
        }
        self.selector.unregister(token)?;
        Ok(self.acceptor.resume(&mut self.selector)?)
    }
}
