//! select(2), from `<sys/select.h>`, on Linux and Android: sets of `long` masks. The kernel
//! accepts sets longer than `FD_SETSIZE`; only the C library's macros do not.
#![doc = include_str!("example.md")]

use core::ffi::{c_int, c_ulong};

mod common;
pub use common::*;

pub use crate::linux_call::select;

/// One element of a set: `fd_mask`.
pub type FdMask = c_ulong;

/// The highest descriptor that the kernel accepts, if it has a limit of its own.
pub const MAX_DESCRIPTOR: Option<c_int> = None;

/// Whether a descriptor that is closed during the call is reported as ready in every set that it is in.
/// Otherwise the call fails with EBADF.
pub const CLOSED_IS_READY: bool = true;
