//! selectors-testkit
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "fork, signals, and descriptors that are closed when borrowed")]
pub mod fixtures;
