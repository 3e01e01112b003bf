//! The optional features that a backend declares.

use std::time::Duration;

use super::RawSource;

/// What a backend supports beyond what every backend must.
///
/// A declared feature must work. The selector refuses the others, with
/// [`Error::Unsupported`](crate::Error::Unsupported) or
/// [`Error::DescriptorOutOfRange`](crate::Error::DescriptorOutOfRange), before they reach the backend.
///
/// # Examples
///
/// ```
/// use selectors::backend::Capabilities;
///
/// let mut capabilities = Capabilities::default();
/// capabilities.edge = true;
/// assert!(capabilities.waker && !capabilities.exclusive);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
pub struct Capabilities {
    /// [`Mode::Edge`](crate::Mode::Edge) is supported.
    pub edge: bool,
    /// [`Mode::Exclusive`](crate::Mode::Exclusive) is supported.
    pub exclusive: bool,
    /// [`Interest::PRIORITY`](crate::Interest::PRIORITY) is supported.
    pub priority: bool,
    /// A half-closed peer is reported with [`READ_CLOSED`](crate::Readiness::READ_CLOSED).
    pub read_closed: bool,
    /// A shutdown of both directions is reported with [`HANGUP`](crate::Readiness::HANGUP).
    pub hangup: bool,
    /// A pending error is reported with [`ERROR`](crate::Readiness::ERROR).
    pub error: bool,
    /// A hang-up is reported for a source that is watched for WRITE only.
    pub write_hangup: bool,
    /// The backend has a [`descriptor`](super::Backend::descriptor) that can be watched.
    pub nesting: bool,
    /// Another thread can end a wait. True by default.
    pub waker: bool,
    /// The backend may report READ and WRITE of one source as two events, which the selector merges.
    pub separate_directions: bool,
    /// Changes, and their errors, are deferred until the next wait: see
    /// [`Deferred`](super::Deferred). A [`SharedSelector`](crate::SharedSelector) refuses such a
    /// backend.
    pub deferred: bool,
    /// The cost of a wait does not depend on the number of idle sources, so that polling without
    /// blocking before a wait is cheap.
    pub constant_wait: bool,
    /// The resolution of timeouts, to which finer ones are rounded up. One millisecond by default.
    pub timeout_resolution: Duration,
    /// The highest descriptor that can be watched, if there is a limit.
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
            timeout_resolution: Duration::from_millis(1),
            max_descriptor: None,
        }
    }
}
