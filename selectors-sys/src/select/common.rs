//! select(2), from `<sys/select.h>`: what is the same on every Unix.

use core::mem::size_of;

pub use libc::{fd_set, timeval};

use super::FdMask;

/// Descriptors per [`FdMask`]: `NFDBITS` of `<sys/select.h>`.
pub const NFDBITS: usize = FdMask::BITS as usize;

// A set of any length is a whole number of masks, as the one of fixed length is.
const _: () = assert!(size_of::<fd_set>() % size_of::<FdMask>() == 0);
const _: () = assert!(align_of::<fd_set>() == align_of::<FdMask>());
