//! An echo server as async tasks: `async-echo [ADDRESS [WORKERS]]`.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use selectors::BackendKind;
use selectors_examples::executor::run;

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:1234".to_owned());
    let workers = arguments.next().map_or(Ok(2), |workers| workers.parse());
    let workers = workers.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    run(BackendKind::default(), workers, |executor| async move {
        let listener = executor.socket(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            let client = executor.socket(stream)?;
            let timers = executor.clone();
            executor.spawn(async move {
                let mut buffer = [0; 4096];
                // A client that is silent for too long, or has gone, is dropped.
                while let Some(Ok(count @ 1..)) =
                    timers.timeout(PATIENCE, client.read(&mut buffer)).await
                {
                    if client.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })?
}
