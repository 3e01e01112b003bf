//! A selector, what it watches, and a model of what it is to report.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use selectors::backend::BorrowedSource;
use selectors::{Backend, Capabilities, Interest, Mode, Readiness, Token, Waker};

use super::super::{Case, NOW, Outcome, Stop, Subject};
use super::{Step, quietly};
use crate::fixtures::{
    LooseDescriptor, OwnedSource, drain, fill, if_any, is_ready, pair, pipe, regular_file, send,
};

const INTERESTS: [Interest; 3] =
    [Interest::READ, Interest::WRITE, Interest::READ.union(Interest::WRITE)];

/// How many sources a program may have at a time.
const SOURCES: usize = 10;

/// What programs may do.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Watch for edges.
    pub(super) edge: bool,
    /// Close, and give away, the numbers of what is watched.
    pub(super) close: bool,
}

/// An open file that sources are duplicates of, and its other end.
struct File {
    name: &'static str,
    ours: OwnedSource,
    theirs: Option<OwnedSource>,
    hung_up: bool,
}

/// What the model knows of a source.
struct Source {
    token: Token,
    number: LooseDescriptor,
    file: usize,
    interest: Interest,
    mode: Mode,
    /// A one-shot source that was reported.
    fired: bool,
    /// Of an edge-triggered source: what has to be reported, if it is true.
    news: Readiness,
    /// Its descriptor was closed, or is another file's. Anything may be reported of it.
    abused: bool,
}

pub(super) struct World<'a, 'b, B> {
    case: &'a Case<'b, B>,
    terms: Terms,
    capabilities: Capabilities,
    selector: Subject<BorrowedSource<'static>, (), B>,
    waker: Option<Waker>,
    woken: bool,
    files: Vec<File>,
    sources: Vec<Source>,
    /// Numbers that no source has.
    free: Vec<LooseDescriptor>,
    log: Vec<String>,
}

impl<'a, 'b, B: Backend> World<'a, 'b, B> {
    pub(super) fn new(case: &'a Case<'b, B>, terms: Terms) -> Result<Self, Stop> {
        let mut files = Vec::new();
        for name in ["a", "b", "c"] {
            let (ours, theirs) = pair()?;
            let (ours, theirs) = (ours.into(), Some(theirs.into()));
            files.push(File { name, ours, theirs, hung_up: false });
        }
        if let Some((reader, writer)) = if_any(pipe())? {
            files.push(File { name: "reader", ours: reader, theirs: Some(writer), hung_up: false });
        }
        if let Some((reader, writer)) = if_any(pipe())? {
            files.push(File { name: "writer", ours: writer, theirs: Some(reader), hung_up: false });
        }
        if let Some(file) = if_any(regular_file())? {
            files.push(File { name: "file", ours: file.into(), theirs: None, hung_up: false });
        }
        let free = (0..SOURCES).map(|_| NUMBERS.take(&files[0].ours));
        let free = free.collect::<Result<_, _>>()?;
        let selector = case.selector()?;
        let capabilities = selector.capabilities();
        let (sources, log) = (Vec::new(), Vec::new());
        Ok(Self {
            case,
            terms,
            capabilities,
            selector,
            waker: None,
            woken: false,
            files,
            sources,
            free,
            log,
        })
    }

    pub(super) fn into_log(mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }

    pub(super) fn step(&mut self, [what, a, b, c]: Step) -> Outcome {
        let any = !self.sources.is_empty();
        let (source, file) = (usize::from(a), usize::from(a) % self.files.len());
        let source = source % self.sources.len().max(1);
        match what % 32 {
            0..=4 if self.sources.len() < SOURCES => self.register(file, b, c),
            5..=8 if any => self.modify(source, b, c),
            9..=10 if any => self.unregister(source, b),
            11 if any && self.terms.close => self.abuse(source, b),
            19..=20 => self.drain_peer(file),
            22..=23 => self.wake(),
            24..=31 => self.select(b),
            what => {
                match what {
                    12..=15 => self.send(file),
                    16..=17 => self.drain(file),
                    18 => self.fill(file),
                    21 if b % 4 == 0 => self.hang_up(file, c),
                    _ => {}
                }
                Ok(())
            }
        }
    }

    /// Everything leaves, and nothing is reported any more.
    pub(super) fn end(&mut self) -> Outcome {
        self.select(0)?;
        while !self.sources.is_empty() {
            self.unregister(0, 1)?;
        }
        self.select(1)
    }

    fn mode(&self, number: u8) -> Mode {
        match number % 4 {
            0 | 1 => Mode::Level,
            2 if self.terms.edge => Mode::Edge,
            _ => Mode::OneShot,
        }
    }

    fn register(&mut self, file: usize, b: u8, c: u8) -> Outcome {
        let Some(number) = self.free.pop() else { return Ok(()) };
        let (interest, mode) = (INTERESTS[usize::from(b) % 3], self.mode(c));
        let name = self.files[file].name;
        self.note(format!("  register a duplicate of {name} for {interest:?}, {mode:?}"));
        number.replace(&self.files[file].ours)?;
        let token = self.selector.register_with(number.borrow(), interest, (), mode)?;
        let news = Readiness::from(interest);
        let (fired, abused) = (false, false);
        self.sources.push(Source { token, number, file, interest, mode, fired, news, abused });
        Ok(())
    }

    fn modify(&mut self, at: usize, b: u8, c: u8) -> Outcome {
        let (interest, mode) = (INTERESTS[usize::from(b) % 3], self.mode(c));
        let name = self.name(at);
        self.note(format!("  modify {name} to {interest:?}, {mode:?}"));
        let source = &mut self.sources[at];
        let answer = self.selector.modify_with(source.token, interest, mode);
        if source.abused && answer.is_err() {
            return Ok(());
        }
        answer?;
        if (interest, mode) != (source.interest, source.mode) {
            source.news = Readiness::from(interest);
        }
        (source.interest, source.mode, source.fired) = (interest, mode, false);
        Ok(())
    }

    fn unregister(&mut self, at: usize, b: u8) -> Outcome {
        let name = self.name(at);
        let Source { token, number, .. } = self.sources.swap_remove(at);
        self.note(format!("  unregister {name}"));
        let unregistered = self.selector.unregister(token);
        // Closed as soon as it may be, or when the number is used again.
        if b % 2 == 0 {
            quietly(number.close());
        }
        self.free.insert(0, number);
        unregistered?;
        Ok(())
    }

    /// Closes the descriptor of a source, or gives it to another file.
    fn abuse(&mut self, at: usize, b: u8) -> Outcome {
        let name = self.name(at);
        let source = &mut self.sources[at];
        source.abused = true;
        if b % 2 == 0 {
            quietly(source.number.close());
            self.note(format!("  close {name}, which is registered"));
            return Ok(());
        }
        let file = usize::from(b / 2) % self.files.len();
        source.number.replace(&self.files[file].ours)?;
        let other = self.files[file].name;
        self.note(format!("  make the descriptor of {name}, which is registered, one of {other}"));
        Ok(())
    }

    fn name(&self, at: usize) -> String {
        let source = &self.sources[at];
        format!("{:?} ({})", source.token, self.files[source.file].name)
    }

    /// Something may have become ready for this.
    fn has_news(&mut self, file: usize, news: Readiness) {
        for source in self.sources.iter_mut().filter(|source| source.file == file) {
            source.news |= news;
        }
    }

    fn send(&mut self, file: usize) {
        let File { name, theirs, .. } = &self.files[file];
        let note = format!("  send a byte to {name}");
        let sent = theirs.as_ref().is_some_and(|theirs| send(theirs, b"x").is_ok());
        self.note(note);
        if sent {
            self.has_news(file, Readiness::READ);
        }
    }

    fn drain(&mut self, file: usize) {
        let File { name, ours, theirs, .. } = &self.files[file];
        // A file has no other end, and may block.
        if theirs.is_some() {
            quietly(drain(ours));
        }
        self.note(format!("  drain {name}"));
    }

    fn fill(&mut self, file: usize) {
        let File { name, ours, theirs, .. } = &self.files[file];
        if theirs.is_some() {
            quietly(fill(ours));
        }
        self.note(format!("  fill {name}"));
    }

    fn drain_peer(&mut self, file: usize) -> Outcome {
        let File { name, ours, theirs, .. } = &self.files[file];
        let note = format!("  drain the other end of {name}");
        let Some(theirs) = theirs else { return Ok(()) };
        let full = !is_ready(ours, Interest::WRITE, 0)?;
        quietly(drain(theirs));
        let has_room = full && is_ready(ours, Interest::WRITE, 0)?;
        self.note(note);
        if has_room {
            self.has_news(file, Readiness::WRITE);
        }
        Ok(())
    }

    fn hang_up(&mut self, at: usize, c: u8) {
        let file = &mut self.files[at];
        let name = file.name;
        let Some(theirs) = &file.theirs else { return };
        if c % 2 == 0 && socket2::SockRef::from(theirs).shutdown(Shutdown::Write).is_ok() {
            self.note(format!("  the other end of {name} sends no more"));
            self.has_news(at, Readiness::READ);
            return;
        }
        (file.theirs, file.hung_up) = (None, true);
        self.note(format!("  close the other end of {name}"));
        self.has_news(at, Readiness::READ | Readiness::WRITE);
    }

    fn wake(&mut self) -> Outcome {
        if !self.capabilities.waker {
            return Ok(());
        }
        self.note("  wake it".to_owned());
        if self.waker.is_none() {
            self.waker = Some(self.selector.waker()?);
        }
        if let Some(waker) = &self.waker {
            waker.wake()?;
            self.woken = true;
        }
        Ok(())
    }

    /// What is true of a source: what it is ready for, of what it is watched for.
    fn truth(&self, source: &Source) -> Result<Readiness, Stop> {
        let ours = &self.files[source.file].ours;
        let mut truth = Readiness::empty();
        for interest in [Interest::READ, Interest::WRITE] {
            if source.interest.contains(interest) && is_ready(ours, interest, 0)? {
                truth |= Readiness::from(interest);
            }
        }
        Ok(truth)
    }

    /// The least and the most that is to be reported of a source, where that is known.
    fn bounds(&self, source: &Source) -> Result<Option<(Readiness, Readiness)>, Stop> {
        if source.abused {
            return Ok(None);
        }
        let truth = if source.fired { Readiness::empty() } else { self.truth(source)? };
        let mut least = truth;
        if source.mode == Mode::Edge {
            least &= source.news;
        }
        if self.files[source.file].hung_up && !self.capabilities.write_hangup {
            least -= Readiness::WRITE;
        }
        Ok(Some((least, truth)))
    }

    fn select(&mut self, b: u8) -> Outcome {
        let bounds: Vec<_> =
            self.sources.iter().map(|source| self.bounds(source)).collect::<Result<_, _>>()?;
        let must = bounds.iter().flatten().any(|(least, _)| !least.is_empty()) || self.woken;
        let may =
            must || bounds.iter().any(|bounds| bounds.is_none_or(|(_, most)| !most.is_empty()));
        let timeout = match b % 4 {
            0 if must => self.case.long(),
            1 if must => None,
            2 if !may => Some(Duration::from_micros(u64::from(b))),
            _ => NOW,
        };
        self.note(format!("  select({timeout:?})"));
        let start = Instant::now();
        let events = self.selector.select(timeout)?;
        let waited = start.elapsed();
        self.case.expect("whether it was woken", events.woken(), self.woken)?;
        self.woken = false;
        let askable = Readiness::READ | Readiness::WRITE | Readiness::PRIORITY;
        for (at, bounds) in bounds.into_iter().enumerate() {
            let token = self.sources[at].token;
            let mut of_it = events.iter().filter(|event| event.token() == token);
            let seen = of_it.next().map_or(Readiness::empty(), |event| event.readiness() & askable);
            let name = self.name(at);
            self.case.expect_that(
                of_it.next().is_none(),
                &format!("one event of {name}"),
                &events,
            )?;
            if let Some((least, most)) = bounds {
                let what = if least == most {
                    format!("{most:?} of {name}")
                } else {
                    format!("at least {least:?}, and at most {most:?}, of {name}")
                };
                self.case.expect_that(seen.contains(least) && most.contains(seen), &what, seen)?;
            }
            let source = &mut self.sources[at];
            source.fired |= source.mode == Mode::OneShot && !seen.is_empty();
            source.news = Readiness::empty();
        }
        let known = |token| self.sources.iter().any(|source| source.token == token);
        for event in &events {
            self.case.expect_that(known(event.token()), "events of registered sources", event)?;
        }
        if let Some(timeout) = timeout.filter(|_| events.is_empty() && !events.woken()) {
            self.case.expect_that(waited >= timeout, "a wait as long as its timeout", waited)?;
        }
        Ok(())
    }
}

impl<B> Drop for World<'_, '_, B> {
    fn drop(&mut self) {
        let used = self.sources.drain(..).map(|source| source.number);
        NUMBERS.give_back(used.chain(self.free.drain(..)));
    }
}

/// Numbers for loose descriptors, which are used again: each is unique in the process.
struct Pool(std::sync::Mutex<Vec<LooseDescriptor>>);

static NUMBERS: Pool = Pool(std::sync::Mutex::new(Vec::new()));

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<LooseDescriptor>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn take(&self, like: &OwnedSource) -> std::io::Result<LooseDescriptor> {
        let number = self.lock().pop();
        number.map_or_else(|| LooseDescriptor::duplicate(like), Ok)
    }

    fn give_back(&self, numbers: impl Iterator<Item = LooseDescriptor>) {
        let numbers: Vec<_> = numbers.inspect(|number| quietly(number.close())).collect();
        self.lock().extend(numbers);
    }
}
