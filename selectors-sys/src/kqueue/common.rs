//! kqueue(2), from `<sys/event.h>`: what is the same on every system.

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

use super::{Data, Filter, Flags, kevent};

/// `EV_SET()` of kqueue(2), the macro that fills a `struct kevent` in. What the macro does not
/// name (`ext` of FreeBSD) is zero.
#[must_use]
#[expect(non_snake_case, reason = "as the man page spells it")]
pub const fn EV_SET(
    ident: usize,
    filter: Filter,
    flags: Flags,
    fflags: u32,
    data: Data,
    udata: *mut c_void,
) -> kevent {
    // SAFETY: all fields are integers and a pointer, for which zero is a value.
    let mut event: kevent = unsafe { core::mem::zeroed() };
    event.ident = ident;
    event.filter = filter;
    event.flags = flags;
    event.fflags = fflags;
    event.data = data;
    event.udata = udata;
    event
}

// The fields are in this order, without gaps except for alignment.
const _: () = {
    let fflags = size_of::<usize>() + size_of::<Filter>() + size_of::<Flags>();
    assert!(offset_of!(kevent, ident) == 0);
    assert!(offset_of!(kevent, filter) == size_of::<usize>());
    assert!(offset_of!(kevent, flags) == size_of::<usize>() + size_of::<Filter>());
    assert!(offset_of!(kevent, fflags) == fflags);
    assert!(offset_of!(kevent, data) == (fflags + 4).next_multiple_of(align_of::<Data>()));
    assert!(offset_of!(kevent, udata) == offset_of!(kevent, data) + size_of::<Data>());
};
