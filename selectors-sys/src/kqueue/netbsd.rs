//! kqueue(2), from `<sys/event.h>`: NetBSD.
//!
//! The fields and the counts are wider than on other systems, and the filters are numbered from 0. This
//! is the interface `__kevent50`, which every NetBSD since 6.0 has; NetBSD 10 added another one with a
//! longer structure. `EVFILT_USER` exists since NetBSD 10; older kernels return EINVAL for it.
#![doc = include_str!("example.md")]

use core::mem::size_of;

mod common;
pub use common::EV_SET;
mod native;
pub use native::*;

/// The type of `kevent.filter`: `uint32_t`.
pub type Filter = u32;
/// The type of `kevent.flags`: `uint32_t`.
pub type Flags = u32;
/// The type of `kevent.data`: `int64_t`.
pub type Data = i64;
/// The type of kevent(2)'s two counts: `size_t`.
pub type Count = usize;

/// Whether `EVFILT_WRITE` on the reading end of a pipe reports that the writing end was closed.
pub const WRITE_SEES_HANGUP: bool = true;
/// Whether the filters of a named pipe report that its other end was closed.
pub const NAMED_PIPES_END: bool = true;

const _: () = assert!(size_of::<usize>() == 4 || size_of::<kevent>() == 40);
