//! select(2), from `<sys/select.h>`, on macOS, iOS and the other Apple systems: sets of 32-bit masks.
#![doc = include_str!("example.md")]

use core::ffi::c_int;

mod common;
pub use common::*;

unsafe extern "C" {
    /// select(2) in the variant that a C program gets by defining `_DARWIN_UNLIMITED_SELECT`:
    /// the plain one refuses more than `FD_SETSIZE` descriptors with EINVAL.
    #[link_name = "select$DARWIN_EXTSN"]
    pub fn select(
        nfds: c_int,
        readfds: *mut fd_set,
        writefds: *mut fd_set,
        errorfds: *mut fd_set,
        timeout: *mut timeval,
    ) -> c_int;
}

/// One element of a set: `__int32_t` in the header; the sign has no meaning.
pub type FdMask = u32;

/// The highest descriptor that the kernel accepts, if it has a limit of its own.
pub const MAX_DESCRIPTOR: Option<c_int> = None;

/// Whether a descriptor that is closed during the call is reported as ready in every set that it is in.
/// Otherwise the call fails with EBADF.
pub const CLOSED_IS_READY: bool = false;
