//! select(3C), from `<sys/select.h>`, on illumos and Solaris: sets of `long` masks,
//! and a library function over poll(2) that refuses more than `FD_SETSIZE` descriptors.
#![doc = include_str!("example.md")]

use core::ffi::{c_int, c_ulong};

mod common;
pub use common::*;

/// select(3C). It may write the remaining time to the timeout.
pub use libc::select;

/// One element of a set: `fd_mask`.
pub type FdMask = c_ulong;

/// The highest descriptor that the library takes: `FD_SETSIZE` is 65,536 in 64-bit programs
/// and 1,024 in 32-bit ones.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "65,536 fits")]
pub const MAX_DESCRIPTOR: Option<c_int> = Some(libc::FD_SETSIZE as c_int - 1);

/// Whether a descriptor that is closed during the call is reported as ready in every set that it is in.
/// Otherwise the call fails with EBADF.
pub const CLOSED_IS_READY: bool = false;
