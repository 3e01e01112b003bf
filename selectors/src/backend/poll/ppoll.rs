//! The waiting call of the poll backend where the system has ppoll(2).

use std::io;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::poll as sys;

use crate::timeout::{millis_rounded_up, seconds_and_nanos};

/// The finest timeout that makes a difference.
pub(super) const GRAIN: Duration = Duration::from_nanos(1);

/// Waits, and returns how many of `fds` have something to say.
pub(super) fn poll(fds: &mut [sys::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let count = sys::nfds_t::try_from(fds.len()).map_err(io::Error::other)?;
    let fds = fds.as_mut_ptr();
    let ready = match timeout.filter(|timeout| timeout.subsec_nanos() % 1_000_000 != 0) {
        // Quicker, by what the kernel does for a signal mask and for the time that is left.
        // SAFETY: `fds` points to `count` elements that are ours to be written.
        None => unsafe { sys::poll(fds, count, millis_rounded_up(timeout)) },
        Some(fine) => {
            let (tv_sec, tv_nsec) = seconds_and_nanos(fine);
            let timeout = sys::timespec { tv_sec, tv_nsec };
            // SAFETY: as above, and `timeout` outlives the call.
            unsafe { sys::ppoll(fds, count, &raw const timeout, ptr::null()) }
        }
    };
    Ok(usize::try_from(Errno::result(ready)?).unwrap_or(0))
}
