//! Random programs: over twins, which must report the same, and over a victim, of which nothing else
//! must come to harm.

use std::time::Duration;

use selectors::{Interest, Mode};

mod twins;
mod victim;

pub(crate) use twins::compare;
pub(crate) use victim::survive;

const NOW: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(20));

/// Optional steps of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Keep duplicates of closed descriptors. Edge-triggered sources may then be reported once
    /// more.
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

fn any_interest(random: &mut Random) -> Interest {
    random.of(&[Interest::READ, Interest::WRITE, Interest::READ | Interest::WRITE])
}
