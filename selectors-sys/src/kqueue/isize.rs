//! kqueue(2), from `<sys/event.h>`, with an `intptr_t` for data: macOS, iOS and their like, and
//! DragonFly.

use core::ffi::c_int;
use core::mem::{offset_of, size_of};

pub use libc::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_ERROR, EV_ONESHOT,
    EV_RECEIPT, EVFILT_READ, EVFILT_TIMER, EVFILT_USER, EVFILT_WRITE, NOTE_TRIGGER,
};

/// kevent(2): the call, and under the same name `struct kevent`.
pub use libc::kevent;
/// kqueue(2).
pub use libc::kqueue;
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
/// The type of the two counts that kevent(2) takes: `int`.
pub type Count = c_int;

/// Whether `EVFILT_WRITE` on the reading end of a pipe tells that the writing end was closed.
pub const WRITE_SEES_HANGUP: bool = true;

const _: () = {
    let word = size_of::<usize>();
    assert!(offset_of!(kevent, ident) == 0);
    assert!(offset_of!(kevent, filter) == word);
    assert!(offset_of!(kevent, flags) == word + 2);
    assert!(offset_of!(kevent, fflags) == word + 4);
    assert!(offset_of!(kevent, data) == word + 8);
    assert!(offset_of!(kevent, udata) == word + 8 + size_of::<Data>());
    assert!(size_of::<kevent>() == 2 * word + 8 + word);
};
