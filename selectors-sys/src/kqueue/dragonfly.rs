//! kqueue(2), from `<sys/event.h>`: DragonFly.
#![doc = include_str!("example.md")]

use core::ffi::c_int;
use core::mem::size_of;

mod common;
pub use common::EV_SET;
mod native;
pub use native::*;

/// The type of `kevent.filter`: `short`.
pub type Filter = i16;
/// The type of `kevent.flags`: `unsigned short`.
pub type Flags = u16;
/// The type of `kevent.data`: `intptr_t`.
pub type Data = isize;
/// The type of kevent(2)'s two counts: `int`.
pub type Count = c_int;

/// Whether `EVFILT_WRITE` on the reading end of a pipe reports that the writing end was closed.
pub const WRITE_SEES_HANGUP: bool = true;
/// Whether the filters of a named pipe report that its other end was closed.
pub const NAMED_PIPES_END: bool = true;

const _: () = assert!(size_of::<kevent>() == 3 * size_of::<usize>() + 8);
