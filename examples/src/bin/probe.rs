//! Prints what the backends of this system support, and which cases of the conformance suite fail, for bug
//! reports.

use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};
use selectors::backend::AnyBackend;
use selectors::{Backend, BackendKind, Capabilities};
use selectors_examples::cli::{self, Outcome, say};
use selectors_testkit::conformance;

const HELP: &str = "\
Prints what the backends of this system support, and which cases of the
conformance suite fail. Include its output in a report about a backend.

Usage: probe [--capabilities] [BACKEND ...]

  BACKEND         epoll, kqueue, devpoll, poll or select [default: all that
                  work on this system]
  --capabilities  do not run the suite, which takes some seconds
  --help          print this text

The exit code is 1 if a case failed.
";

struct Options {
    backends: Vec<BackendKind>,
    suite: bool,
}

fn main() -> ExitCode {
    cli::run("probe", HELP, options, probe)
}

fn options(parser: &mut Parser) -> Outcome<Option<Options>> {
    let mut options = Options { backends: Vec::new(), suite: true };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") => return Ok(None),
            Arg::Long("capabilities") => options.suite = false,
            Arg::Value(name) => options.backends.push(name.parse()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if options.backends.is_empty() {
        options.backends = BackendKind::available();
    }
    Ok(Some(options))
}

fn probe(options: Options) -> Outcome {
    say(format_args!("selectors {} on {}", env!("CARGO_PKG_VERSION"), system()));
    say(format_args!("default: {}", BackendKind::default()));
    let mut failed = false;
    for kind in options.backends {
        let backend = AnyBackend::open(kind)?;
        say(format_args!("\n{kind}"));
        describe(&backend.capabilities());
        if options.suite {
            let report = conformance::run(|| AnyBackend::open(kind).map_err(std::io::Error::from));
            failed |= !report.failed.is_empty();
            say(format_args!("{report}"));
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn describe(capabilities: &Capabilities) {
    let facts = [
        ("edge", capabilities.edge),
        ("exclusive", capabilities.exclusive),
        ("priority", capabilities.priority),
        ("read_closed", capabilities.read_closed),
        ("hangup", capabilities.hangup),
        ("error", capabilities.error),
        ("write_hangup", capabilities.write_hangup),
        ("nesting", capabilities.nesting),
        ("waker", capabilities.waker),
    ];
    let (yes, no): (Vec<_>, Vec<_>) = facts.into_iter().partition(|&(_, has)| has);
    let names = |facts: Vec<(&'static str, bool)>| {
        facts.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    };
    say(format_args!("  has: {}", names(yes)));
    say(format_args!("  lacks: {}", names(no)));
    say(format_args!("  timeout resolution: {:?}", capabilities.timeout_resolution));
    if let Some(limit) = capabilities.max_descriptor {
        say(format_args!("  highest descriptor: {limit}"));
    }
}

/// The name of the system, its release and its architecture.
fn system() -> String {
    #[cfg(unix)]
    if let Ok(names) = nix::sys::utsname::uname() {
        let names = [names.sysname(), names.release(), names.version(), names.machine()];
        return names.map(|name| name.to_string_lossy().into_owned()).join(" ");
    }
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}
