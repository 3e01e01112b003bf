//! An echo server whose workers hand connections to each other.

use std::process::ExitCode;
use std::thread;

use selectors::BackendKind;
use selectors_examples::cli::{self, Outcome, Serving, say};
use selectors_examples::workers::{Server, Summary};

const HELP: &str = "\
An echo server whose worker threads have a selector each. Runs until Ctrl-C.

Usage: worker-echo [--listen ADDR] [--workers N]

  --listen ADDR  the address to listen on [default: 127.0.0.1:1234]; with
                 port 0 the system chooses a port, which is printed
  --workers N    the number of threads, 1 to 256 [default: one for each
                 processor]
  --help         print this text
";

fn main() -> ExitCode {
    cli::run("worker-echo", HELP, Serving::parse, |options| serve(&options))
}

fn serve(options: &Serving) -> Outcome {
    let workers = match options.workers {
        Some(workers) => workers,
        None => thread::available_parallelism()?.get(),
    };
    let server = Server::bind(&options.listen, BackendKind::default(), workers)?;
    let stopper = server.stopper();
    ctrlc::set_handler(move || {
        if let Err(error) = stopper.stop() {
            eprintln!("worker-echo: cannot stop: {error}");
        }
    })?;
    say(format_args!("listening on {} ({workers} workers)", server.address()?));
    let Summary { accepted, handed_over } = server.run()?;
    say(format_args!("accepted {accepted} connections, handed over {handed_over}"));
    Ok(ExitCode::SUCCESS)
}
