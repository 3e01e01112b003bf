//! kqueue(2), from `<sys/event.h>`: what the `libc` crate declares on every system.

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
