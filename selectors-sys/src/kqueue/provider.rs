//! kqueue(2) on Linux, for tests: the two calls as external symbols, and the layout and constants of
//! libkqueue's `<sys/event.h>`.
//!
//! They are linked from the emulation in `selectors-testkit`, or from the shared library that the
//! environment variable `SELECTORS_KQUEUE_LIB` names when this crate is built.
#![doc = include_str!("example.md")]

use core::ffi::{c_int, c_void};
use core::mem::size_of;

/// `struct timespec`, the timeout of kevent(2).
pub use libc::timespec;

mod common;
pub use common::EV_SET;

/// The type of `kevent.filter`: `short`.
pub type Filter = i16;
/// The type of `kevent.flags`: `unsigned short`.
pub type Flags = u16;
/// The type of `kevent.data`: `intptr_t`.
pub type Data = isize;
/// The type of kevent(2)'s two counts: `int`.
pub type Count = c_int;

/// Data to read, or its end.
pub const EVFILT_READ: Filter = -1;
/// Space to write.
pub const EVFILT_WRITE: Filter = -2;
/// A timer.
pub const EVFILT_TIMER: Filter = -7;
/// An event that programs trigger.
pub const EVFILT_USER: Filter = -11;

/// Adds a filter, or changes an existing one.
pub const EV_ADD: Flags = 0x1;
/// Removes a filter.
pub const EV_DELETE: Flags = 0x2;
/// Enables a filter.
pub const EV_ENABLE: Flags = 0x4;
/// Disables a filter.
pub const EV_DISABLE: Flags = 0x8;
/// Removes the filter after its first event.
pub const EV_ONESHOT: Flags = 0x10;
/// Edge-triggered: reports changes only.
pub const EV_CLEAR: Flags = 0x20;
/// Reports each change as an `EV_ERROR` event whose data is zero where it succeeded.
pub const EV_RECEIPT: Flags = 0x40;
/// Disables the filter after each event.
pub const EV_DISPATCH: Flags = 0x80;
/// In events: a change failed; `data` is the errno.
pub const EV_ERROR: Flags = 0x4000;
/// In events: end-of-file.
pub const EV_EOF: Flags = 0x8000;

/// Triggers an `EVFILT_USER`.
pub const NOTE_TRIGGER: u32 = 0x0100_0000;

/// Whether `EVFILT_WRITE` on the reading end of a pipe reports that the writing end was closed.
pub const WRITE_SEES_HANGUP: bool = true;
/// Whether the filters of a named pipe report that its other end was closed: not if the
/// environment variable `SELECTORS_KQUEUE_FLAVOR` was `macos` when this was built.
pub const NAMED_PIPES_END: bool = !cfg!(kqueue_macos);

/// `struct kevent` of kqueue(2), as libkqueue lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct kevent {
    /// What is watched: a descriptor, for most filters.
    pub ident: usize,
    /// The filter: `EVFILT_*`.
    pub filter: Filter,
    /// What to do, and what has happened: `EV_*`.
    pub flags: Flags,
    /// Depends on the filter; with `EV_EOF` the errno of a socket.
    pub fflags: u32,
    /// Depends on the filter.
    pub data: Data,
    /// User data, returned in events.
    pub udata: *mut c_void,
}

const _: () = assert!(size_of::<kevent>() == 3 * size_of::<usize>() + 8);

unsafe extern "C" {
    /// kqueue(2).
    pub fn kqueue() -> c_int;
    /// kevent(2).
    pub fn kevent(
        kq: c_int,
        changelist: *const kevent,
        nchanges: Count,
        eventlist: *mut kevent,
        nevents: Count,
        timeout: *const timespec,
    ) -> c_int;
}
