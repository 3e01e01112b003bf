//! kqueue(2), from `<sys/event.h>`: FreeBSD, from version 12.
#![doc = include_str!("example.md")]

use core::ffi::c_int;
use core::mem::{offset_of, size_of};

mod common;
pub use common::EV_SET;
mod native;
pub use native::*;

/// The type of `kevent.filter`: `short`.
pub type Filter = i16;
/// The type of `kevent.flags`: `unsigned short`.
pub type Flags = u16;
/// The type of `kevent.data`: `int64_t`.
pub type Data = i64;
/// The type of kevent(2)'s two counts: `int`.
pub type Count = c_int;

/// Whether `EVFILT_WRITE` on the reading end of a pipe reports that the writing end was closed.
/// FreeBSD 12.3 does. Since FreeBSD 14 a filter for the direction that a pipe does not have
/// reports nothing.
pub const WRITE_SEES_HANGUP: bool = false;
/// Whether the filters of a named pipe report that its other end was closed.
pub const NAMED_PIPES_END: bool = true;

const _: () = {
    assert!(offset_of!(kevent, ext) % 8 == 0);
    assert!(size_of::<kevent>() == offset_of!(kevent, ext) + 32);
    assert!(size_of::<usize>() == 4 || size_of::<kevent>() == 64);
};
