//! An echo server with a selector for each core, whose workers hand connections to each other:
//! `worker-echo [ADDRESS [WORKERS]]`, until Ctrl-C.

use std::error::Error;
use std::thread;

use selectors::BackendKind;
use selectors_examples::workers::Server;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:1234".to_owned());
    let workers = match arguments.next() {
        Some(workers) => workers.parse()?,
        None => thread::available_parallelism()?.get(),
    };
    let server = Server::bind(&address, BackendKind::default(), workers)?;
    let stopper = server.stopper();
    ctrlc::set_handler(move || {
        if let Err(error) = stopper.stop() {
            eprintln!("worker-echo: cannot stop: {error}");
        }
    })?;
    println!("listening on {} with {workers} workers", server.address()?);
    println!("{:?}", server.run()?);
    Ok(())
}
