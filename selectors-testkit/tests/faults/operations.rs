//! Every operation of a selector while one of the library's own calls fails: in every place, once, a
//! few times and for ever.
//!
//! The operation succeeds or shows the error, after a bounded number of calls. Then the call works
//! again, and every source is reported as it is registered, once.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use selectors::{Backend, Error, Event, Interest, Mode, Readiness, Selector, Token, Waker};
use selectors_testkit::fixtures::{OwnedSource, drain, regular_file, unix_pair};

#[cfg(any(feature = "devpoll", feature = "kqueue"))]
use crate::injection::ask_for_emulated_faults;
use crate::injection::{Call, FOR_EVER, Fault, calls, failing, within};
use crate::{LONG, NOW, Subject};

/// A call, with the errors that it may fail with.
pub(crate) type Errors = (Call, &'static [Errno]);

struct Source {
    peer: UnixStream,
    /// Whether there is something to read.
    ready: bool,
}

/// A selector with a source in each mode, a parked one and a file.
struct Scene<B> {
    selector: Subject<B>,
    waker: Option<Waker>,
    sources: BTreeMap<Token, Source>,
    file: Token,
    /// A source and a file that are not registered.
    spare: Option<(UnixStream, UnixStream)>,
    spare_file: Option<OwnedSource>,
    /// What was reported while calls failed.
    reported: Vec<Token>,
    /// What was unregistered, which stays open.
    gone: Vec<OwnedSource>,
}

/// An operation, and what it is called.
type Operation<B> = (String, Act<B>);
type Act<B> = Box<dyn Fn(&mut Scene<B>) -> Result<(), Error>>;

const BOTH: Interest = Interest::READ.union(Interest::WRITE);

/// A regular file: making one for each of thousands of scenes takes longer than all else.
fn a_file() -> io::Result<File> {
    static FILE: LazyLock<io::Result<File>> = LazyLock::new(regular_file);
    FILE.as_ref().expect("a file").try_clone()
}

impl<B: Backend> Scene<B> {
    fn new(backend: B, with_waker: bool) -> io::Result<Self> {
        let mut selector = Selector::with_backend(backend);
        let waker = with_waker.then(|| selector.waker()).transpose()?;
        let mut sources = BTreeMap::new();
        let modes = modes(&selector);
        for mode in modes.into_iter().chain([Mode::Level]) {
            let (ours, peer) = unix_pair()?;
            let token = selector.register_with(ours.into(), Interest::READ, (), mode)?;
            sources.insert(token, Source { peer, ready: false });
        }
        let parked = *sources.keys().next_back().expect("the last one is to be parked");
        selector.modify(parked, Interest::empty())?;
        let watched = if with_waker { Interest::READ } else { Interest::empty() };
        let file = selector.register(a_file()?.into(), watched, ())?;
        let (reported, gone) = (Vec::new(), Vec::new());
        let (spare, spare_file) = (Some(unix_pair()?), Some(a_file()?.into()));
        let mut scene = Self { selector, waker, sources, file, spare, spare_file, reported, gone };
        // Deferred changes are made.
        scene.select(NOW)?;
        scene.reported.clear();
        Ok(scene)
    }

    fn send_to_all(&mut self) -> io::Result<()> {
        for source in self.sources.values_mut().filter(|source| !source.ready) {
            source.peer.write_all(b"x")?;
            source.ready = true;
        }
        Ok(())
    }

    fn select(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let events = self.selector.select(timeout)?;
        self.reported.extend(events.iter().map(Event::token));
        Ok(events.woken())
    }

    fn register(&mut self, mode: Mode) -> Result<(), Error> {
        let (ours, peer) = self.spare.take().expect("it is not registered yet");
        let token = self.selector.register_with(ours.into(), Interest::READ, (), mode);
        let token = token.map_err(|refused| refused.error)?;
        self.sources.insert(token, Source { peer, ready: false });
        Ok(())
    }

    fn unregister(&mut self, token: Token) -> Result<(), Error> {
        let (source, ()) = self.selector.unregister(token)?;
        self.gone.push(source);
        Ok(())
    }

    /// Everything is as it is registered: once it is ready, it is reported.
    fn check(&mut self, mend: impl Fn(&mut Subject<B>, Token), context: &dyn Debug) {
        // First, since a wait that replaces a broken channel reports sources as well.
        let woken = self.waker.clone().is_none_or(|waker| {
            waker.wake().is_ok() || {
                assert!(self.select(NOW).expect("no error"), "{context:?}: the wake is lost");
                waker.wake().is_ok()
            }
        });
        assert!(woken, "{context:?}: the waker stays broken");
        let tokens: Vec<_> = self.selector.iter().map(|(token, _)| token).collect();
        for &token in &tokens {
            let mode = self.selector.get(token).map(|key| key.mode);
            if self.reported.contains(&token) && matches!(mode, Some(Mode::OneShot | Mode::Edge)) {
                self.selector.rearm(token).expect("rearmed");
            }
            mend(&mut self.selector, token);
        }
        self.send_to_all().expect("sent");
        let events = self.selector.select(LONG).expect("no error");
        assert_eq!(events.woken(), self.waker.is_some(), "{context:?}");
        let seen: BTreeMap<_, _> =
            events.iter().map(|event| (event.token(), event.readiness())).collect();
        assert_eq!(seen.len(), events.len(), "{context:?}: twice");
        let as_registered = self.selector.iter().filter(|(_, key)| !key.events.is_empty());
        let expected: BTreeMap<_, _> = as_registered
            .map(|(token, key)| (token, Readiness::from_bits_truncate(key.events.bits().into())))
            .collect();
        assert_eq!(seen, expected, "{context:?}");
        self.is_quiet(context);
    }

    /// With nothing to report no wait turns, and none ends.
    fn is_quiet(&mut self, context: &dyn Debug) {
        for (token, source) in &self.sources {
            if let Some(key) = self.selector.get(*token) {
                drain(key.fileobj).expect("drained");
                if key.events.contains(Interest::WRITE) {
                    self.selector.modify(*token, Interest::READ).expect("modified");
                }
            }
            (&source.peer).flush().expect("flushed");
        }
        let tokens: Vec<_> = self.selector.iter().map(|(token, _)| token).collect();
        for file in tokens.into_iter().filter(|token| !self.sources.contains_key(token)) {
            self.selector.modify(file, Interest::empty()).expect("parked");
        }
        let before = calls();
        let wait = Some(Duration::from_millis(2));
        let events = within(|| self.selector.select(wait));
        let events = events.expect("no error");
        assert!(events.is_empty() && !events.woken(), "{context:?}: {events:?}");
        assert!(calls() - before < 60, "{context:?}: {} calls", calls() - before);
    }
}

fn modes<B: Backend>(selector: &Subject<B>) -> Vec<Mode> {
    let capabilities = selector.capabilities();
    let edge = capabilities.edge.then_some(Mode::Edge);
    let exclusive = capabilities.exclusive.then_some(Mode::Exclusive);
    [Mode::Level, Mode::OneShot].into_iter().chain(edge).chain(exclusive).collect()
}

/// Everything that can be done with a scene.
fn operations<B: Backend + 'static>(scene: &Scene<B>) -> Vec<Operation<B>> {
    let mut all: Vec<Operation<B>> = Vec::new();
    let mut add = |name: String, act: Act<B>| {
        all.push((name, act));
    };
    let modes = modes(&scene.selector);
    for &mode in &modes {
        add(format!("register {mode:?}"), Box::new(move |scene| scene.register(mode)));
    }
    add(
        "register a file".into(),
        Box::new(|scene| {
            let file = scene.spare_file.take().expect("it is not registered yet");
            let token = scene.selector.register(file, Interest::READ, ());
            token.map(drop).map_err(|refused| refused.error)
        }),
    );
    for (nth, &token) in scene.sources.keys().chain([&scene.file]).enumerate() {
        for interest in [BOTH, Interest::WRITE, Interest::empty(), Interest::READ] {
            let name = format!("modify {nth} to {interest:?}");
            add(name, Box::new(move |scene| scene.selector.modify(token, interest)));
        }
        for &mode in &modes {
            let name = format!("modify {nth} to {mode:?}");
            add(name, Box::new(move |scene| scene.selector.modify_with(token, BOTH, mode)));
        }
        add(format!("rearm {nth}"), Box::new(move |scene| scene.selector.rearm(token)));
        add(format!("unregister {nth}"), Box::new(move |scene| scene.unregister(token)));
    }
    for timeout in [NOW, Some(Duration::from_micros(2_300)), LONG, None] {
        add(
            format!("select {timeout:?}"),
            Box::new(move |scene| {
                scene.send_to_all().expect("sent");
                scene.select(timeout).map(drop)
            }),
        );
        let twice = move |scene: &mut Scene<B>| {
            scene.send_to_all().expect("sent");
            let _ = scene.select(timeout);
            scene.select(timeout).map(drop)
        };
        add(format!("select {timeout:?} twice"), Box::new(twice));
    }
    let short = Duration::from_micros(1_300);
    add(
        "wait for nothing".into(),
        Box::new(move |scene| {
            scene.selector.modify(scene.file, Interest::empty())?;
            let start = Instant::now();
            scene.select(Some(short))?;
            assert!(start.elapsed() >= short || !scene.reported.is_empty(), "too early");
            Ok(())
        }),
    );
    if scene.waker.is_some() {
        let wake = |scene: &mut Scene<B>| scene.waker.as_ref().map_or(Ok(()), Waker::wake);
        add("wake".into(), Box::new(wake));
        add(
            "wake and select".into(),
            Box::new(move |scene| {
                let woken = wake(scene);
                scene.select(NOW).map(drop).and(woken)
            }),
        );
    } else {
        add(
            "make a waker".into(),
            Box::new(|scene| {
                scene.waker = Some(scene.selector.waker()?);
                Ok(())
            }),
        );
    }
    all
}

/// Does one thing with a fault. Whether the fault was met.
fn one<B: Backend>(
    mut scene: Scene<B>,
    (operation, act): &Operation<B>,
    fault: Fault,
    mend: impl Fn(&mut Subject<B>, Token),
) -> bool {
    let context = (operation, fault);
    let before = calls();
    let (result, injected) = failing(fault, || {
        let result = act(&mut scene);
        if scene.selector.capabilities().deferred {
            result.and(scene.select(NOW).map(drop))
        } else {
            result
        }
    });
    let made = calls() - before;
    assert!(made < 600, "{context:?}: {made} calls");
    match result.map_err(io::Error::from) {
        Ok(()) => {}
        Err(error) if injected == 0 => panic!("{context:?}: {error}"),
        Err(error) => {
            let number = error.raw_os_error();
            assert_eq!(number, Some(fault.errno as i32), "{context:?}: {error}");
        }
    }
    if injected > 0 {
        scene.check(mend, &context);
    }
    injected > 0
}

/// How often a call fails at most, because signals do not arrive forever.
fn most(errno: Errno) -> u32 {
    if errno == Errno::EINTR { 50 } else { FOR_EVER }
}

/// Does everything with a fault, in every place. Returns how often the fault was met.
fn every<B: Backend + 'static>(
    new: impl Fn() -> io::Result<B>,
    fault: Fault,
    with_waker: bool,
    mend: impl Fn(&mut Subject<B>, Token) + Copy,
) -> io::Result<u32> {
    let mut met = 0;
    for operation in operations(&Scene::new(new()?, with_waker)?) {
        let mut place = 0;
        while one(Scene::new(new()?, with_waker)?, &operation, fault.after(place), mend) {
            place += 1;
        }
        met += place;
    }
    Ok(met)
}

/// Runs every operation with each fault. `mend` repairs a source that was refused.
pub(crate) fn each<B: Backend + 'static>(
    new: impl Fn() -> io::Result<B> + Sync,
    faults: &[Errors],
    mend: impl Fn(&mut Subject<B>, Token) + Copy + Send,
) -> io::Result<()> {
    #[cfg(any(feature = "devpoll", feature = "kqueue"))]
    ask_for_emulated_faults();
    for &(call, errnos) in faults {
        let mut met = 0;
        for &errno in errnos {
            let fault = Fault::new(call, errno);
            let faults = [1, 3, most(errno)].map(|times| fault.times(times));
            let faults = faults.into_iter().flat_map(|it| [(it, true), (it, false)]);
            // Concurrently, because they mostly wait in vain.
            let all = thread::scope(|scope| {
                let new = &new;
                let start = |(fault, waker)| scope.spawn(move || every(new, fault, waker, mend));
                let threads: Vec<_> = faults.map(start).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            });
            let all: io::Result<u32> = all;
            met += all?;
        }
        assert!(met > 0, "{call:?} is never made");
        println!("{call:?} has failed {met} operations");
    }
    Ok(())
}
