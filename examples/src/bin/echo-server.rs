//! The echo server of Python's `selectors` documentation, with back-pressure.

use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};
use selectors::BackendKind;
use selectors_examples::cli::{self, Outcome, Stop, say};
use selectors_examples::echo::Server;
use selectors_examples::log::Log;

const HELP: &str = "\
An echo server: sends back what it receives. Runs until Ctrl-C.

Usage: echo-server [--listen ADDR] [--backend NAME]

  --listen ADDR   the address to listen on [default: 127.0.0.1:1234]; with
                  port 0 the system chooses a port, which is printed
  --backend NAME  epoll, kqueue, devpoll, poll or select
                  [default: the best that works on this system]
  --help          print this text
";

struct Options {
    listen: String,
    backend: BackendKind,
}

fn main() -> ExitCode {
    cli::run("echo-server", HELP, options, |options| {
        let mut server = Server::bind(&options.listen, options.backend)?;
        let stop = Stop::on_interrupt(server.waker()?)?;
        say(format_args!("listening on {} ({})", server.address(), options.backend));
        let log = Log::new();
        let summary = server.run(&stop, |line| log.line(line))?;
        log.line(format_args!("{summary}"));
        log.close();
        Ok(ExitCode::SUCCESS)
    })
}

fn options(arguments: &mut Parser) -> Outcome<Option<Options>> {
    let mut options =
        Options { listen: "127.0.0.1:1234".to_owned(), backend: BackendKind::default() };
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
