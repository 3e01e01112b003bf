//! The echo server of Python's `selectors` documentation, done properly: sends back to every
//! client what it receives, until Ctrl-C.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};
use selectors::BackendKind;
use selectors_examples::echo::Server;

const HELP: &str = "\
Sends back to every client what it receives, until Ctrl-C.

Usage: echo-server [--listen ADDR] [--backend NAME]

  --listen ADDR   where to listen [default: 127.0.0.1:1234]; with port 0 the
                  system chooses a port, and the first line says which
  --backend NAME  what to wait with: epoll, kqueue, devpoll, poll or select
                  [default: the best that works here]
  --help          this text
";

struct Options {
    listen: String,
    backend: BackendKind,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(format_args!("{}", HELP.trim_end()));
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&format!("{error} (try --help)")),
    };
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    #[cfg(unix)]
    if let Err(error) = selectors_examples::raise_descriptor_limit() {
        complain(&format!("cannot raise the limit on descriptors: {error}"));
    }
    let mut server = Server::bind(&options.listen, options.backend)?;
    let stopper = server.stopper()?;
    ctrlc::set_handler(move || {
        if let Err(error) = stopper.stop() {
            complain(&format!("cannot stop: {error}"));
        }
    })?;
    say(format_args!("listening on {} ({})", server.address(), options.backend));
    let summary = server.run(say)?;
    say(format_args!("{summary}"));
    Ok(())
}

fn options() -> Result<Option<Options>, Box<dyn Error>> {
    let mut options =
        Options { listen: "127.0.0.1:1234".to_owned(), backend: BackendKind::default() };
    let mut arguments = Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("listen") => options.listen = arguments.value()?.string()?,
            Arg::Long("backend") => options.backend = arguments.value()?.string()?.parse()?,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

/// Prints a line. Whether anybody still reads it is no concern of the clients.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a line for whoever has to do something about it.
fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "echo-server: {message}");
}

fn fail(message: &str) -> ExitCode {
    complain(message);
    ExitCode::from(2)
}
