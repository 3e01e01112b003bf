//! The same program over a backend and over the same backend with its changes deferred: both must
//! report the same, in whatever order.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use selectors::backend::Deferred;
use selectors::{Backend, Interest, Mode, Readiness, Selector, Token, Waker};
use selectors_testkit::fixtures::{drain, fill, null_device, pipe, regular_file, unix_pair};

use super::{LONG, NOW, Random, Terms, any_interest};

type File = Arc<OwnedFd>;
/// The reported readiness of each source, by its name, and whether the wait was woken.
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

/// The peer may be closed, full or empty.
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
        let key = selector.get(event.token()).expect("only registered sources are reported");
        let twice = told.insert(*key.data, event.readiness());
        assert_eq!(twice, None, "a source is reported once");
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
