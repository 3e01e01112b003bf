//! pthread_atfork(3): handlers that run around fork(2).
//!
//! # Examples
//!
//! ```
//! use selectors_sys::fork::pthread_atfork;
//!
//! unsafe extern "C" fn in_child() {}
//!
//! // SAFETY: the handler does nothing, which is async-signal-safe.
//! let error = unsafe { pthread_atfork(None, None, Some(in_child)) };
//! assert_eq!(error, 0);
//! ```

/// pthread_atfork(3): installs up to three handlers. Returns 0 or an errno.
pub use libc::pthread_atfork;
