//! Random programs, run over a backend and over the same backend with its changes put off: both
//! must tell the same, in whatever order. And random programs that close and reuse what is
//! registered, which must harm nothing else.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use selectors::backend::Deferred;
use selectors::{Backend, Interest, Mode, Readiness, Selector, Token, Waker};
use selectors_testkit::fixtures::{
    LooseDescriptor, drain, fill, null_device, pipe, regular_file, unix_pair,
};

const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(20));

/// What a program may do beside the usual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Keep duplicates of what is closed. Then edge-triggered sources may be told once more.
    pub(crate) duplicates: bool,
    /// Compare the hints, too.
    pub(crate) hints: bool,
    /// The modes of the sources.
    pub(crate) modes: &'static [Mode],
}

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<V: Copy>(&mut self, values: &[V]) -> V {
        values[self.below(values.len())]
    }
}

type File = Arc<OwnedFd>;
/// What was told: of each source, by its name; and whether the waker was answered.
type Told = (BTreeMap<u32, Readiness>, bool);

struct Source {
    name: u32,
    tokens: [Token; 2],
}

/// The other end of a file object, until it is closed.
struct Peer {
    end: Option<OwnedFd>,
}

/// The same program in two selectors.
struct Twins<B> {
    plain: Selector<File, u32, B>,
    deferred: Selector<File, u32, Deferred<B>>,
    wakers: Option<(Waker, Waker)>,
    sources: Vec<Source>,
    peers: Vec<Peer>,
    idle: Vec<File>,
    duplicates: Vec<OwnedFd>,
    names: u32,
    log: Vec<String>,
}

impl<B: Backend> Twins<B> {
    fn new(new: fn() -> io::Result<B>) -> io::Result<Self> {
        Ok(Self {
            plain: Selector::with_backend(new()?),
            deferred: Selector::with_backend(Deferred::new(new()?)),
            wakers: None,
            sources: Vec::new(),
            peers: Vec::new(),
            idle: Vec::new(),
            duplicates: Vec::new(),
            names: 0,
            log: Vec::new(),
        })
    }

    fn file(&mut self, random: &mut Random) -> io::Result<File> {
        if !self.idle.is_empty() && random.one_in(2) {
            let at = random.below(self.idle.len());
            return Ok(self.idle.swap_remove(at));
        }
        let (ours, theirs): (OwnedFd, Option<OwnedFd>) = match random.below(10) {
            0 => (regular_file()?.into(), None),
            1 => (null_device()?.into(), None),
            2 => {
                let (reader, writer) = pipe()?;
                (reader, Some(writer))
            }
            3 => {
                let (reader, writer) = pipe()?;
                (writer, Some(reader))
            }
            _ => {
                let (ours, theirs) = unix_pair()?;
                (ours.into(), Some(theirs.into()))
            }
        };
        if theirs.is_some() {
            self.peers.push(Peer { end: theirs });
        }
        Ok(Arc::new(ours))
    }

    fn register(&mut self, random: &mut Random, terms: Terms) -> io::Result<()> {
        let file = self.file(random)?;
        let (interest, mode) = (any_interest(random), random.of(terms.modes));
        let name = self.names;
        self.names += 1;
        self.log.push(format!("register {name} ({:?}) {interest:?} {mode:?}", file.as_fd()));
        let plain = self.plain.register_with(Arc::clone(&file), interest, name, mode)?;
        let deferred = self.deferred.register_with(file, interest, name, mode)?;
        self.sources.push(Source { name, tokens: [plain, deferred] });
        Ok(())
    }

    fn modify(&mut self, random: &mut Random, terms: Terms) -> io::Result<()> {
        let Source { name, tokens: [plain, deferred] } =
            self.sources[random.below(self.sources.len())];
        let interest = any_interest(random);
        let mode = if random.one_in(3) {
            random.of(terms.modes)
        } else {
            self.plain.get(plain).expect("it is registered").mode
        };
        self.log.push(format!("modify {name} {interest:?} {mode:?}"));
        self.plain.modify_with(plain, interest, mode)?;
        self.deferred.modify_with(deferred, interest, mode)?;
        Ok(())
    }

    fn unregister(&mut self, random: &mut Random, terms: Terms) -> io::Result<()> {
        let at = random.below(self.sources.len());
        let Source { name, tokens: [plain, deferred] } = self.sources.swap_remove(at);
        let (file, same) = self.plain.unregister(plain)?;
        assert_eq!(same, name);
        assert_eq!(self.deferred.unregister(deferred)?.1, name);
        if terms.duplicates && random.one_in(3) {
            self.duplicates.push(file.try_clone()?);
            self.log.push(format!("duplicate {name}"));
        }
        if random.one_in(2) {
            self.log.push(format!("unregister {name}"));
            self.idle.push(file);
        } else {
            self.log.push(format!("unregister and close {name}"));
        }
        Ok(())
    }

    fn touch(&mut self, random: &mut Random) -> io::Result<()> {
        let at = random.below(self.peers.len());
        let what = random.below(8);
        self.log.push(format!("touch {at} {what}"));
        let Some(end) = &self.peers[at].end else { return Ok(()) };
        match what {
            0..=3 => quietly(std::fs::File::from(end.try_clone()?).write(b"x"))?,
            4 => quietly(fill(end))?,
            5 | 6 => quietly(std::fs::File::from(end.try_clone()?).read(&mut [0; 4096]))?,
            _ => self.peers[at].end = None,
        }
        Ok(())
    }

    fn drain(&mut self, random: &mut Random) {
        let Source { name, tokens: [plain, _] } = self.sources[random.below(self.sources.len())];
        let file = &self.plain.get(plain).expect("it is registered").fileobj;
        self.log.push(format!("drain {name}"));
        let flags = nix::fcntl::fcntl(file.as_fd(), nix::fcntl::FcntlArg::F_GETFL);
        let blocks = flags.is_ok_and(|flags| flags & nix::libc::O_NONBLOCK == 0);
        if !blocks {
            let _ = drain(file.as_fd());
        }
    }

    fn wake(&mut self) -> io::Result<()> {
        self.log.push("wake".to_owned());
        if self.wakers.is_none() {
            self.wakers = Some((self.plain.waker()?, self.deferred.waker()?));
        }
        let (plain, deferred) = self.wakers.as_ref().expect("made");
        plain.wake()?;
        Ok(deferred.wake()?)
    }

    fn select(&mut self, terms: Terms) -> io::Result<()> {
        let plain = told(&mut self.plain, NOW)?;
        // What is there ends every wait at once, also those that need not.
        let silent = plain.0.is_empty() && !plain.1;
        let deferred = told(&mut self.deferred, if silent { NOW } else { LONG })?;
        self.log.push(format!("select: {plain:?}"));
        let askable = Readiness::from(Interest::all());
        let seen = if terms.hints { Readiness::all() } else { askable };
        let masked = |(told, woken): Told| -> Told {
            (told.into_iter().map(|(name, readiness)| (name, readiness & seen)).collect(), woken)
        };
        assert_eq!(masked(deferred), masked(plain), "put off and at once");
        Ok(())
    }

    fn compare_maps(&self) {
        fn map<B: Backend>(selector: &Selector<File, u32, B>) -> Vec<(u32, Interest, Mode, i32)> {
            let key = |(_, key): (Token, selectors::SelectorKey<'_, File, u32>)| {
                (*key.data, key.events, key.mode, key.fd)
            };
            let mut map: Vec<_> = selector.iter().map(key).collect();
            map.sort_by_key(|&(name, ..)| name);
            map
        }
        assert_eq!(map(&self.plain), map(&self.deferred));
        assert_eq!(self.plain.len(), self.sources.len());
    }

    fn step(&mut self, random: &mut Random, terms: Terms) -> io::Result<()> {
        match random.below(20) {
            0..=3 if self.sources.len() < 12 => self.register(random, terms),
            4..=7 if !self.sources.is_empty() => self.modify(random, terms),
            8..=9 if !self.sources.is_empty() => self.unregister(random, terms),
            10..=13 if !self.peers.is_empty() => self.touch(random),
            14 if !self.sources.is_empty() => {
                self.drain(random);
                Ok(())
            }
            15 if random.one_in(4) => self.wake(),
            16 if random.one_in(4) => Ok(self.deferred.flush()?),
            17..=19 => {
                self.compare_maps();
                self.select(terms)
            }
            _ => Ok(()),
        }
    }
}

fn any_interest(random: &mut Random) -> Interest {
    random.of(&[Interest::READ, Interest::WRITE, Interest::READ | Interest::WRITE])
}

/// A peer may be gone, or full, or empty.
fn quietly<V>(answer: io::Result<V>) -> io::Result<()> {
    match answer {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput) => Err(error),
        _ => Ok(()),
    }
}

fn told<B: Backend>(
    selector: &mut Selector<File, u32, B>,
    timeout: Option<Duration>,
) -> io::Result<Told> {
    let events = selector.select(timeout)?;
    let mut told = BTreeMap::new();
    for event in &events {
        let key = selector.get(event.token()).expect("only what is registered is told");
        let twice = told.insert(*key.data, event.readiness());
        assert_eq!(twice, None, "a source is told once");
    }
    Ok((told, events.woken()))
}

/// Runs `programs` programs of as many `steps`.
pub(crate) fn compare<B: Backend>(
    new: fn() -> io::Result<B>,
    terms: Terms,
    programs: u64,
    steps: usize,
) -> io::Result<()> {
    for seed in 1..=programs {
        let mut random = Random::new(seed);
        let mut twins = Twins::new(new)?;
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| -> io::Result<()> {
            for _ in 0..steps {
                twins.step(&mut random, terms)?;
            }
            while !twins.sources.is_empty() {
                twins.unregister(&mut random, terms)?;
            }
            twins.select(terms)?;
            let plain = told(&mut twins.plain, NOW)?;
            assert!(plain.0.is_empty(), "nothing is left: {plain:?}");
            Ok(())
        }));
        if !matches!(run, Ok(Ok(()))) {
            for line in &twins.log {
                println!("{line}");
            }
            panic!("program {seed}: {run:?}");
        }
    }
    Ok(())
}

/// A source whose descriptor may be closed, or another file's.
struct Abused {
    token: Token,
    loose: LooseDescriptor,
}

/// A selector and what is done to it.
struct Victim<B> {
    selector: Selector<BorrowedFd<'static>, (), B>,
    healthy: (Token, UnixStream),
    waker: Waker,
    sources: Vec<Abused>,
    /// The number of the healthy source, and those that no source has.
    free: Vec<LooseDescriptor>,
    files: Vec<OwnedFd>,
    ready: bool,
    log: Vec<String>,
}

impl<B: Backend> Victim<B> {
    /// The first number is kept open; the others are free.
    fn new(backend: B, random: &mut Random, free: Vec<LooseDescriptor>) -> io::Result<Self> {
        let mut selector = Selector::with_backend(backend);
        let waker = selector.waker()?;
        let (ours, theirs) = unix_pair()?;
        free[0].replace(&ours)?;
        let healthy = (selector.register(free[0].borrow(), Interest::READ, ())?, theirs);
        let mut files = Vec::new();
        for _ in 0..4 {
            let (ours, mut theirs) = unix_pair()?;
            if random.one_in(2) {
                theirs.write_all(b"x")?;
            }
            files.extend([OwnedFd::from(ours), OwnedFd::from(theirs)]);
        }
        files.extend([regular_file()?.into(), null_device()?.into()]);
        let (sources, log) = (Vec::new(), Vec::new());
        Ok(Self { selector, healthy, waker, sources, free, files, ready: false, log })
    }

    fn register(&mut self, random: &mut Random, terms: Terms) -> io::Result<()> {
        let file = &self.files[random.below(self.files.len())];
        let loose = self.free.swap_remove(1 + random.below(self.free.len() - 1));
        loose.replace(file)?;
        let (interest, mode) = (any_interest(random), random.of(terms.modes));
        self.log.push(format!("register {} {interest:?} {mode:?}", loose.number()));
        let token = self.selector.register_with(loose.borrow(), interest, (), mode)?;
        self.sources.push(Abused { token, loose });
        Ok(())
    }

    fn step(&mut self, random: &mut Random, terms: Terms) -> io::Result<()> {
        let chosen = random.below(self.sources.len().max(1));
        let what = random.below(16);
        if !(1..=9).contains(&what) || self.sources.is_empty() {
            match what {
                10 => self.beat()?,
                11 => {
                    self.log.push("wake".to_owned());
                    self.waker.wake()?;
                    assert!(self.selector.select(LONG)?.woken(), "a wake was lost");
                }
                12 | 13 => self.select()?,
                _ if self.sources.len() < 8 => self.register(random, terms)?,
                _ => {}
            }
            return Ok(());
        }
        let Abused { token, loose } = &self.sources[chosen];
        match what {
            1 | 2 => {
                self.log.push(format!("close {}", loose.number()));
                let _ = loose.close();
            }
            3 => {
                self.log.push(format!("replace {}", loose.number()));
                loose.replace(&self.files[random.below(self.files.len())])?;
            }
            4..=6 => {
                let (interest, mode) = (any_interest(random), random.of(terms.modes));
                self.log.push(format!("modify {} {interest:?} {mode:?}", loose.number()));
                // Refused, if it is not open.
                let _ = self.selector.modify_with(*token, interest, mode);
            }
            _ => {
                self.log.push(format!("unregister {}", loose.number()));
                self.selector.unregister(*token)?;
                let Abused { loose, .. } = self.sources.swap_remove(chosen);
                if random.one_in(2) {
                    let _ = loose.close();
                }
                self.free.push(loose);
            }
        }
        Ok(())
    }

    /// The healthy source becomes ready, or idle.
    fn beat(&mut self) -> io::Result<()> {
        self.log.push("beat".to_owned());
        if self.ready {
            drain(self.free[0].borrow())?;
        } else {
            self.healthy.1.write_all(b"x")?;
        }
        self.ready = !self.ready;
        self.select()
    }

    fn select(&mut self) -> io::Result<()> {
        self.log.push("select".to_owned());
        let events = self.selector.select(if self.ready { LONG } else { NOW })?;
        let mut told = false;
        for event in &events {
            told |= event.token() == self.healthy.0;
            assert!(self.selector.contains(event.token()), "{event:?}");
        }
        assert_eq!(told, self.ready, "the healthy source: {events:?}");
        Ok(())
    }
}

/// Runs `programs` programs of as many `steps`.
pub(crate) fn survive<B: Backend>(
    new: fn() -> io::Result<B>,
    terms: Terms,
    programs: u64,
    steps: usize,
) -> io::Result<()> {
    let number = || LooseDescriptor::duplicate(io::stderr());
    let mut numbers: Vec<_> = (0..10).map(|_| number()).collect::<Result<_, _>>()?;
    for seed in 1..=programs {
        let mut random = Random::new(seed);
        let mut victim = Victim::new(new()?, &mut random, std::mem::take(&mut numbers))?;
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| -> io::Result<()> {
            for _ in 0..steps {
                victim.step(&mut random, terms)?;
            }
            while let Some(Abused { token, loose }) = victim.sources.pop() {
                victim.selector.unregister(token)?;
                let _ = loose.close();
                victim.free.push(loose);
            }
            if victim.ready {
                victim.beat()?;
            }
            // No ghost ends a wait.
            assert!(victim.selector.select(Some(Duration::from_micros(1)))?.is_empty());
            victim.beat()
        }));
        if !matches!(run, Ok(Ok(()))) {
            for line in &victim.log {
                println!("{line}");
            }
            panic!("program {seed}: {run:?}");
        }
        numbers = std::mem::take(&mut victim.free);
    }
    Ok(())
}
