//! What the example programs share with their tests.

pub mod cli;
pub mod dns;
pub mod echo;
pub mod executor;
pub mod workers;
pub mod timers;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::raise_descriptor_limit;
#[cfg(windows)]
mod windows;
