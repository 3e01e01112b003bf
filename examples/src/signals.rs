//! Signals as a source of a selector.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};
use signal_hook::{SigId, flag};

/// Becomes readable when one of its signals arrives, until it is dropped.
#[derive(Debug)]
pub struct Signals {
    arrived: UnixStream,
    actions: Vec<SigId>,
}

impl Signals {
    /// Waits for these signals.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2) and sigaction(2).
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let (arrived, handlers) = UnixStream::pair()?;
        arrived.set_nonblocking(true)?;
        let mut this = Self { arrived, actions: Vec::new() };
        for &signal in signals {
            this.actions.push(pipe::register(signal, handlers.try_clone()?)?);
        }
        Ok(this)
    }

    /// Takes the signals that arrived, after which this is no longer readable.
    pub fn take(&mut self) {
        while self.arrived.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for &action in &self.actions {
            unregister(action);
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}

/// Returns a flag that Ctrl-C and SIGTERM set. Call it before creating [`Signals`] for them, so that the
/// flag is set before they become readable.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
