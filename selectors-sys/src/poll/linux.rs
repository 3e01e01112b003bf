//! poll(2) and ppoll(2), from `<poll.h>`, as Linux and Android have them.

mod common;
pub use common::*;

/// The peer has shut down its writing half: poll(2), Linux 2.6.17.
pub use libc::POLLRDHUP;
/// ppoll(2): poll(2) at nanosecond grain. The kernel may write the remaining time through
/// `timeout`, the C libraries keep that from their callers.
pub use libc::ppoll;
