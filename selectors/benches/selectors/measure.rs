//! Measuring: every contender takes its turn in each round, and each round has its own ratios.

use std::io;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::ClockId;

/// The result of one turn: an amount, for a number of units of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    amount: f64,
    units: f64,
}

impl Turn {
    /// `elapsed` for `units` of work.
    pub(crate) fn timed(elapsed: Duration, units: u64) -> Self {
        Self::counted(elapsed.as_secs_f64() * 1e9, units)
    }

    /// `amount`, of something other than time, for `units` of work.
    #[expect(clippy::cast_precision_loss, reason = "nothing is counted that often")]
    pub(crate) fn counted(amount: f64, units: u64) -> Self {
        Self { amount, units: units as f64 }
    }

    fn value(self) -> f64 {
        self.amount / self.units
    }
}

/// A contender at a point. Called with the number of iterations; sets up, runs, and cleans up.
pub(crate) struct Row<'a> {
    pub(crate) name: &'static str,
    /// The row it is compared with.
    pub(crate) base: &'static str,
    pub(crate) turn: Box<dyn FnMut(u64) -> io::Result<Turn> + 'a>,
}

/// The number of iterations of a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As many as fill the time of a turn in the settings.
    Timed,
    /// A fixed number.
    Fixed(u64),
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    pub(crate) turn: Duration,
    /// Only checks that everything works.
    pub(crate) smoke: bool,
}

/// A median between its quartiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| {
            // The mean of the two middle values.
            let twice = (values.len() - 1) * quarter / 2;
            f64::midpoint(values[twice / 2], values[twice.div_ceil(2)])
        });
        Self { low, median, high }
    }
}

/// The results of one contender at one point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) base: &'static str,
    pub(crate) value: Spread,
    /// To the base, if that is positive.
    pub(crate) ratio: Option<Spread>,
    /// Likewise to bare epoll, for contenders with another base.
    pub(crate) of_epoll: Option<Spread>,
}

/// Runs a turn of every row in each round, in another order each time.
pub(crate) fn compare(
    settings: Settings,
    pace: Pace,
    rows: &mut [Row<'_>],
) -> io::Result<Vec<Outcome>> {
    let mut iterations = Vec::with_capacity(rows.len());
    for row in &mut *rows {
        let count = warm_up(settings, pace, row);
        iterations.push(count.map_err(|error| named(row.name, &error))?);
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut order: Vec<_> = (0..rows.len()).collect();
    let mut values = vec![Vec::with_capacity(settings.rounds); rows.len()];
    for _round in 0..settings.rounds {
        random.shuffle(&mut order);
        for &at in &order {
            let row = &mut rows[at];
            let turn = (row.turn)(iterations[at]).map_err(|error| named(row.name, &error))?;
            values[at].push(turn.value());
        }
    }
    let to = |own: &[f64], base: &str| {
        let at = rows.iter().position(|other| other.name == base)?;
        ratio(own, &values[at])
    };
    let outcomes = rows.iter().zip(&values).map(|(row, own)| Outcome {
        name: row.name,
        base: row.base,
        value: Spread::of(own.clone()),
        ratio: to(own, row.base),
        of_epoll: to(own, "bare epoll"),
    });
    Ok(outcomes.collect())
}

/// The ratios of the rounds.
fn ratio(own: &[f64], base: &[f64]) -> Option<Spread> {
    let sound = |values: &[f64]| values.iter().all(|&value| value > 0.0);
    let ratios = || own.iter().zip(base).map(|(own, base)| own / base).collect();
    (sound(own) && sound(base)).then(|| Spread::of(ratios()))
}

fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

/// The number of iterations that take as long as a turn should.
#[expect(clippy::cast_possible_truncation, reason = "far from the limits")]
#[expect(clippy::cast_sign_loss, reason = "neither is negative")]
#[expect(clippy::cast_precision_loss, reason = "far from the limits")]
fn warm_up(settings: Settings, pace: Pace, row: &mut Row<'_>) -> io::Result<u64> {
    let mut iterations = 1;
    if let Pace::Fixed(count) = pace {
        return Ok(count);
    }
    if settings.smoke {
        return Ok(2);
    }
    loop {
        let Turn { amount, .. } = (row.turn)(iterations)?;
        let times = settings.turn.as_secs_f64() * 1e9 / amount.max(1.0);
        if times < 2.0 {
            return Ok(((iterations as f64 * times) as u64).max(1));
        }
        // In several steps, because the first iterations may have been slow.
        iterations = (iterations as f64 * times.clamp(2.0, 10.0)) as u64;
    }
}

/// The processor time of this thread, in user space and in the kernel. Unlike the time on the clock it
/// excludes other processes, so it measures work that does not block.
pub(crate) struct Worked(TimeSpec);

impl Worked {
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?))
    }

    pub(crate) fn elapsed(&self) -> io::Result<Duration> {
        Ok((ClockId::CLOCK_THREAD_CPUTIME_ID.now()? - self.0).into())
    }

    /// The cost of the two calls above, to be subtracted.
    pub(crate) fn own_cost() -> io::Result<Duration> {
        let once = |_| Self::start()?.elapsed();
        let mut costs = (0..101).map(once).collect::<io::Result<Vec<_>>>()?;
        costs.sort();
        Ok(costs[costs.len() / 2])
    }
}
