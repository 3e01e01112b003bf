//! Shared by the example programs and their tests.

pub mod acceptor;
pub mod back_off;
pub mod changes;
pub mod cli;
pub mod connect;
pub mod dns;
pub mod echo;
pub mod executor;
pub mod http;
pub mod lines;
pub mod log;
pub mod relay;
pub mod server;
pub mod timers;
pub mod workers;

#[cfg(unix)]
pub mod signals;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{set_nonblocking, shell, write_some};
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
#[path = "send_file/linux.rs"]
mod send_file;
#[cfg(not(target_os = "linux"))]
#[path = "send_file/other.rs"]
mod send_file;
pub use send_file::send_file;

#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
pub mod tty;
