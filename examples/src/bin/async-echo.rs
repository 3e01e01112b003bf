//! An echo server as async tasks.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use selectors::BackendKind;
use selectors_examples::acceptor::{PAUSE, listen};
use selectors_examples::cli::{self, Outcome, Serving, say};
use selectors_examples::executor::run;

const HELP: &str = "\
An echo server as async tasks. Runs until Ctrl-C.

Usage: async-echo [--listen ADDR] [--workers N]

  --listen ADDR  the address to listen on [default: 127.0.0.1:1234]; with
                 port 0 the system chooses a port, which is printed
  --workers N    the number of threads that run tasks, 1 to 256 [default: 2]
  --help         print this text
";

/// How long a client may be idle.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    cli::run("async-echo", HELP, Serving::parse, |options| serve(&options))
}

fn serve(options: &Serving) -> Outcome {
    let listener = listen(&options.listen)?;
    say(format_args!("listening on {}", listener.local_addr()?));
    let served: io::Result<()> =
        run(BackendKind::default(), options.workers.unwrap_or(2), |executor| async move {
            let listener = executor.socket(listener)?;
            loop {
                let accepted = listener.accept().await;
                let Ok(client) = accepted.and_then(|(stream, _peer)| executor.socket(stream))
                else {
                    // For example out of descriptors: pending connections are accepted later.
                    executor.sleep(PAUSE).await;
                    continue;
                };
                let timers = executor.clone();
                executor.spawn(async move {
                    let mut buffer = [0; 4096];
                    // A client that is idle for too long, or has disconnected, is dropped.
                    while let Some(Ok(count @ 1..)) =
                        timers.timeout(PATIENCE, client.read(&mut buffer)).await
                    {
                        if client.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        })?;
    served?;
    Ok(ExitCode::SUCCESS)
}
