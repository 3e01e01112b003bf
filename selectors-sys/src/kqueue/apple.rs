//! kqueue(2), from `<sys/event.h>`: macOS, iOS and the other Apple systems.
#![doc = include_str!("example.md")]

use core::ffi::c_int;
use core::mem::size_of;

mod common;
pub use common::EV_SET;
mod native;
pub use native::*;

/// The type of `kevent.filter`: `int16_t`.
pub type Filter = i16;
/// The type of `kevent.flags`: `uint16_t`.
pub type Flags = u16;
/// The type of `kevent.data`: `intptr_t`.
pub type Data = isize;
/// The type of kevent(2)'s two counts: `int`.
pub type Count = c_int;

/// Whether `EVFILT_WRITE` on the reading end of a pipe reports that the writing end was closed.
/// XNU: `filt_pipe_draincommon()`.
pub const WRITE_SEES_HANGUP: bool = true;
/// Whether the filters of a named pipe report that its other end was closed. XNU's consider only how
/// much data there is to read or room to write: `filt_vnode_common()`.
pub const NAMED_PIPES_END: bool = false;

const _: () = assert!(size_of::<kevent>() == 3 * size_of::<usize>() + 8);
