//! Programs that close registered descriptors and reuse their numbers, which must not affect other
//! sources.

use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use selectors::{Backend, Interest, Selector, Token, Waker};
use selectors_testkit::fixtures::{LooseDescriptor, drain, null_device, regular_file, unix_pair};

use super::{LONG, NOW, Random, Terms, any_interest};

/// A source whose descriptor may be closed, or another file's.
struct Abused {
    token: Token,
    loose: LooseDescriptor,
}

/// A selector, and the steps of a program.
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
