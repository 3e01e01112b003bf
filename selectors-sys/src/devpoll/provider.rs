//! /dev/poll on Linux, for tests: the four calls as external symbols, and illumos's layout.
//!
//! They are C functions:
//!
//! ```c
//! int     devpoll_open(const char *path, int flags);
//! ssize_t devpoll_write(int fd, const void *pollfds, size_t bytes);
//! int     devpoll_ioctl(int fd, int request, void *argument);
//! int     devpoll_close(int fd);
//! ```
//!
//! They have names of their own because a test process also needs the C library's. Errors in `errno`,
//! the flags of open(2) and the events of poll(2) have Linux's numbers. Those of the events equal
//! illumos's, except some that the library does not use. The functions are linked from the emulation in
//! `selectors-testkit`, or as the environment variable `SELECTORS_DEVPOLL_LIB` says when this crate is
//! built: from a shared library with these four, or, if it is `libc`, from the C library as open, write,
//! ioctl and close, which a preloaded library can then replace.
#![doc = include_str!("example.md")]

use core::ffi::{c_char, c_int, c_void};

/// A set of signals, which `DP_POLL` ignores.
pub use libc::sigset_t;

mod common;
pub use common::*;
mod layout;
pub use layout::dvpoll;

unsafe extern "C" {
    /// open(2), for the device.
    #[cfg_attr(not(devpoll_in_libc), link_name = "devpoll_open")]
    pub fn open(path: *const c_char, flags: c_int) -> c_int;
    /// write(2): changes the set of an open device.
    #[cfg_attr(not(devpoll_in_libc), link_name = "devpoll_write")]
    pub fn write(fd: c_int, buffer: *const c_void, size: usize) -> isize;
    /// ioctl(2): `DP_POLL` and `DP_ISPOLLED`.
    #[cfg_attr(not(devpoll_in_libc), link_name = "devpoll_ioctl")]
    pub fn ioctl(fd: c_int, request: c_int, argument: *mut c_void) -> c_int;
    /// close(2).
    #[cfg_attr(not(devpoll_in_libc), link_name = "devpoll_close")]
    pub fn close(fd: c_int) -> c_int;
}
