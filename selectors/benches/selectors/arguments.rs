//! The command line.

use std::path::PathBuf;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
Measures selectors beside bare system calls and beside other libraries.

cargo bench -p selectors -- [OPTION]... [WORKLOAD]...

A WORKLOAD is the beginning of the name of one, or several of them; without any, all are measured.

    --short       few rounds: done in two minutes, and noisy
    --list        prints the names of the workloads
    --out FOLDER  where to put results.csv and machine.txt [target/bench]
    --help        prints this

    --count CONTENDER OPERATION TIMES
                  does one thing so often and prints nothing; for .ci/instructions
";

/// What the program does.
pub(crate) enum Task {
    Help,
    List,
    Measure(Measure),
    /// Repeats one operation of one contender.
    Count(String, String, u64),
}

#[derive(Debug, Default)]
pub(crate) struct Measure {
    pub(crate) short: bool,
    /// Whether cargo runs this as a benchmark, not as a test.
    pub(crate) bench: bool,
    pub(crate) out: Option<PathBuf>,
    /// Prefixes of the names of workloads. Empty for all of them.
    pub(crate) workloads: Vec<String>,
}

impl Measure {
    pub(crate) fn includes(&self, workload: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|name| workload.starts_with(name))
    }
}

/// Reads the command line.
pub(crate) fn parse() -> Result<Task, lexopt::Error> {
    let mut measure = Measure::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Task::Help),
            Long("list") => return Ok(Task::List),
            Long("short") => measure.short = true,
            Long("out") => measure.out = Some(parser.value()?.into()),
            Long("count") => {
                let mut next = || parser.value().and_then(ValueExt::string);
                let (contender, operation) = (next()?, next()?);
                return Ok(Task::Count(contender, operation, parser.value()?.parse()?));
            }
            // Passed by cargo.
            Long("bench") => measure.bench = true,
            Value(name) => measure.workloads.push(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Task::Measure(measure))
}
