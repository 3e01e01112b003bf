//! Shared by the programs: parsing the command line, printing, ending.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use selectors::Waker;

/// The result of a program. Its error is printed as one line.
pub type Outcome<T = ExitCode> = Result<T, Box<dyn Error>>;

/// Parses the command line and runs the program. `parse` returns `None` to print the help. An error is
/// printed as one line on standard error, with exit code 2.
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

/// Prints a line. Ignores errors, such as a closed pipe.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Parses a number of seconds, more than 0 and at most 3600.
///
/// # Errors
///
/// A message if `text` is not such a number.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|time| !time.is_zero() && *time <= Duration::from_secs(3600))
        .ok_or_else(|| format!("{text:?} is not a number of seconds between 0 and 3600"))
}

/// Parses a count, from 1 to 1,000,000.
///
/// # Errors
///
/// A message if `text` is not such a number.
pub fn count(text: &str) -> Result<usize, String> {
    number(text, 1_000_000)
}

/// The options of a server with several threads or processes: `--listen ADDR` and `--workers N`.
#[derive(Debug)]
pub struct Serving {
    /// The address to listen on. By default 127.0.0.1:1234.
    pub listen: String,
    /// The number of threads or processes, 1 to 256, if given.
    pub workers: Option<usize>,
}

impl Serving {
    /// Parses the command line. Returns `None` for `--help`.
    ///
    /// # Errors
    ///
    /// An unknown option, an option without its value, or a number of workers outside 1 to 256.
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

/// Parses a number from 1 to `most`.
fn number(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number from 1 to {most}"))
}

/// A flag that is set when the user wants the program to end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that Ctrl-C and SIGTERM set, after which they wake the selector of `waker`. The second one
    /// ends the program at once, because it may be blocked in printing.
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

    /// Returns true if the flag was set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
