//! What the programs have in common: how they start, what they say, how they end.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use selectors::Waker;

/// What a program returns, with an error of one line.
pub type Outcome<T = ExitCode> = Result<T, Box<dyn Error>>;

/// Parses the command line and runs the program. `parse` returns no options if help is asked for.
/// An error is one line on standard error and exit code 2.
pub fn run<O>(
    name: &str,
    help: &str,
    parse: impl FnOnce(&mut Parser) -> Outcome<Option<O>>,
    program: impl FnOnce(O) -> Outcome,
) -> ExitCode {
    let result = match parse(&mut Parser::from_env()) {
        Ok(Some(options)) => program(options),
        Ok(None) => {
            say(format_args!("{}", help.trim_end()));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(format!("{error} (try --help)").into()),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{name}: {error}");
        ExitCode::from(2)
    })
}

/// Prints a line. A program goes on when nobody reads it any more.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Parses a number of seconds, more than none and at most an hour.
///
/// # Errors
///
/// That it is something else.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|time| !time.is_zero() && *time <= Duration::from_secs(3600))
        .ok_or_else(|| format!("{text:?} is no number of seconds between 0 and 3600"))
}

/// Parses how many of something there may be: at least one, at most a million.
///
/// # Errors
///
/// That it is something else.
pub fn count(text: &str) -> Result<usize, String> {
    number(text, 1_000_000)
}

/// How a server with several threads or processes is started: `--listen ADDR` and `--workers N`.
#[derive(Debug)]
pub struct Serving {
    /// Where to listen: 127.0.0.1:1234 if nothing else is asked for.
    pub listen: String,
    /// How many threads or processes to have, 1 to 256, if asked for.
    pub workers: Option<usize>,
}

impl Serving {
    /// Parses the command line. Returns nothing if help is asked for.
    ///
    /// # Errors
    ///
    /// That it is something else.
    pub fn parse(arguments: &mut Parser) -> Outcome<Option<Self>> {
        let mut options = Self { listen: "127.0.0.1:1234".to_owned(), workers: None };
        while let Some(argument) = arguments.next()? {
            match argument {
                Arg::Long("listen") => options.listen = arguments.value()?.string()?,
                Arg::Long("workers") => {
                    let workers = arguments.value()?.parse_with(|text| number(text, 256))?;
                    options.workers = Some(workers);
                }
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

/// Parses a number, at least one.
fn number(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is no number from 1 to {most}"))
}

/// Whether the user wants the program to end, which is not so at first.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Is set by Ctrl-C and SIGTERM, which end the wait of the selector that `waker` belongs to. The
    /// second one ends the program, which may be waiting for who reads what it prints.
    ///
    /// # Errors
    ///
    /// Those of installing a signal handler.
    pub fn on_interrupt(waker: Waker) -> Outcome<Self> {
        let stop = Self(Arc::default());
        let flag = Arc::clone(&stop.0);
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::AcqRel) {
                process::exit(130);
            }
            let _ = waker.wake();
        })?;
        Ok(stop)
    }

    /// Whether it was set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
