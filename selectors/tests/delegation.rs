//! A wrapped backend (boxed, chosen at run time, deferred) returns the same as alone.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use selectors::backend::{
    AnyBackend, AnyChanger, Backend, BorrowedSource, Capabilities, Change, Changer, Deferred,
    RawSource, Registered, Trigger,
};
use selectors::{AnySelector, BackendKind, Event, Events, Interest, Mode, Readiness, Token, Watch};

const WATCH: Watch = Watch::new(Interest::READ, Mode::Level);

fn token() -> Token {
    Token::from_bits(5)
}

/// A backend with unusual results.
struct Odd {
    own: UdpSocket,
    now: Instant,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Odd {
    fn new() -> Self {
        let own = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let now = Instant::now() + Duration::from_secs(1_000_000);
        Self { own, now, calls: Arc::default() }
    }

    fn called(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }
}

struct Others;

impl Changer for Others {
    fn register(&mut self, _: BorrowedSource<'_>, _: Token, _: Watch) -> io::Result<bool> {
        Err(ErrorKind::AddrInUse.into())
    }

    fn modify(&mut self, _: RawSource, _: Token, _: Watch, _: Watch) -> io::Result<()> {
        Ok(())
    }

    fn unregister(&mut self, _: RawSource, _: Token, _: Watch) -> io::Result<()> {
        Ok(())
    }
}

impl Backend for Odd {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.edge = true;
        capabilities.nesting = true;
        capabilities
    }

    fn register(&mut self, _: BorrowedSource<'_>, _: Token, _: Watch) -> io::Result<()> {
        Err(ErrorKind::AddrInUse.into())
    }

    fn modify(&mut self, _: RawSource, _: Token, _: Watch, _: Watch) -> io::Result<()> {
        Err(ErrorKind::AddrNotAvailable.into())
    }

    fn unregister(&mut self, _: RawSource, _: Token, _: Watch) -> io::Result<()> {
        Err(ErrorKind::AlreadyExists.into())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.called("wait");
        events.push(Event::new(token(), Readiness::PRIORITY));
        if timeout.is_none() { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        _: &mut Events,
        _: Option<Duration>,
    ) -> io::Result<()> {
        for change in changes {
            let (fd, token) = (change.fd(), change.token());
            self.called(format!("{fd} {token} {:?} {:?}", change.old_watch(), change.new_watch()));
        }
        Err(ErrorKind::ConnectionAborted.into())
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        Some(borrow(&self.own))
    }

    fn owns(&self, fd: RawSource) -> bool {
        fd == 77
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        Ok(Some(Box::new(move || Err(io::Error::other(token.to_string())))))
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        Ok(Some(AnyChanger::new(Others)))
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        events.push(Event::new(token(), Readiness::READ));
        let tokens: Vec<_> = sources.map(|source| source.token.to_string()).collect();
        Err(io::Error::other(tokens.concat()))
    }

    fn after_fork(&mut self) -> io::Result<()> {
        Err(ErrorKind::ConnectionRefused.into())
    }
}

#[cfg(unix)]
fn borrow(source: &UdpSocket) -> BorrowedSource<'_> {
    std::os::fd::AsFd::as_fd(source)
}

#[cfg(unix)]
fn number(source: &UdpSocket) -> RawSource {
    std::os::fd::AsRawFd::as_raw_fd(source)
}

#[cfg(windows)]
fn number(source: &UdpSocket) -> RawSource {
    std::os::windows::io::AsRawSocket::as_raw_socket(source)
}

#[cfg(windows)]
fn borrow(source: &UdpSocket) -> BorrowedSource<'_> {
    std::os::windows::io::AsSocket::as_socket(source)
}

/// Its results of changes.
fn changes(backend: &mut impl Backend) -> Vec<ErrorKind> {
    let source = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let answers = [
        backend.register(borrow(&source), token(), WATCH),
        backend.modify(77, token(), WATCH, WATCH),
        backend.unregister(77, token(), WATCH),
    ];
    answers.into_iter().map(|answer| answer.unwrap_err().kind()).collect()
}

/// Its results of the other methods.
fn answers(backend: &mut impl Backend) -> Vec<String> {
    let mut events = Events::new();
    let waits = [
        backend.wait(&mut events, Some(Duration::ZERO)).map_err(|error| error.kind()),
        backend.wait(&mut events, None).map_err(|error| error.kind()),
    ];
    let sources = [(1, 11), (2, 12)];
    let sources =
        sources.map(|(number, bits)| Registered::new(number, Token::from_bits(bits), WATCH));
    let rebuilt = backend.rebuild(&mut sources.into_iter(), &mut events);
    let trigger = backend.waker(token()).unwrap().expect("it has one");
    vec![
        format!("{:?}", backend.descriptor()),
        format!("{:?}", [backend.owns(77), backend.owns(78)]),
        format!("{:?}", backend.now()),
        format!("{waits:?}"),
        rebuilt.unwrap_err().to_string(),
        format!("{events:?}"),
        trigger().unwrap_err().to_string(),
        backend.after_fork().unwrap_err().to_string(),
    ]
}

fn changer(backend: &impl Backend) -> Option<ErrorKind> {
    let source = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut changer = backend.changer().unwrap()?;
    changer.register(borrow(&source), token(), WATCH).err().map(|error| error.kind())
}

/// Whether the changes that are deferred above it reach it in one call.
fn takes_changes_with_the_wait(backend: impl Backend, calls: &Mutex<Vec<String>>) {
    let new = Watch::new(Interest::WRITE, Mode::Edge);
    let mut deferred = Deferred::new(backend);
    let source = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    calls.lock().unwrap().clear();
    deferred.register(borrow(&source), token(), WATCH).expect("it is deferred");
    deferred.modify(77, Token::from_bits(6), WATCH, new).expect("it is deferred");
    let answer = deferred.wait(&mut Events::new(), Some(Duration::ZERO));
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    let (number, old) = (number(&source), Some(WATCH));
    let first = format!("{number} 0v5 None {WATCH:?}");
    assert_eq!(*calls.lock().unwrap(), [first, format!("77 0v6 {old:?} {new:?}")]);
}

/// The results of the backend alone, and wrapped.
fn compare<B: Backend>(over: impl Fn(Odd) -> B) {
    let mut odd = Odd::new();
    let calls = Arc::clone(&odd.calls);
    let by_itself = (odd.capabilities(), changes(&mut odd), answers(&mut odd), changer(&odd));
    let mut over = over(odd);
    let beneath = (over.capabilities(), changes(&mut over), answers(&mut over), changer(&over));
    assert_eq!(beneath, by_itself);
    takes_changes_with_the_wait(over, &calls);
}

#[test]
fn a_boxed_backend_answers_as_itself() {
    compare(Box::new);
}

#[test]
fn any_backend_answers_as_itself() {
    compare(AnyBackend::new);
}

#[test]
fn a_backend_beneath_deferred_changes_answers_as_itself() {
    let mut odd = Odd::new();
    let mut capabilities = odd.capabilities();
    capabilities.deferred = true;
    let by_itself = (answers(&mut odd), changer(&odd));
    let mut deferred = Deferred::new(odd);
    assert_eq!(deferred.capabilities(), capabilities);
    assert_eq!((answers(&mut deferred), changer(&deferred)), by_itself);
    assert!(deferred.inner().owns(77));
}

#[test]
fn any_backend_knows_its_kind() {
    assert_eq!(AnyBackend::new(Odd::new()).kind(), None);
    assert_eq!(format!("{:?}", AnyChanger::new(Others)), "AnyChanger { .. }");
    for kind in BackendKind::available() {
        let selector: AnySelector<UdpSocket> = AnySelector::new(kind).unwrap();
        assert_eq!(selector.backend().kind(), Some(kind));
        assert!(format!("{:?}", selector.backend()).contains(&format!("{kind:?}")));
    }
}

#[test]
fn kinds_are_parsed_and_printed_by_their_names() {
    for &kind in BackendKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(kind.to_string(), kind.name());
        assert_eq!(format!("{kind:>9}").len(), 9);
        assert_eq!(kind.name(), format!("{kind:?}").to_lowercase());
    }
    let unknown = "epol".parse::<BackendKind>().unwrap_err();
    let expected = "expected epoll, kqueue, devpoll, poll or select";
    assert_eq!(unknown.to_string(), format!("unknown backend \"epol\": {expected}"));
    let available = BackendKind::available();
    assert_eq!(available.first(), Some(&BackendKind::default()));
    assert!(available.iter().all(|kind| BackendKind::ALL.contains(kind)), "{available:?}");
    for kind in BackendKind::ALL.iter().filter(|kind| !available.contains(kind)) {
        let refused = AnySelector::<UdpSocket>::new(*kind).unwrap_err();
        assert!(matches!(refused, selectors::Error::Unsupported { .. }), "{refused}");
    }
}
