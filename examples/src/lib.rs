//! What the example programs share with their tests.

pub mod echo;
pub mod executor;
pub mod workers;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::raise_descriptor_limit;
#[cfg(windows)]
mod windows;
