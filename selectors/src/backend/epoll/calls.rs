//! The system calls of epoll(7), and what their flags mean.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use selectors_sys::epoll as sys;

use crate::backend::RawSource;
use crate::{Event, Events, Interest, Mode, Readiness, Token, Watch};

pub(super) fn create() -> nix::Result<OwnedFd> {
    // SAFETY: takes a number and returns a descriptor or -1.
    let fd = Errno::result(unsafe { sys::epoll_create1(sys::EPOLL_CLOEXEC) })?;
    // SAFETY: a new descriptor that is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The result of a call: how many events it has found, where it waits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "errors are small")]
fn count(result: isize) -> nix::Result<usize> {
    usize::try_from(result).map_err(|_| Errno::from_raw(-result as i32))
}

/// epoll_wait(2), which appends to `list` as much as there is room for, and that is `room` at
/// least: the number of events. `timeout` is in milliseconds.
#[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most i32::MAX")]
#[inline(always)]
pub(super) fn wait(
    epoll: &OwnedFd,
    list: &mut Vec<Event>,
    room: usize,
    timeout: i32,
) -> nix::Result<usize> {
    list.reserve(room);
    let spare = list.spare_capacity_mut();
    let most = spare.len().min(sys::MAX_EVENTS as usize) as i32;
    // An `Event` is an `epoll_event`: see `Record`.
    let spare = spare.as_mut_ptr().cast();
    // SAFETY: `spare` points to at least `most` elements that we own.
    let count = count(unsafe { sys::epoll_wait(epoll.as_raw_fd(), spare, most, timeout) })?;
    // SAFETY: the kernel has written that many, and there was room for them.
    unsafe { list.set_len(list.len() + count) };
    Ok(count)
}

/// Whether the kernel may have had more to report than there was room for.
#[inline]
pub(super) fn is_full(list: &Vec<Event>) -> bool {
    list.len() == list.capacity()
}

/// Appends what has not been collected yet, and perhaps some of what has.
#[cold]
pub(super) fn wait_for_rest(epoll: &OwnedFd, list: &mut Vec<Event>) {
    loop {
        match wait(epoll, list, Events::LEAST_ROOM.max(2 * list.len()), 0) {
            Ok(_) if is_full(list) => {}
            Err(Errno::EINTR) => {}
            // If it failed, what was found is not lost, and a later wait reports the rest.
            _ => return,
        }
    }
}

#[inline]
pub(super) fn control(
    epoll: &OwnedFd,
    operation: i32,
    fd: RawSource,
    token: Token,
    watch: Watch,
) -> nix::Result<()> {
    let event = sys::epoll_event { events: to_epoll(watch), u64: token.to_bits() };
    control_raw(epoll, operation, fd, event)
}

#[inline]
pub(super) fn control_raw(
    epoll: &OwnedFd,
    operation: i32,
    fd: RawSource,
    mut event: sys::epoll_event,
) -> nix::Result<()> {
    // SAFETY: `event` outlives the call; the kernel checks the numbers.
    let result = unsafe { sys::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) };
    count(result).map(drop)
}

#[inline]
pub(super) fn add(epoll: &OwnedFd, fd: RawSource, token: Token, watch: Watch) -> nix::Result<()> {
    control(epoll, sys::EPOLL_CTL_ADD, fd, token, watch)
}

/// Stops watching `fd`, which need not be watched any more.
#[inline]
pub(super) fn delete(epoll: &OwnedFd, fd: RawSource) -> nix::Result<()> {
    match delete_raw(epoll, fd) {
        // It was closed, and the number is free, or another file's, or one's that cannot be
        // watched, or the instance's own.
        Err(Errno::EBADF | Errno::ENOENT | Errno::EPERM | Errno::EINVAL) => Ok(()),
        result => result,
    }
}

#[inline]
pub(super) fn delete_raw(epoll: &OwnedFd, fd: RawSource) -> nix::Result<()> {
    let no_event = ptr::null_mut();
    // SAFETY: deleting reads no event since Linux 2.6.9; the kernel checks the numbers.
    let result = unsafe { sys::epoll_ctl(epoll.as_raw_fd(), sys::EPOLL_CTL_DEL, fd, no_event) };
    count(result).map(drop)
}

#[expect(clippy::cast_sign_loss, reason = "the kernel declares the same bits unsigned")]
#[inline]
fn to_epoll(Watch { interest, mode }: Watch) -> u32 {
    let mode_flags = match mode {
        Mode::Level => 0,
        Mode::OneShot => sys::EPOLLONESHOT,
        Mode::Edge => sys::EPOLLET,
        Mode::Exclusive => sys::EPOLLEXCLUSIVE,
    };
    // The kernel refuses EPOLLEXCLUSIVE with EPOLLRDHUP.
    let closed = interest.contains(Interest::READ) && mode != Mode::Exclusive;
    let closed_flags = if closed { sys::EPOLLRDHUP } else { 0 };
    // The bits of an interest are those of its readiness.
    u32::from(interest.bits()) | (mode_flags | closed_flags) as u32
}

// What the kernel reports is used as it is: see `Readiness`.
const _: () = {
    assert!(Readiness::READ.bits() == sys::EPOLLIN as u32);
    assert!(Readiness::WRITE.bits() == sys::EPOLLOUT as u32);
    assert!(Readiness::PRIORITY.bits() == sys::EPOLLPRI as u32);
    assert!(Readiness::ERROR.bits() == sys::EPOLLERR as u32);
    assert!(Readiness::HANGUP.bits() == sys::EPOLLHUP as u32);
    assert!(Readiness::READ_CLOSED.bits() == sys::EPOLLRDHUP as u32);
};
