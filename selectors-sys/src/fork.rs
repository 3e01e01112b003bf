//! Hooks around fork(2): pthread_atfork(3), of POSIX.

pub use libc::pthread_atfork;
