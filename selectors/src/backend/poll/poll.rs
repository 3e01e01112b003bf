//! The waiting call of the poll backend where the system has no more than poll(2).

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::poll as sys;

use crate::timeout::millis_rounded_up;

/// The finest timeout that makes a difference.
pub(super) const GRAIN: Duration = Duration::from_millis(1);

/// Waits, and returns how many of `fds` have something to say.
pub(super) fn poll(fds: &mut [sys::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let count = sys::nfds_t::try_from(fds.len()).map_err(io::Error::other)?;
    // SAFETY: `fds` is ours to be written.
    let ready = unsafe { sys::poll(fds.as_mut_ptr(), count, millis_rounded_up(timeout)) };
    Ok(usize::try_from(Errno::result(ready)?).unwrap_or(0))
}
