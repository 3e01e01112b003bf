//! kqueue(2), from `<sys/event.h>`: NetBSD.
//!
//! The fields and the counts are wider than elsewhere, and the filters are numbered from 0.
//! This is the interface `__kevent50`, which every NetBSD since 6.0 answers; NetBSD 10 added
//! one with a longer structure beside it. `EVFILT_USER` is there from NetBSD 10 on; older kernels
//! answer EINVAL.

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

/// The type of `kevent.filter`: `uint32_t`.
pub type Filter = u32;
/// The type of `kevent.flags`: `uint32_t`.
pub type Flags = u32;
/// The type of `kevent.data`: `int64_t`.
pub type Data = i64;
/// The type of the two counts that kevent(2) takes: `size_t`.
pub type Count = usize;

/// Whether `EVFILT_WRITE` on the reading end of a pipe tells that the writing end was closed.
pub const WRITE_SEES_HANGUP: bool = true;

const _: () = {
    let word = size_of::<usize>();
    assert!(offset_of!(kevent, ident) == 0);
    assert!(offset_of!(kevent, filter) == word);
    assert!(offset_of!(kevent, flags) == word + 4);
    assert!(offset_of!(kevent, fflags) == word + 8);
    assert!(word == 4 || offset_of!(kevent, data) == 24);
    assert!(offset_of!(kevent, udata) == offset_of!(kevent, data) + 8);
    assert!(word == 4 || size_of::<kevent>() == 40);
};
