//! What a backend declares that it can do.

use std::time::Duration;

use super::RawSource;

/// What a backend can do beyond what every one must.
///
/// What is declared must work; what is not is refused by the selector, with
/// [`Error::Unsupported`](crate::Error::Unsupported) or
/// [`Error::DescriptorOutOfRange`](crate::Error::DescriptorOutOfRange), and does not reach the
/// backend.
///
/// # Examples
///
/// ```
/// use selectors::backend::Capabilities;
///
/// let capabilities = Capabilities { edge: true, ..Capabilities::default() };
/// assert!(capabilities.waker && !capabilities.exclusive);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Capabilities {
    /// [`Mode::Edge`](crate::Mode::Edge) works.
    pub edge: bool,
    /// [`Mode::Exclusive`](crate::Mode::Exclusive) works.
    pub exclusive: bool,
    /// [`Interest::PRIORITY`](crate::Interest::PRIORITY) works.
    pub priority: bool,
    /// A half-closed peer shows as [`READ_CLOSED`](crate::Readiness::READ_CLOSED).
    pub read_closed: bool,
    /// Both directions gone shows as [`HANGUP`](crate::Readiness::HANGUP).
    pub hangup: bool,
    /// A pending error shows as [`ERROR`](crate::Readiness::ERROR).
    pub error: bool,
    /// A hang-up wakes a source that is watched for WRITE only.
    pub write_hangup: bool,
    /// The backend has a [`descriptor`](super::Backend::descriptor) that can be watched.
    pub nesting: bool,
    /// Another thread can end a wait. True by default.
    pub waker: bool,
    /// READ and WRITE of one source may come as two events, for the selector to merge.
    pub separate_directions: bool,
    /// Changes are deferred until the next wait, and so are their errors: see
    /// [`Deferred`](super::Deferred).
    pub deferred: bool,
    /// A wait costs the same whatever the number of idle sources, so looking without waiting
    /// before waiting is cheap.
    pub constant_wait: bool,
    /// The finest timeout that makes a difference; finer ones are rounded up to it. One
    /// millisecond by default.
    pub timeout_grain: Duration,
    /// The highest descriptor that can be watched, where there is a limit.
    pub max_descriptor: Option<RawSource>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            edge: false,
            exclusive: false,
            priority: false,
            read_closed: false,
            hangup: false,
            error: false,
            write_hangup: false,
            nesting: false,
            waker: true,
            separate_directions: false,
            deferred: false,
            constant_wait: false,
            timeout_grain: Duration::from_millis(1),
            max_descriptor: None,
        }
    }
}
