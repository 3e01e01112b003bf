//! CLOSE-4, PROC-4, PROC-6: a file of each kind in every mode, with a new kernel object, in a forked
//! child, and on another thread.

use std::thread;

use selectors::backend::{BorrowedSource, Registered};
use selectors::{Backend, Error, Events, Interest, Mode, Readiness, Token, Watch};

use super::file_kinds::is_special;
use super::rebuilding::rebuild;
use super::stale_readiness::modes;
use super::streams::{PATIENTLY, truth};
use super::{BOTH, Case, NOW, Outcome, Stop, Subject};
use crate::fixtures::{
    Kind, OwnedSource, borrow, duplicate, every_kind, is_ready, number_of, out_of_band, tcp_pair,
};

/// A source, and what it must be reported as.
struct Watched {
    name: &'static str,
    source: OwnedSource,
    watch: Watch,
    truth: Readiness,
}

/// A source of each kind, in every mode and with different interests, none of which was reported yet.
struct Everything {
    sources: Vec<Watched>,
    _kinds: Vec<Kind>,
    _peer: std::net::TcpStream,
}

impl Everything {
    fn new<B: Backend>(case: &Case<'_, B>) -> Result<Self, Stop> {
        let (kinds, (urgent, peer)) = (every_kind()?, tcp_pair()?);
        let priority = case.backend()?.capabilities().priority;
        if priority {
            out_of_band(&peer)?;
            is_ready(&urgent, Interest::PRIORITY, PATIENTLY)?;
        }
        let mut sources = Vec::new();
        let mut add = |name, file: BorrowedSource<'_>, watch: Watch| -> Outcome {
            let truth = truth(watch.interest, |one| is_ready(&file, one, 0))?;
            sources.push(Watched { name, source: duplicate(&file)?, watch, truth });
            Ok(())
        };
        for mode in modes(case)? {
            let interests = [Interest::READ, BOTH, Interest::WRITE].into_iter().cycle();
            for (kind, interest) in kinds.iter().zip(interests) {
                if is_special(kind.name, mode) {
                    continue;
                }
                let file = borrow(&kind.source);
                add(kind.name, file, Watch::new(interest, mode))?;
                if interest == Interest::WRITE && !is_ready(&kind.source, interest, 0)? {
                    add(kind.name, file, Watch::new(Interest::READ, mode))?;
                }
            }
            if priority && mode != Mode::Exclusive {
                for interest in [Interest::PRIORITY, Interest::READ | Interest::PRIORITY] {
                    add("a TCP socket", borrow(&urgent), Watch::new(interest, mode))?;
                }
            }
        }
        Ok(Self { sources, _kinds: kinds, _peer: peer })
    }

    /// The sources and their tokens: the order of registration tells the slot.
    fn tokens(&self) -> impl Iterator<Item = (&Watched, Token)> {
        self.sources.iter().zip((1..).map(Token::from_bits))
    }

    fn register<'a, B: Backend>(
        &'a self,
        selector: &mut Subject<BorrowedSource<'a>, (), B>,
    ) -> Result<Vec<Token>, Stop> {
        let mut tokens = Vec::new();
        for Watched { source, watch: Watch { interest, mode, .. }, .. } in &self.sources {
            tokens.push(selector.register_with(borrow(source), *interest, (), *mode)?);
        }
        Ok(tokens)
    }

    /// Checks the events of a wait: the first one since the sources were registered, or a later one.
    fn expect<B: Backend>(
        &self,
        case: &Case<'_, B>,
        tokens: &[Token],
        events: &Events,
        is_first: bool,
    ) -> Outcome {
        for (Watched { name, watch, truth, .. }, token) in self.sources.iter().zip(tokens) {
            let lasts = matches!(watch.mode, Mode::Level | Mode::Exclusive);
            let expected = if is_first || lasts { *truth } else { Readiness::empty() };
            let of_it = events.iter().filter(|event| event.token() == *token);
            let mut seen = of_it.fold(Readiness::empty(), |all, event| all | event.readiness());
            if seen.intersects(Readiness::HANGUP | Readiness::ERROR) {
                // As a selector does.
                seen |= Readiness::from(watch.interest - Interest::PRIORITY);
            }
            let what = format!("the readiness of {name}, {:?}, {:?}", watch.interest, watch.mode);
            // A backend may report more, which a selector masks.
            case.expect(&what, seen & Readiness::from(watch.interest), expected)?;
        }
        Ok(())
    }
}

pub(super) fn close_4_a_new_kernel_object_watches_every_kind<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let all = Everything::new(case)?;
    let mut backend = case.backend()?;
    let mut sources = Vec::new();
    case.did("registered a file of each kind with the backend, in every mode");
    for (Watched { source, watch, .. }, token) in all.tokens() {
        backend.register(borrow(source), token, *watch)?;
        sources.push(Registered::new(number_of(source), token, *watch));
    }
    let mut events = Events::new();
    if !rebuild(&mut backend, &sources, &mut events)? {
        return Ok(());
    }
    case.did("recreated the kernel object, and waited twice");
    let tokens: Vec<_> = all.tokens().map(|(_, token)| token).collect();
    let cause =
        "the new kernel object lacks sources of some kinds, or watches them in another mode";
    for is_first in [true, false] {
        backend.wait(&mut events, NOW)?;
        case.because(cause, all.expect(case, &tokens, &events, is_first))?;
        events.clear();
    }
    Ok(())
}

pub(super) fn proc_4_after_fork_watches_every_kind<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let all = Everything::new(case)?;
    let mut selector = case.selector()?;
    case.did("registered a file of each kind, in every mode");
    let tokens = all.register(&mut selector)?;
    case.did("forked a child, which called after_fork and waited twice");
    let cause =
        "after_fork forgets some sources, or watches them for something else or in another mode";
    let in_child = case.in_forked_child(|| {
        match selector.after_fork() {
            // A backend need not support it.
            Err(Error::Unsupported { .. }) => return Ok(()),
            answer => answer?,
        }
        all.expect(case, &tokens, &selector.select(NOW)?, true)?;
        all.expect(case, &tokens, &selector.select(NOW)?, false)
    });
    case.because(cause, in_child)
}

pub(super) fn proc_6_a_thread_registers_every_kind<B: Backend + Send>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let all = Everything::new(case)?;
    let mut selector = case.selector()?;
    case.did("registered a file of each kind, in every mode, on a thread that has ended");
    let panicked = |_| Stop::panicked("on another thread");
    let all = &all;
    let filled = thread::scope(|scope| {
        let fill = || -> Result<_, Stop> {
            let tokens = all.register(&mut selector)?;
            Ok((selector, tokens))
        };
        scope.spawn(fill).join()
    });
    let (mut selector, tokens) = filled.map_err(panicked)??;
    case.did("waited on another one, and then on the one that has created the selector");
    let waited = thread::scope(|scope| {
        let wait = || -> Result<_, Stop> {
            let events = selector.select(NOW)?;
            Ok((selector, events))
        };
        scope.spawn(wait).join()
    });
    let (mut selector, events) = waited.map_err(panicked)??;
    let cause = "requests of a thread are cancelled when it ends, or state is kept in thread-local \
                 variables";
    case.because(cause, all.expect(case, &tokens, &events, true))?;
    case.because(cause, all.expect(case, &tokens, &selector.select(NOW)?, false))
}
