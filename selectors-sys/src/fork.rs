//! pthread_atfork(3): handlers that run around fork(2).

pub use libc::pthread_atfork;
