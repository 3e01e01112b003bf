//! The system calls of the bare contenders, without anything that a plain loop would not do.
#![expect(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_ulong, epoll_event, pollfd};
use selectors::backend::seconds_and_micros_rounded_up;

/// The result of a call: `errno` if it is -1.
#[inline]
fn count(answer: c_int) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// Rounded up, and -1 for no timeout.
#[inline]
fn millis(timeout: Option<Duration>) -> c_int {
    timeout.map_or(-1, |timeout| {
        let rest = u64::from(timeout.subsec_nanos().div_ceil(1_000_000));
        c_int::try_from(timeout.as_secs() * 1_000 + rest).unwrap_or(c_int::MAX)
    })
}

pub(super) fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: takes a number and returns a descriptor or -1.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    count(fd)?;
    // SAFETY: a new descriptor, owned by nothing else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[inline]
pub(super) fn epoll_ctl(
    epoll: &OwnedFd,
    operation: c_int,
    fd: BorrowedFd<'_>,
    mut event: epoll_event,
) -> io::Result<()> {
    // SAFETY: both descriptors are open and `event` outlives the call.
    let answer =
        unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) };
    count(answer).map(drop)
}

/// Replaces the contents of `buffer` by at most as many events as it has capacity for.
#[inline]
pub(super) fn epoll_wait(
    epoll: &OwnedFd,
    buffer: &mut Vec<epoll_event>,
    timeout: Option<Duration>,
) -> io::Result<()> {
    buffer.clear();
    let (epoll, events) = (epoll.as_raw_fd(), buffer.as_mut_ptr());
    let room = c_int::try_from(buffer.capacity()).unwrap_or(c_int::MAX);
    // SAFETY: `buffer` has capacity for `room` events.
    let count = count(unsafe { libc::epoll_wait(epoll, events, room, millis(timeout)) })?;
    // SAFETY: the kernel has written that many, which is at most the capacity.
    unsafe { buffer.set_len(count) };
    Ok(())
}

/// The kernel's timespec, which is the same on all processors.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: i64,
}

#[inline]
pub(super) fn epoll_pwait2(
    epoll: &OwnedFd,
    buffer: &mut Vec<epoll_event>,
    timeout: Option<Duration>,
) -> io::Result<()> {
    buffer.clear();
    let timeout = timeout.map(|timeout| Timespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanos: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // As wide as the C type long.
    let (epoll, events) = (epoll.as_raw_fd() as isize, buffer.as_mut_ptr());
    let room = buffer.capacity();
    let no_mask = ptr::null::<libc::sigset_t>();
    // SAFETY: `buffer` has capacity for `room` events; `timeout` is null or outlives
    // the call; a null mask changes none.
    let answer =
        unsafe { libc::syscall(libc::SYS_epoll_pwait2, epoll, events, room, timeout, no_mask, 0) };
    let count = usize::try_from(answer).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written that many, which is at most the capacity.
    unsafe { buffer.set_len(count) };
    Ok(())
}

#[inline]
pub(super) fn poll(fds: &mut [pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let length = libc::nfds_t::try_from(fds.len()).unwrap_or_default();
    // SAFETY: `fds` has `length` elements, or more if that is 0.
    count(unsafe { libc::poll(fds.as_mut_ptr(), length, millis(timeout)) })
}

/// select(2) over sets of any length, which Linux accepts. The `write` set is optional.
#[inline]
pub(super) fn select(
    read: &mut [c_ulong],
    write: Option<&mut [c_ulong]>,
    timeout: Option<Duration>,
) -> io::Result<usize> {
    assert!(write.as_ref().is_none_or(|write| write.len() == read.len()));
    let bits = c_int::try_from(read.len() * c_ulong::BITS as usize).unwrap_or(c_int::MAX);
    let mut time = timeout.map(|timeout| {
        let (tv_sec, tv_usec) = seconds_and_micros_rounded_up(timeout);
        libc::timeval { tv_sec, tv_usec }
    });
    let time = time.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let write = write.map_or(ptr::null_mut(), |write| write.as_mut_ptr().cast());
    let read = read.as_mut_ptr().cast();
    // SAFETY: the sets have `bits` bits, and the kernel accesses no more; `write` and `time` are null
    // or outlive the call.
    count(unsafe { libc::select(bits, read, write, ptr::null_mut(), time) })
}

/// A descriptor whose owner outlives its registration, which the compiler cannot verify for 'a.
pub(crate) fn borrow<'a>(source: &impl AsRawFd) -> BorrowedFd<'a> {
    // SAFETY: open now, and the caller unregisters it before it is closed.
    unsafe { BorrowedFd::borrow_raw(source.as_raw_fd()) }
}
