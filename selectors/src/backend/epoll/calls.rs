//! The system calls of epoll(7) and the translation of their flags.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use selectors_sys::descriptor::{S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK};
use selectors_sys::epoll as sys;

use super::NEVER;
use crate::backend::file::fstat;
use crate::backend::{RawSource, borrow};
use crate::{Event, Events, Interest, Mode, Readiness, Token, Watch, growth};

pub(super) fn create() -> nix::Result<OwnedFd> {
    // SAFETY: takes a number and returns a descriptor or -1.
    let fd = Errno::result(unsafe { sys::epoll_create1(sys::EPOLL_CLOEXEC) })?;
    // SAFETY: a new descriptor, owned by nothing else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The result of a call: for epoll_wait(2), the number of events.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "errors are small")]
fn count(result: isize) -> nix::Result<usize> {
    usize::try_from(result).map_err(|_| Errno::from_raw(-result as i32))
}

/// epoll_wait(2): fills the free capacity of `list`, which is at least `room`, and returns the number of
/// events. `timeout` is in milliseconds.
#[expect(clippy::inline_always, reason = "after a system call every return is mispredicted")]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most i32::MAX")]
#[inline(always)]
pub(super) fn wait(
    epoll: &OwnedFd,
    list: &mut Vec<Event>,
    room: usize,
    timeout: i32,
) -> nix::Result<usize> {
    growth::reserve(list, room);
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

/// Returns true if the kernel may have more events than there was capacity for.
#[inline]
pub(super) fn is_full(list: &Vec<Event>) -> bool {
    list.len() == list.capacity()
}

/// Appends the remaining events, and possibly some that the list already contains.
#[cold]
pub(super) fn wait_for_rest(epoll: &OwnedFd, list: &mut Vec<Event>) -> nix::Result<()> {
    loop {
        match wait(epoll, list, Events::MIN_CAPACITY.max(2 * list.len()), 0) {
            Ok(_) if is_full(list) => {}
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
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

#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
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

#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
pub(super) fn add(epoll: &OwnedFd, fd: RawSource, token: Token, watch: Watch) -> nix::Result<()> {
    control(epoll, sys::EPOLL_CTL_ADD, fd, token, watch)
}

/// Stops watching `fd`. Succeeds if it is not watched.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
pub(super) fn delete(epoll: &OwnedFd, fd: RawSource) -> nix::Result<()> {
    match delete_raw(epoll, fd) {
        // The descriptor was closed. Now it is free, or refers to another file, to one that cannot be
        // watched, or to the instance itself.
        Err(Errno::EBADF | Errno::ENOENT | Errno::EPERM | Errno::EINVAL) => Ok(()),
        result => result,
    }
}

#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
pub(super) fn delete_raw(epoll: &impl AsRawFd, fd: RawSource) -> nix::Result<()> {
    let no_event = ptr::null_mut();
    // SAFETY: deleting reads no event since Linux 2.6.9; the kernel checks the numbers.
    let result = unsafe { sys::epoll_ctl(epoll.as_raw_fd(), sys::EPOLL_CTL_DEL, fd, no_event) };
    count(result).map(drop)
}

/// Returns true if the kernel has refused to add `fd` with EPERM because such a file cannot be watched. A
/// sandbox may refuse the call with the same error.
#[cold]
pub(super) fn is_unwatchable(epoll: &OwnedFd, fd: RawSource) -> bool {
    // SAFETY: passed to fstat(2) alone, which accepts any number and changes nothing.
    let kind = fstat(unsafe { borrow(fd) }).map(|stat| stat.st_mode & S_IFMT);
    match kind {
        Ok(S_IFREG | S_IFDIR) => true,
        Ok(S_IFSOCK | S_IFIFO) => false,
        // Adding the instance to itself fails with EINVAL if the call is allowed.
        _ => add(epoll, epoll.as_raw_fd(), Token::WAKER, NEVER) != Err(Errno::EPERM),
    }
}

#[expect(clippy::cast_sign_loss, reason = "the kernel declares the same bits unsigned")]
#[inline]
fn to_epoll(Watch { interest, mode }: Watch) -> u32 {
    // The kernel refuses EPOLLEXCLUSIVE with EPOLLRDHUP.
    let (mode_flags, closed_flags) = match mode {
        Mode::Level => (0, sys::EPOLLRDHUP),
        Mode::OneShot => (sys::EPOLLONESHOT, sys::EPOLLRDHUP),
        Mode::Edge => (sys::EPOLLET, sys::EPOLLRDHUP),
        Mode::Exclusive => (sys::EPOLLEXCLUSIVE, 0),
    };
    let closed_flags = if interest.contains(Interest::READ) { closed_flags } else { 0 };
    // An interest has the same bits as its readiness.
    u32::from(interest.bits()) | (mode_flags | closed_flags) as u32
}

// The events of the kernel are used without translation: see `Readiness`.
const _: () = {
    assert!(Readiness::READ.bits() == sys::EPOLLIN as u32);
    assert!(Readiness::WRITE.bits() == sys::EPOLLOUT as u32);
    assert!(Readiness::PRIORITY.bits() == sys::EPOLLPRI as u32);
    assert!(Readiness::ERROR.bits() == sys::EPOLLERR as u32);
    assert!(Readiness::HANGUP.bits() == sys::EPOLLHUP as u32);
    assert!(Readiness::READ_CLOSED.bits() == sys::EPOLLRDHUP as u32);
};
