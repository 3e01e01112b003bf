//! Registering, unregistering and modifying, beside other sources.

use std::io;

use crate::platform::contenders::{Contender, Want, everyone};
use crate::platform::measure::{Pace, Row, Turn, Worked};
use crate::platform::report::{Point, Report};
use crate::platform::sources::{Counters, Silent};

/// How many sources change before deferred changes are applied.
pub(crate) const CHANGING: usize = 100;

/// What is done to a source.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    RegisterUnregister,
    /// Another interest each time.
    Modify,
    /// The interest that it has.
    ModifyToSame,
    /// WRITE on and off again.
    Toggle,
    Data,
}

impl Change {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::RegisterUnregister, "register and unregister"),
        (Self::Modify, "modify"),
        (Self::ModifyToSame, "modify to the same"),
        (Self::Toggle, "WRITE on and off"),
        (Self::Data, "change the data"),
    ];

    /// Registers the sources in advance, unless registering is the operation.
    pub(crate) fn prepare<'a, C: Contender<'a>>(
        self,
        contender: &mut C,
        changing: &'a Silent,
    ) -> io::Result<Vec<C::Key>> {
        let mut keys = Vec::with_capacity(CHANGING);
        if !matches!(self, Self::RegisterUnregister) {
            for (source, data) in changing.iter().zip(0..) {
                keys.push(contender.register(source, Want::Read, data)?);
            }
        }
        contender.flush()?;
        Ok(keys)
    }

    /// Changes each source, for the `nth` time.
    #[inline(never)]
    pub(crate) fn make<'a, C: Contender<'a>>(
        self,
        contender: &mut C,
        changing: &'a Silent,
        keys: &[C::Key],
        nth: u64,
    ) -> io::Result<()> {
        let wants = [Want::Read, Want::ReadWrite];
        match self {
            Self::RegisterUnregister => {
                for (source, data) in changing.iter().zip(0..) {
                    let key = contender.register(source, Want::Read, data)?;
                    contender.unregister(key)?;
                }
            }
            Self::Modify => {
                let want = wants[usize::from(nth % 2 == 0)];
                keys.iter().try_for_each(|&key| contender.modify(key, want))?;
            }
            Self::ModifyToSame => {
                keys.iter().try_for_each(|&key| contender.modify(key, Want::Read))?;
            }
            Self::Toggle => {
                for &key in keys {
                    contender.modify(key, Want::ReadWrite)?;
                    contender.modify(key, Want::Read)?;
                }
            }
            Self::Data => keys.iter().for_each(|&key| contender.set_data(key, nth)),
        }
        contender.flush()
    }
}

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    Report::remark(&format!(
        "Who defers changes makes them once for every {CHANGING} sources; all others at once."
    ));
    for others in report.scale(&[0, 1_000]) {
        for (change, name) in Change::ALL {
            let point = Point {
                parameters: format!("{name}, beside {others}"),
                unit: "ns/change",
                pace: Pace::Timed,
            };
            if !report.affords(&point, others + 2 * CHANGING) {
                continue;
            }
            let (others, changing) = (Counters::new(others)?, Silent::new(CHANGING)?);
            let mut rows = everyone!(row(&others, &changing, change));
            rows.extend(everyone!(row(&others, &changing, change) for OursDeferred));
            report.measure(point, rows)?;
        }
    }
    Ok(())
}

fn row<'a, C: Contender<'a> + 'a>(
    others: &'a Counters,
    changing: &'a Silent,
    change: Change,
) -> Row<'a> {
    Row::of::<C>(move |iterations| turn::<C>(others, changing, change, iterations))
}

fn turn<'a, C: Contender<'a>>(
    others: &'a Counters,
    changing: &'a Silent,
    change: Change,
    iterations: u64,
) -> io::Result<Turn> {
    let mut contender = C::new()?;
    for (source, data) in others.iter().zip(0..) {
        contender.register(source, Want::Read, data)?;
    }
    let keys = change.prepare(&mut contender, changing)?;
    let mut times = 0..;
    let mut round =
        |_| times.next().map_or(Ok(()), |nth| change.make(&mut contender, changing, &keys, nth));
    (0..2).try_for_each(&mut round)?;
    let start = Worked::start()?;
    (0..iterations).try_for_each(&mut round)?;
    Ok(Turn::timed(start.elapsed()?, iterations * CHANGING as u64))
}
