//! The report: tables for people, CSV for programs.

use std::fmt::Write as _;
use std::io;

use super::measure::{Outcome, Pace, Row, Settings, Spread, compare};

/// Descriptors that the process needs in addition to the sources: its own, and those of contenders.
const OTHER_DESCRIPTORS: u64 = 64;

/// One set of parameters of a workload.
pub(crate) struct Point {
    pub(crate) parameters: String,
    pub(crate) unit: &'static str,
    pub(crate) pace: Pace,
}

/// The measurements at one point.
pub(crate) struct Measured {
    pub(crate) workload: &'static str,
    pub(crate) parameters: String,
    pub(crate) unit: &'static str,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Measures, prints, and stores the results.
pub(crate) struct Report {
    pub(crate) settings: Settings,
    descriptors: u64,
    workload: &'static str,
    pub(crate) measured: Vec<Measured>,
}

impl Report {
    /// `descriptors` may be open at once.
    pub(crate) fn new(settings: Settings, descriptors: u64) -> Self {
        Self { settings, descriptors, workload: "", measured: Vec::new() }
    }

    pub(crate) fn start(&mut self, workload: &'static str) {
        self.workload = workload;
        println!("\n{workload}\n{}", "=".repeat(workload.len()));
    }

    pub(crate) fn remark(text: &str) {
        println!("{text}");
    }

    /// The sizes at which a workload is measured. Small ones if it is only checked.
    pub(crate) fn scale(&self, sizes: &[usize]) -> Vec<usize> {
        let fits = |size: &usize| !self.settings.smoke || *size <= 10;
        let mut scale: Vec<_> = sizes.iter().copied().filter(fits).collect();
        if scale.is_empty() {
            scale.push(10);
        }
        scale
    }

    /// Returns true if a point that needs that many descriptors can be measured, and prints a message if
    /// not.
    pub(crate) fn affords(&self, point: &Point, descriptors: usize) -> bool {
        let affordable = descriptors as u64 + OTHER_DESCRIPTORS <= self.descriptors;
        if !affordable {
            let Self { workload, descriptors: limit, .. } = self;
            println!(
                "\n{workload}, {}: skipped, since it takes {descriptors} descriptors and the \
                 hard limit on open files is {limit}",
                point.parameters
            );
        }
        affordable
    }

    pub(crate) fn measure(&mut self, point: Point, mut rows: Vec<Row<'_>>) -> io::Result<()> {
        let Point { parameters, unit, pace } = point;
        let outcomes = compare(self.settings, pace, &mut rows)
            .map_err(|error| io::Error::new(error.kind(), format!("{parameters}: {error}")))?;
        let measured = Measured { workload: self.workload, parameters, unit, outcomes };
        if self.settings.smoke {
            println!("{} works", measured.parameters);
        } else {
            print!("\n{}", measured.table());
        }
        self.measured.push(measured);
        Ok(())
    }

    /// All results, one row for each contender at each point.
    pub(crate) fn csv(&self) -> String {
        let mut csv = "workload,parameters,contender,unit,low,median,high,\
                       base,ratio low,ratio median,ratio high,\
                       epoll low,epoll median,epoll high\n"
            .to_owned();
        let number = |value: f64| format!("{value:.4}");
        let spread = |Spread { low, median, high }| [low, median, high].map(number).join(",");
        for Measured { workload, parameters, unit, outcomes, .. } in &self.measured {
            for Outcome { name, base, value, ratio, of_epoll } in outcomes {
                let value = spread(*value);
                let [ratio, of_epoll] =
                    [ratio, of_epoll].map(|it| it.map_or_else(|| ",,".to_owned(), spread));
                _ = writeln!(
                    csv,
                    "{workload},\"{parameters}\",\"{name}\",{unit},{value},\"{base}\",{ratio},{of_epoll}"
                );
            }
        }
        csv
    }
}

impl Measured {
    fn table(&self) -> String {
        let Self { workload, parameters, unit, outcomes, .. } = self;
        let mut table = format!("{workload}, {parameters}: {unit}\n");
        _ = writeln!(
            table,
            "  {:<20} {:>10} {:>21} {:>9} {:>15}",
            "contender", "median", "quartiles", "ratio", "quartiles"
        );
        for Outcome { name, base, value, ratio, .. } in outcomes {
            let Spread { low, median, high } = *value;
            let quartiles = format!("{} … {}", short(low), short(high));
            _ = write!(table, "  {name:<20} {:>10} {quartiles:>21}", short(median));
            if let Some(Spread { low, median, high }) = ratio {
                let quartiles = format!("{low:.2} … {high:.2}");
                _ = write!(table, " {median:>9.2} {quartiles:>15} of {base}");
            }
            table.push('\n');
        }
        table
    }
}

/// About four digits.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 1_000.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}
