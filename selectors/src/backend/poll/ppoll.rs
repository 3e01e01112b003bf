//! The waiting call of the poll backend where the system has ppoll(2).

use std::io;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::poll as sys;

use crate::timeout::seconds_and_nanos;

/// The finest timeout that makes a difference.
pub(super) const GRAIN: Duration = Duration::from_nanos(1);

/// Waits, and returns how many of `fds` have something to say.
pub(super) fn poll(fds: &mut [sys::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.map(|timeout| {
        let (tv_sec, tv_nsec) = seconds_and_nanos(timeout);
        sys::timespec { tv_sec, tv_nsec }
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = sys::nfds_t::try_from(fds.len()).map_err(io::Error::other)?;
    // SAFETY: `fds` is ours to be written, `timeout` is null or outlives the call.
    let ready = unsafe { sys::ppoll(fds.as_mut_ptr(), count, timeout, ptr::null()) };
    Ok(usize::try_from(Errno::result(ready)?).unwrap_or(0))
}
