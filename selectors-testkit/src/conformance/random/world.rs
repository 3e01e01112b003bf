//! A selector, its sources, and a model of what it must report.

use selectors::backend::BorrowedSource;
use selectors::{Backend, Capabilities, Error, Events, Interest, Mode, Readiness, Token, Waker};

use super::super::{Case, Outcome, Stop, Subject};
use super::files::{Effect, File, files};
use super::{Step, ignore};
use crate::fixtures::{LooseDescriptor, OwnedSource, descriptor_limit, limit_descriptors};

/// The empty interest parks a source.
const INTERESTS: [Interest; 4] =
    [Interest::READ, Interest::WRITE, Interest::READ.union(Interest::WRITE), Interest::empty()];

/// The most sources that a program has at a time.
const SOURCES: usize = 10;

/// What programs may do.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
pub(super) struct Options {
    /// Use every mode that the backend supports, not only level-triggered and one-shot.
    pub(super) modes: bool,
    /// Close the descriptors of registered sources, or give their numbers to other files.
    pub(super) close: bool,
    /// Fork children.
    pub(super) fork: bool,
    /// Lower the limit on descriptors.
    pub(super) limit: bool,
}

/// A source in the model.
pub(super) struct Source {
    pub(super) token: Token,
    number: LooseDescriptor,
    pub(super) file: usize,
    pub(super) interest: Interest,
    pub(super) mode: Mode,
    /// Whether it is a one-shot source that was reported.
    pub(super) fired: bool,
    /// What may have changed since the last wait, which must be reported of an edge-triggered source if it
    /// is ready for it.
    pub(super) edges: Readiness,
    /// Whether its descriptor was closed or refers to another file. Anything may be reported of it.
    pub(super) misused: bool,
    /// Whether it was parked after that. A kernel that watches open files may still watch the old file
    /// with the same token.
    pub(super) may_be_ghost: bool,
}

type Watched<B> = Subject<BorrowedSource<'static>, (), B>;

/// A selector, its sources, and a model of what it must report.
pub(super) struct World<'a, 'b, B> {
    pub(super) case: &'a Case<'b, B>,
    options: Options,
    pub(super) capabilities: Capabilities,
    pub(super) selector: Watched<B>,
    pub(super) waker: Option<Waker>,
    pub(super) woken: bool,
    /// A list that waits reuse.
    pub(super) events: Events,
    pub(super) files: Vec<File>,
    pub(super) sources: Vec<Source>,
    /// Tokens of unregistered sources.
    old: Vec<Token>,
    /// Descriptors without a source.
    free: Vec<LooseDescriptor>,
    /// The limit on descriptors during calls of the selector, if it is lowered.
    pub(super) limited: Option<u64>,
    /// Whether this is a forked child, which must not use the files of its parent.
    pub(super) is_child: bool,
    pub(super) log: Vec<String>,
}

impl<'a, 'b, B: Backend> World<'a, 'b, B> {
    pub(super) fn new(case: &'a Case<'b, B>, options: Options) -> Result<Self, Stop> {
        let files = files()?;
        let free = (0..SOURCES).map(|_| NUMBERS.take(&files[0].ours));
        let free = free.collect::<Result<_, _>>()?;
        let selector = case.selector()?;
        let capabilities = selector.capabilities();
        Ok(Self {
            case,
            options,
            capabilities,
            selector,
            waker: None,
            woken: false,
            events: Events::new(),
            files,
            sources: Vec::new(),
            old: Vec::new(),
            free,
            limited: None,
            is_child: false,
            log: Vec::new(),
        })
    }

    pub(super) fn into_log(mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn note(&mut self, what: String) {
        self.log.push(what);
    }

    pub(super) fn step(&mut self, [what, a, b, c]: Step) -> Outcome {
        let any = !self.sources.is_empty();
        let (source, file) = (usize::from(a), usize::from(a) % self.files.len());
        let source = source % self.sources.len().max(1);
        match what % 64 {
            0..=8 if self.sources.len() < SOURCES => self.register(file, b, c)?,
            9..=15 if any => self.modify(source, b, c)?,
            16..=18 if any => self.rearm(source)?,
            19..=22 if any => self.unregister(source, b)?,
            23..=24 if any && self.options.close => self.misuse(source, b)?,
            25 => self.use_old_tokens(b)?,
            26 => self.register_wrongly(b, c)?,
            27 if self.options.fork && !self.is_child => self.fork(b, c)?,
            28..=29 if self.options.limit => self.limit(b)?,
            30..=32 => self.wake()?,
            33..=48 => self.select(b, c)?,
            what if !self.is_child => self.act(what, file, b, c)?,
            _ => {}
        }
        let (seen, expected) = (self.selector.len(), self.sources.len());
        self.case.expect("the number of sources", seen, expected)
    }

    /// Performs an operation on a file or its peer.
    fn act(&mut self, what: u8, at: usize, b: u8, c: u8) -> Outcome {
        let file = &mut self.files[at];
        let (edges, note): Effect = match what {
            49..=54 => file.send(),
            55..=57 => file.drain(),
            58..=59 => file.fill(),
            60..=61 => file.drain_peer()?,
            62 if b % 2 == 0 => file.hang_up(c % 2 == 0),
            _ => return Ok(()),
        };
        self.note(note);
        for source in self.sources.iter_mut().filter(|source| source.file == at) {
            source.edges |= edges;
        }
        Ok(())
    }

    /// Unregisters all sources and checks that nothing is reported afterwards.
    pub(super) fn end(&mut self) -> Outcome {
        self.select(0, 2)?;
        while !self.sources.is_empty() {
            self.unregister(0, 1)?;
        }
        self.select(15, 2)
    }

    /// Calls the selector, with the lowered limit on descriptors if there is one.
    pub(super) fn call<R>(&mut self, call: impl FnOnce(&mut Watched<B>) -> R) -> Result<R, Stop> {
        let Some(limit) = self.limited else { return Ok(call(&mut self.selector)) };
        limit_descriptors(limit)?;
        let result = call(&mut self.selector);
        descriptor_limit()?;
        Ok(result)
    }

    /// Returns true if watching a parked source may fail because of the limit on descriptors.
    fn may_be_refused(&self, at: usize, interest: Interest) -> bool {
        self.limited.is_some() && self.sources[at].interest.is_empty() && !interest.is_empty()
    }

    fn interest(b: u8) -> Interest {
        // The empty one is rarer.
        INTERESTS[usize::from(b % 10) / 3]
    }

    fn mode(&self, number: u8) -> Mode {
        match number % 8 {
            0..=2 => Mode::Level,
            3 if self.options.modes && self.capabilities.exclusive => Mode::Exclusive,
            4..=5 if self.options.modes && self.capabilities.edge => Mode::Edge,
            _ => Mode::OneShot,
        }
    }

    fn register(&mut self, file: usize, b: u8, c: u8) -> Outcome {
        // A deferred registration would fail later, which the model does not know.
        if self.limited.is_some() && self.capabilities.deferred {
            return Ok(());
        }
        let Some(number) = self.free.pop() else { return Ok(()) };
        let (interest, mode) = (Self::interest(b), self.mode(c));
        let name = self.files[file].name;
        self.note(format!("  register a duplicate of {name} for {interest:?}, {mode:?}"));
        number.replace(&self.files[file].ours)?;
        let fd = number.borrow();
        let result = self.call(|selector| selector.register_with(fd, interest, (), mode))?;
        if result.is_err() && self.limited.is_some() {
            self.free.push(number);
            return Ok(());
        }
        let (token, edges) = (result?, Readiness::from(interest));
        self.sources.push(Source {
            token,
            number,
            file,
            interest,
            mode,
            fired: false,
            edges,
            misused: false,
            may_be_ghost: false,
        });
        Ok(())
    }

    /// Registers a descriptor that is already registered, or closed.
    fn register_wrongly(&mut self, b: u8, c: u8) -> Outcome {
        let (interest, mode) = (Self::interest(b), self.mode(c));
        if let Some(source) = self.sources.get(usize::from(c) % SOURCES) {
            let (fd, token) = (source.number.borrow(), source.token);
            self.note(format!("  register the descriptor of {token:?} again, for {interest:?}"));
            let result = self.selector.register_with(fd, interest, (), mode);
            let result = result.map_err(|refused| refused.error);
            let refused =
                matches!(result, Err(Error::AlreadyRegistered { token: of, .. }) if of == token);
            return self.case.expect_that(refused, "AlreadyRegistered", result);
        }
        let Some(number) = self.free.last() else { return Ok(()) };
        if self.capabilities.deferred && !interest.is_empty() {
            return Ok(());
        }
        ignore(number.close());
        let result = self.selector.register_with(number.borrow(), interest, (), mode);
        self.note(format!("  register a closed descriptor for {interest:?}, {mode:?}"));
        self.case.expect_that(result.is_err(), "a refusal", result.map_err(|refused| refused.error))
    }

    fn modify(&mut self, at: usize, b: u8, c: u8) -> Outcome {
        let (interest, mode) = (Self::interest(b), self.mode(c));
        let may_be_refused = self.may_be_refused(at, interest);
        if may_be_refused && self.capabilities.deferred {
            return Ok(());
        }
        let name = self.name(at);
        self.note(format!("  modify {name} to {interest:?}, {mode:?}"));
        let token = self.sources[at].token;
        let result = self.call(|selector| selector.modify_with(token, interest, mode))?;
        let source = &mut self.sources[at];
        if result.is_err() && (source.misused || may_be_refused) {
            return Ok(());
        }
        result?;
        source.may_be_ghost |= source.misused && interest.is_empty();
        if (interest, mode) != (source.interest, source.mode) {
            source.edges = Readiness::from(interest);
        }
        (source.interest, source.mode, source.fired) = (interest, mode, false);
        Ok(())
    }

    fn rearm(&mut self, at: usize) -> Outcome {
        let name = self.name(at);
        self.note(format!("  rearm {name}"));
        let token = self.sources[at].token;
        let result = self.call(|selector| selector.rearm(token))?;
        let source = &mut self.sources[at];
        if result.is_err() && source.misused {
            return Ok(());
        }
        result?;
        (source.edges, source.fired) = (Readiness::from(source.interest), false);
        Ok(())
    }

    fn unregister(&mut self, at: usize, b: u8) -> Outcome {
        let name = self.name(at);
        let Source { token, number, .. } = self.sources.swap_remove(at);
        self.note(format!("  unregister {name}"));
        let unregistered = self.call(|selector| selector.unregister(token).map(drop))?;
        self.old.push(token);
        // Close it now, or when the number is used again.
        if b % 2 == 0 {
            ignore(number.close());
        }
        self.free.insert(0, number);
        Ok(unregistered?)
    }

    fn use_old_tokens(&mut self, b: u8) -> Outcome {
        let Some(&token) = self.old.get(usize::from(b) % self.old.len().max(1)) else {
            return Ok(());
        };
        self.note(format!("  use {token:?}, which was unregistered"));
        self.case.expect("whether it is known", self.selector.contains(token), false)?;
        let results = [
            ("modify", self.selector.modify(token, Interest::READ)),
            ("rearm", self.selector.rearm(token)),
            ("unregister", self.selector.unregister(token).map(drop)),
        ];
        for (call, result) in results {
            let refused = matches!(result, Err(Error::NotRegistered { .. }));
            self.case.expect_that(refused, &format!("NotRegistered of {call}"), result)?;
        }
        Ok(())
    }

    /// Closes the descriptor of a source, or makes it refer to another file.
    fn misuse(&mut self, at: usize, b: u8) -> Outcome {
        let name = self.name(at);
        let source = &mut self.sources[at];
        source.misused = true;
        if b % 2 == 0 {
            ignore(source.number.close());
            self.note(format!("  close {name}, which is registered"));
            return Ok(());
        }
        let file = usize::from(b / 2) % self.files.len();
        source.number.replace(&self.files[file].ours)?;
        let other = self.files[file].name;
        self.note(format!(
            "  make the descriptor of {name}, which is registered, a duplicate of {other}"
        ));
        Ok(())
    }

    pub(super) fn name(&self, at: usize) -> String {
        let source = &self.sources[at];
        format!("{:?} ({})", source.token, self.files[source.file].name)
    }

    /// Creates the waker if there is none. Returns false if the backend has no wakers.
    pub(super) fn get_waker(&mut self) -> Result<bool, Stop> {
        if self.capabilities.waker && self.waker.is_none() {
            self.waker = Some(self.selector.waker()?);
        }
        Ok(self.waker.is_some())
    }

    fn wake(&mut self) -> Outcome {
        if !self.get_waker()? {
            return Ok(());
        }
        self.note("  wake it".to_owned());
        if let Some(waker) = self.waker.clone() {
            self.call(|_| waker.wake())??;
            self.woken = true;
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

/// A pool of loose descriptors. No two have the same number.
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
        let numbers: Vec<_> = numbers.inspect(|number| ignore(number.close())).collect();
        self.lock().extend(numbers);
    }
}
