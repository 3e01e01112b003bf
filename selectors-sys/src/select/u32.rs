//! select(2), from `<sys/select.h>`, on NetBSD and OpenBSD: sets of 32-bit masks.
//! These kernels accept sets longer than `FD_SETSIZE`; only the C library's macros do not.
#![doc = include_str!("example.md")]

use core::ffi::c_int;

mod common;
pub use common::*;

/// select(2). It may write the remaining time to the timeout.
pub use libc::select;

/// One element of a set: `fd_mask`.
pub type FdMask = u32;

/// The highest descriptor that the kernel accepts, if it has a limit of its own.
pub const MAX_DESCRIPTOR: Option<c_int> = None;

/// Whether a descriptor that is closed during the call is reported as ready in every set that it is in.
/// Otherwise the call fails with EBADF.
pub const CLOSED_IS_READY: bool = false;
