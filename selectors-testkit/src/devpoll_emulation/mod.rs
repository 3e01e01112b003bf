//! /dev/poll on Linux, emulated over poll(2), for tests.
//!
//! With the feature `devpoll` this crate exports the C symbols `devpoll_open`, `devpoll_write`,
//! `devpoll_ioctl` and `devpoll_close` on Linux, for `selectors-sys` to link to. They follow the
//! manual page, poll(4D), and the driver of illumos (`devpoll.c`), including the unpleasant rules,
//! with Linux's error numbers: `selectors-testkit/tests/devpoll_driver/` tests them rule by rule.
//! Where systems may differ, the environment variable `SELECTORS_DEVPOLL_FLAVOR` chooses: see
//! [`Flavor`]. Rare behaviour of drivers can be provoked: [`next_writes`], [`limit_entries`],
//! [`refuse_to_open`].
//!
//! If `SELECTORS_DEVPOLL_LIB` is set, this module is not compiled, and that library provides the
//! symbols.
//!
//! # How
//!
//! The descriptor is the writing end of a pipe without a reader: poll(2) reports POLLERR for it, as for
//! the device. A device is identified by fstat(2), not by its descriptor, so duplicates work, and a
//! number that now refers to another file is no device. Each `DP_POLL` polls the whole set by poll(2).
//!
//! # Limitations
//!
//! - A device whose last descriptor is not closed by `devpoll_close` leaks a few hundred bytes. A
//!   duplicate of one that was closed by it is only a pipe without a reader.
//! - Files without an inode of their own, such as eventfd(2)s, cannot be distinguished: if a number was
//!   one and is another, the emulation takes it for the same file.
//! - If poll(2) or epoll(7) watches the device for writing, they report POLLOUT beside POLLERR.
//! - Only a null address is recognized as bad.
//! - `DP_PPOLL` and `DP_EPOLLCOMPAT` fail with EINVAL, as on a system without them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{offset_of, size_of};
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use selectors_sys::devpoll::{DEV_POLL, DP_ISPOLLED, DP_POLL, dvpoll, nfds_t, pollfd};

use crate::emulated_faults::{Inside, Step, check};
use device::Device;

mod closing;
mod device;
mod files;
mod set;

/// The system that is emulated where systems may differ.
///
/// | | illumos | solaris |
/// |---|---|---|
/// | the device belongs to the process that | used it first | opened it |
/// | a write while another thread waits | ends the wait, if it makes a source ready | blocks until the wait ends |
/// | removing a number that was not open when it was added | keeps its events | clears its events |
/// | adding a number with the same events that refers to another file | adds it | is ignored |
/// | a timeout below -1 | does not wait | waits forever |
/// | a descriptor that was closed and not removed | POLLNVAL if it was ready, or not yet polled, or a socket without a duplicate; otherwise nothing | nothing |
/// | one that was idle, and whose number was reused | nothing | the new file is polled |
/// | `DP_POLL` with space for RLIMIT_NOFILE entries or more | accepted; limited from twice as many on | EINVAL |
///
/// # Examples
///
/// ```
/// use selectors_testkit::devpoll_emulation::Flavor;
///
/// // Unless the environment says otherwise:
/// # if std::env::var_os("SELECTORS_DEVPOLL_FLAVOR").is_none() {
/// assert_eq!(Flavor::current(), Flavor::Illumos);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// The driver of illumos.
    Illumos,
    /// The common driver of illumos and Solaris of 2011, and where the manual page leaves a choice, the
    /// worst one.
    Solaris,
}

impl Flavor {
    /// The flavor of this process: `illumos` or `solaris` in the environment variable
    /// `SELECTORS_DEVPOLL_FLAVOR` at the first call; illumos if it is not set.
    ///
    /// # Panics
    ///
    /// If the variable has another value.
    #[must_use]
    pub fn current() -> Self {
        static CURRENT: OnceLock<Flavor> = OnceLock::new();
        *CURRENT.get_or_init(|| match std::env::var("SELECTORS_DEVPOLL_FLAVOR").as_deref() {
            Err(_) | Ok("illumos") => Self::Illumos,
            Ok("solaris") => Self::Solaris,
            Ok(other) => panic!("SELECTORS_DEVPOLL_FLAVOR={other}: expected illumos or solaris"),
        })
    }
}

/// The result of a write: see [`next_writes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The driver applies it.
    Done,
    /// EINTR, and nothing is applied: a signal arrived during another write.
    Interrupted,
    /// Only so many bytes are written, and the complete `pollfd`s in them applied. The driver never does
    /// this, but write(2) may.
    Short(usize),
    /// So many `pollfd`s are applied, and then the write fails. The driver does this if the poll entry
    /// point of an added device fails.
    Failed {
        /// How many are applied.
        after: usize,
        /// The error.
        errno: i32,
    },
}

/// The number of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// write(2) on a device.
    pub write: usize,
    /// ioctl(2) on a device.
    pub ioctl: usize,
}

thread_local! {
    static WRITES: RefCell<VecDeque<Write>> = const { RefCell::new(VecDeque::new()) };
    static LIMIT: Cell<Option<usize>> = const { Cell::new(None) };
    static REFUSAL: Cell<Option<i32>> = const { Cell::new(None) };
    static FAILING: Cell<Option<(RawFd, i32)>> = const { Cell::new(None) };
    static CALLS: Cell<Calls> = const { Cell::new(Calls { write: 0, ioctl: 0 }) };
}

/// How often this thread has called a device.
#[must_use]
pub fn calls() -> Calls {
    CALLS.get()
}

/// Sets the results of the next writes of this thread, in this order.
pub fn next_writes(writes: &[Write]) {
    WRITES.with_borrow_mut(|next| next.extend(writes));
}

/// Returns true if all writes of [`next_writes`] have happened.
#[must_use]
pub fn all_written() -> bool {
    WRITES.with_borrow(VecDeque::is_empty)
}

/// Makes the calls of this thread use this limit instead of RLIMIT_NOFILE, or RLIMIT_NOFILE again.
pub fn limit_entries(limit: Option<usize>) {
    LIMIT.set(limit);
}

/// Makes the poll routine of this source fail with this error when this thread adds it or waits, or no
/// longer. Driver: the call then fails with it, even if other sources are ready. A stream that is linked
/// below a multiplexor does so: `strpoll()` in `streamio.c`.
pub fn fail_source(source: Option<(RawFd, i32)>) {
    FAILING.set(source);
}

/// The result of the poll routine of a source.
fn check_source(fd: RawFd) -> Result<(), Errno> {
    match FAILING.get() {
        Some((failing, errno)) if failing == fd => Err(Errno::from_raw(errno)),
        _ => Ok(()),
    }
}

/// Makes open(2) of the device fail with this error in this thread, or no longer.
pub fn refuse_to_open(errno: Option<i32>) {
    REFUSAL.set(errno);
}

/// The current RLIMIT_NOFILE.
fn limit() -> usize {
    LIMIT.get().unwrap_or_else(|| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is writable.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
    })
}

fn count_call(which: impl FnOnce(&mut Calls) -> &mut usize) {
    let mut calls = CALLS.get();
    *which(&mut calls) += 1;
    CALLS.set(calls);
}

/// open(2): opens a device if that is the path, and calls the C library otherwise.
///
/// # Safety
///
/// `path` is a string, and `flags` do not create a file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn devpoll_open(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's promise.
    if unsafe { CStr::from_ptr(path) } != DEV_POLL {
        // SAFETY: the caller's promise.
        return unsafe { libc::open(path, flags) };
    }
    if let Some(errno) = REFUSAL.get() {
        return fail(Errno::from_raw(errno));
    }
    let _inside = Inside::enter();
    check(Step::Open).and_then(|()| Device::open(flags)).unwrap_or_else(fail)
}

/// close(2) of any descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn devpoll_close(fd: c_int) -> c_int {
    let _inside = Inside::enter();
    let device = Device::find(fd);
    // SAFETY: the caller owns the descriptor.
    let result = unsafe { libc::close(fd) };
    // In every process: the driver does not check the owner in the last close(2).
    device.inspect(|device| device.closed());
    result
}

/// write(2): changes the set of a device, or calls the C library for another file.
///
/// # Safety
///
/// `buffer` points to `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn devpoll_write(fd: c_int, buffer: *const c_void, size: usize) -> isize {
    let Some(device) = Device::find(fd) else {
        // SAFETY: the caller's promise.
        return unsafe { libc::write(fd, buffer, size) };
    };
    count_call(|calls| &mut calls.write);
    let _inside = Inside::enter();
    // SAFETY: the caller's promise.
    let written = || unsafe { write(device, buffer.cast(), size) };
    match check(Step::Write).and_then(|()| written()) {
        Ok(bytes) => isize::try_from(bytes).unwrap_or(isize::MAX),
        Err(error) => fail(error) as isize,
    }
}

/// # Safety
///
/// `entries` points to `size` bytes.
unsafe fn write(
    device: &'static Device,
    entries: *const pollfd,
    size: usize,
) -> Result<usize, Errno> {
    device.enter_to_write()?;
    let next = WRITES.with_borrow_mut(VecDeque::pop_front).unwrap_or(Write::Done);
    // An incomplete `pollfd` at the end is ignored, but counts as written.
    let count = size / size_of::<pollfd>();
    if count > limit() {
        return Err(Errno::EINVAL);
    }
    if entries.is_null() && count > 0 {
        return Err(Errno::EFAULT);
    }
    let (bytes, taken) = match next {
        Write::Done => (Ok(size), count),
        Write::Interrupted => return Err(Errno::EINTR),
        Write::Short(bytes) => (Ok(bytes.min(size)), bytes / size_of::<pollfd>()),
        Write::Failed { after, errno } => (Err(Errno::from_raw(errno)), after),
    };
    let entries: Vec<pollfd> = (0..count.min(taken))
        .map(|at| {
            // SAFETY: within the buffer that the caller promises.
            let entry = unsafe { entries.add(at) };
            // SAFETY: as above; it need not be aligned.
            unsafe { entry.read_unaligned() }
        })
        .collect();
    // One writer at a time. Waiting threads search the set again.
    device.set_to_write().write(&entries)?;
    device.wake();
    bytes
}

/// ioctl(2) of a device, or of another file by the C library.
///
/// # Safety
///
/// `argument` points to the argument of the request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn devpoll_ioctl(fd: c_int, request: c_int, argument: *mut c_void) -> c_int {
    let Some(device) = Device::find(fd) else {
        // As a raw system call, because the type of a request differs between C libraries.
        // SAFETY: the caller's promise.
        let result = unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) };
        return c_int::try_from(result).unwrap_or(-1);
    };
    count_call(|calls| &mut calls.ioctl);
    let _inside = Inside::enter();
    let result = device.enter().and_then(|()| match request {
        DP_POLL => check(Step::DeviceWait).and_then(|()| {
            // SAFETY: the caller's promise.
            unsafe { poll(device, argument.cast()) }
        }),
        // SAFETY: the caller's promise.
        DP_ISPOLLED => unsafe { is_polled(device, argument.cast()) },
        _ => Err(Errno::EINVAL),
    });
    result.map_or_else(fail, |count| c_int::try_from(count).unwrap_or(c_int::MAX))
}

/// A tick of the clock, 10 ms unless a system is set to 1 ms: the shortest timeout except zero.
const TICK: Duration = Duration::from_millis(10);

/// The fields of `struct dvpoll` that `DP_POLL` reads: not `dp_setp`, which older systems lack.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    fds: *mut pollfd,
    room: nfds_t,
    timeout: c_int,
}

const _: () = assert!(offset_of!(Request, room) == offset_of!(dvpoll, dp_nfds));
const _: () = assert!(offset_of!(Request, timeout) == offset_of!(dvpoll, dp_timeout));
const _: () = assert!(size_of::<Request>() == offset_of!(dvpoll, dp_setp));

/// # Safety
///
/// `argument` points to a `struct dvpoll`, whose `dp_fds` points to `dp_nfds` entries.
unsafe fn poll(device: &'static Device, argument: *const dvpoll) -> Result<usize, Errno> {
    let now = Instant::now();
    if argument.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: the caller's promise.
    let Request { fds, room, timeout } = unsafe { argument.cast::<Request>().read_unaligned() };
    let deadline = match timeout {
        -1 => None,
        ..-1 if Flavor::current() == Flavor::Solaris => None,
        // Other negative timeouts have expired at once.
        ..=0 => Some(now),
        millis => Some(now + Duration::from_millis(millis.unsigned_abs().into()).max(TICK)),
    };
    // Without space for an entry the set is not searched: the call only sleeps.
    if room == 0 {
        return device::sleep_until(deadline, timeout != 0).map(|()| 0);
    }
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let room = match (Flavor::current(), limit()) {
        (Flavor::Illumos, limit) if room / 2 > limit => limit,
        (Flavor::Solaris, limit) if room >= limit => return Err(Errno::EINVAL),
        _ => room,
    };
    let ready = device.wait(room, deadline, timeout != 0)?;
    // The buffer is not accessed if nothing is ready.
    if fds.is_null() && !ready.is_empty() {
        return Err(Errno::EFAULT);
    }
    for (at, &entry) in ready.iter().enumerate() {
        // SAFETY: within the space that the caller promises.
        let place = unsafe { fds.add(at) };
        // SAFETY: as above.
        unsafe { place.write_unaligned(entry) };
    }
    Ok(ready.len())
}

/// # Safety
///
/// `argument` points to a `struct pollfd`.
unsafe fn is_polled(device: &'static Device, argument: *mut pollfd) -> Result<usize, Errno> {
    if argument.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: the caller's promise.
    let mut entry = unsafe { argument.read_unaligned() };
    let Some(events) = device.set().events_of(entry.fd) else { return Ok(0) };
    entry.revents = events;
    // SAFETY: the caller's promise.
    unsafe { argument.write_unaligned(entry) };
    Ok(1)
}

fn fail(error: Errno) -> c_int {
    error.set();
    -1
}
