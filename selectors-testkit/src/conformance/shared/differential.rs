//! SHARED-6: random programs with a shared selector and one of a single thread, which must report
//! the same events.

use selectors::{
    Backend, Event, Interest, Mode, Readiness, Selector, SharedSelector, Source, Token,
};

use super::selector;
use crate::conformance::random::files::{File, files};
use crate::conformance::random::numbers::Numbers;
use crate::conformance::{BOTH, Case, NOW, Outcome, Stop};
use crate::fixtures::{OwnedSource, duplicate};

const PROGRAMS: u64 = 30;
const STEPS: usize = 100;
const SOURCES: usize = 8;

/// How many of the last steps a failure shows.
const SHOWN: usize = 12;

/// A duplicate of a file in the shared selector, and another in the other one.
struct Twins {
    file: usize,
    shared: Source<OwnedSource, ()>,
    single: Token,
}

struct World<B> {
    shared: SharedSelector<()>,
    single: Selector<OwnedSource, (), B>,
    files: Vec<File>,
    twins: Vec<Twins>,
    log: Vec<String>,
}

impl<B: Backend> World<B> {
    fn interest(byte: u8) -> Interest {
        // Less often parked.
        [Interest::READ, Interest::WRITE, BOTH, Interest::empty()][usize::from(byte % 10) / 3]
    }

    /// Which of several sources of one file an exclusive wake-up wakes is the kernel's choice.
    fn mode(&self, byte: u8) -> Mode {
        match byte % 4 {
            0 => Mode::Level,
            1 if self.single.capabilities().edge => Mode::Edge,
            _ => Mode::OneShot,
        }
    }

    fn step(&mut self, [what, a, b, c]: [u8; 4]) -> Result<(), Stop> {
        let file = usize::from(a) % self.files.len();
        let source = usize::from(a) % self.twins.len().max(1);
        let (any, interest, mode) = (!self.twins.is_empty(), Self::interest(b), self.mode(c));
        match what % 32 {
            0..=6 if self.twins.len() < SOURCES => {
                let File { name, ours, .. } = &self.files[file];
                self.log.push(format!("register a duplicate of {name} for {interest:?}, {mode:?}"));
                let (first, second) = (duplicate(ours)?, duplicate(ours)?);
                let shared = self.shared.registrar().register_with(first, interest, (), mode)?;
                let single = self.single.register_with(second, interest, (), mode)?;
                self.twins.push(Twins { file, shared, single });
            }
            7..=12 if any => {
                let Twins { file, shared, single } = &self.twins[source];
                let name = self.files[*file].name;
                self.log.push(format!("modify source {source} ({name}) to {interest:?}, {mode:?}"));
                shared.modify_with(interest, mode)?;
                self.single.modify_with(*single, interest, mode)?;
            }
            13..=14 if any => {
                self.log.push(format!("rearm source {source}"));
                self.twins[source].shared.rearm()?;
                self.single.rearm(self.twins[source].single)?;
            }
            15..=16 if any => {
                self.log.push(format!("unregister source {source}"));
                let Twins { shared, single, .. } = self.twins.swap_remove(source);
                drop(shared.into_inner());
                self.single.unregister(single)?;
            }
            17..=20 => self.log.push(self.files[file].send().1),
            21 => self.log.push(self.files[file].drain().1),
            22 => self.log.push(self.files[file].fill().1),
            23 => self.log.push(self.files[file].drain_peer()?.1),
            24 if b % 4 == 0 => self.log.push(self.files[file].hang_up(c % 2 == 0).1),
            _ => {}
        }
        Ok(())
    }

    /// The reported readiness of each source, and the number of events.
    fn seen<'a>(
        &self,
        events: impl Iterator<Item = &'a Event>,
        token: impl Fn(&Twins) -> Token,
    ) -> (Vec<Readiness>, usize) {
        let mut seen = vec![Readiness::empty(); self.twins.len()];
        let mut count = 0;
        for event in events {
            count += 1;
            if let Some(at) = self.twins.iter().position(|twins| token(twins) == event.token()) {
                seen[at] |= event.readiness();
            }
        }
        (seen, count)
    }

    fn compare(&mut self, case: &Case<'_, B>) -> Outcome {
        self.log.push("select".to_owned());
        let (shared, single) = (self.shared.select(NOW)?, self.single.select(NOW)?);
        let seen = self.seen(shared.iter(), |twins| twins.shared.token());
        let expected = self.seen(single.iter(), |twins| twins.single);
        let what = "the same readiness of each source, and number of events, as with a selector of \
            one thread";
        case.expect_that(seen == expected, &format!("{what}: {expected:?}"), seen)
    }
}

fn run<B: Backend + Send + 'static>(case: &Case<'_, B>, seed: u64) -> Outcome {
    let Some(shared) = selector(case)? else { return Ok(()) };
    let single = Selector::with_backend(case.backend()?);
    let (files, twins, log) = (files()?, Vec::new(), Vec::new());
    let mut world = World { shared, single, files, twins, log };
    let mut numbers = Numbers::new(seed);
    for _ in 0..STEPS {
        let step = std::array::from_fn(|_| numbers.byte());
        let outcome = if step[0] % 32 > 24 { world.compare(case) } else { world.step(step) };
        if outcome.is_err() {
            case.did(format!("ran random program {seed}; its last steps:"));
            let skipped = world.log.len().saturating_sub(SHOWN);
            world.log.iter().skip(skipped).for_each(|line| case.did(format!("  {line}")));
            return outcome;
        }
    }
    Ok(())
}

pub(super) fn shared_6_random_programs_as_with_one_thread<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    if cfg!(windows) {
        return Err(case.cannot_run("data arrives with a delay on this system"));
    }
    let cause = "the changer behaves differently from the backend: compare the last steps";
    (1..=PROGRAMS).try_for_each(|seed| case.because(cause, run(case, seed)))
}
