//! /dev/poll on Linux, emulated over poll(2), for tests.
//!
//! With the feature `devpoll` this crate exports the C symbols `devpoll_open`, `devpoll_write`,
//! `devpoll_ioctl` and `devpoll_close` on Linux, for `selectors-sys` to find. They do what the
//! manual page, poll(4D), and the driver of illumos (`devpoll.c`) say, unpleasant rules included,
//! with Linux's error numbers: `selectors-testkit/tests/devpoll_driver/` tries them rule by rule.
//! Where a system may do one thing or another, the environment variable
//! `SELECTORS_DEVPOLL_FLAVOR` chooses: see [`Flavor`]. What drivers seldom do can be provoked:
//! [`next_writes`], [`limit_entries`], [`refuse_to_open`].
//!
//! If `SELECTORS_DEVPOLL_LIB` is set, this module is not compiled, and that library provides the
//! symbols.
//!
//! # How
//!
//! The descriptor is the writing end of a pipe that has no other end: poll(2) says POLLERR of it, as
//! of the device. A device is known by what fstat(2) tells of it and not by its number, so
//! duplicates work, and a number that was given to another file is that file's. The set is
//! polled as a whole, by poll(2), whenever somebody asks.
//!
//! # What it cannot do
//!
//! - Know that the last descriptor was closed by other ways than `devpoll_close`: such a device
//!   leaks a few hundred bytes. A duplicate of one that was closed by it is a dead pipe.
//! - Tell one eventfd(2) from another, or what else has no inode of its own: a number that was one
//!   and is another is the same file to it.
//! - Say POLLERR alone where poll(2) or epoll(7) is asked whether the descriptor has room: they
//!   say POLLOUT with it.
//! - Tell a bad address from a good one, unless it is null.
//! - `DP_PPOLL` and `DP_EPOLLCOMPAT`: EINVAL, as from a system that does not have them.

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

/// What the emulation does where systems may differ.
///
/// | | illumos | solaris |
/// |---|---|---|
/// | the device belongs to the process that | used it first | opened it |
/// | a write while another thread waits | ends the wait, if it makes something ready | blocks until the wait ends |
/// | removing what was not open when it was added | leaves its events | forgets them |
/// | adding what has the same events, and a number that is another file's | adds it | is ignored |
/// | a timeout below -1 | has passed | waits for ever |
/// | a descriptor that was closed and not removed | POLLNVAL if it was ready, or not yet looked at, or a socket of which no duplicate lives on; else nothing | nothing |
/// | one that was idle, and whose number was reused | nothing | the new file is polled |
/// | `DP_POLL` with room for as many as RLIMIT_NOFILE allows, or more | taken; cut down from twice as many on | EINVAL |
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
    /// As the driver of illumos does it.
    Illumos,
    /// As the driver that illumos and Solaris have in common did it in 2011, and where the manual
    /// page leaves a choice, the worst of it.
    Solaris,
}

impl Flavor {
    /// The flavor of this process: `illumos` or `solaris` in the environment variable
    /// `SELECTORS_DEVPOLL_FLAVOR`, as it was when first asked; illumos if it is not set.
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

/// What becomes of a write: see [`next_writes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// What the driver makes of it.
    Done,
    /// EINTR, and nothing has been done: a signal came while another writer was at work.
    Interrupted,
    /// So many bytes are taken and no more, of which the whole `pollfd`s count. The driver never
    /// does this, but write(2) may.
    Short(usize),
    /// So many `pollfd`s have been taken, and then came an error. The driver does this where the
    /// poll entry point of a device that is added fails.
    Failed {
        /// How many were taken.
        after: usize,
        /// The error.
        errno: i32,
    },
}

/// How often something was called.
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

/// Says what becomes of the next writes of this thread, in this order.
pub fn next_writes(writes: &[Write]) {
    WRITES.with_borrow_mut(|next| next.extend(writes));
}

/// Whether nothing that was said to [`next_writes`] is left.
#[must_use]
pub fn all_written() -> bool {
    WRITES.with_borrow(VecDeque::is_empty)
}

/// Has the calls of this thread go by this limit instead of RLIMIT_NOFILE, from now on, or by that
/// again.
pub fn limit_entries(limit: Option<usize>) {
    LIMIT.set(limit);
}

/// Has the poll routine of this source answer this error, when this thread adds it or waits, from
/// now on or no more. Driver: that is then the answer to the call, whatever else there is. A stream
/// that is linked below a multiplexor does it: `strpoll()` in `streamio.c`.
pub fn fail_source(source: Option<(RawFd, i32)>) {
    FAILING.set(source);
}

/// What the poll routine of a source answers.
fn check_source(fd: RawFd) -> Result<(), Errno> {
    match FAILING.get() {
        Some((failing, errno)) if failing == fd => Err(Errno::from_raw(errno)),
        _ => Ok(()),
    }
}

/// Has open(2) answer this error where this thread opens the device, from now on or no more.
pub fn refuse_to_open(errno: Option<i32>) {
    REFUSAL.set(errno);
}

/// RLIMIT_NOFILE, as it is at the moment.
fn limit() -> usize {
    LIMIT.get().unwrap_or_else(|| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is ours to be written.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
    })
}

fn count_call(which: impl FnOnce(&mut Calls) -> &mut usize) {
    let mut calls = CALLS.get();
    *which(&mut calls) += 1;
    CALLS.set(calls);
}

/// open(2): a new device if the path is that of the device, and else what the C library does.
///
/// # Safety
///
/// `path` is a string, and `flags` are not to create a file.
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

/// close(2): of a device, or what the C library does.
#[unsafe(no_mangle)]
pub extern "C" fn devpoll_close(fd: c_int) -> c_int {
    let _inside = Inside::enter();
    let device = Device::find(fd);
    // SAFETY: takes a number; whose it is, is the caller's business.
    let answer = unsafe { libc::close(fd) };
    // Anybody may: in the driver the last close(2) checks no process.
    device.inspect(|device| device.closed());
    answer
}

/// write(2): changes the set of a device, or does what the C library does.
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
    // What is left of a `pollfd` at the end is ignored, and counts as written.
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
    // One writer at a time, and whoever waits for events hears of what was added.
    device.set_to_write().write(&entries)?;
    device.wake();
    bytes
}

/// ioctl(2): of a device, or what the C library does.
///
/// # Safety
///
/// `argument` points to what the request takes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn devpoll_ioctl(fd: c_int, request: c_int, argument: *mut c_void) -> c_int {
    let Some(device) = Device::find(fd) else {
        // By its number, as C libraries disagree about the type of a request.
        // SAFETY: the caller's promise.
        let answer = unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) };
        return c_int::try_from(answer).unwrap_or(-1);
    };
    count_call(|calls| &mut calls.ioctl);
    let _inside = Inside::enter();
    let answer = device.enter().and_then(|()| match request {
        DP_POLL => check(Step::DeviceWait).and_then(|()| {
            // SAFETY: the caller's promise.
            unsafe { poll(device, argument.cast()) }
        }),
        // SAFETY: the caller's promise.
        DP_ISPOLLED => unsafe { is_polled(device, argument.cast()) },
        _ => Err(Errno::EINVAL),
    });
    answer.map_or_else(fail, |count| c_int::try_from(count).unwrap_or(c_int::MAX))
}

/// A tick of the clock, 10 ms unless a system is set to 1 ms: no timeout but zero is shorter.
const TICK: Duration = Duration::from_millis(10);

/// What `DP_POLL` reads of a `struct dvpoll`: not `dp_setp`, which need not be there.
#[repr(C)]
#[derive(Clone, Copy)]
struct Asked {
    places: *mut pollfd,
    room: nfds_t,
    timeout: c_int,
}

const _: () = assert!(offset_of!(Asked, room) == offset_of!(dvpoll, dp_nfds));
const _: () = assert!(offset_of!(Asked, timeout) == offset_of!(dvpoll, dp_timeout));
const _: () = assert!(size_of::<Asked>() == offset_of!(dvpoll, dp_setp));

/// # Safety
///
/// `argument` points to a `struct dvpoll`, and that to as much room as it says.
unsafe fn poll(device: &'static Device, argument: *const dvpoll) -> Result<usize, Errno> {
    let now = Instant::now();
    if argument.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: the caller's promise.
    let Asked { places, room, timeout } = unsafe { argument.cast::<Asked>().read_unaligned() };
    let deadline = match timeout {
        -1 => None,
        ..-1 if Flavor::current() == Flavor::Solaris => None,
        // A moment that has passed, for all other negative ones.
        ..=0 => Some(now),
        millis => Some(now + Duration::from_millis(millis.unsigned_abs().into()).max(TICK)),
    };
    // Without room the set is not looked at: the call only sleeps.
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
    // The buffer is only touched where there is something to put into it.
    if places.is_null() && !ready.is_empty() {
        return Err(Errno::EFAULT);
    }
    for (at, &entry) in ready.iter().enumerate() {
        // SAFETY: within the room that the caller promises.
        let place = unsafe { places.add(at) };
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
    let mut asked = unsafe { argument.read_unaligned() };
    let Some(events) = device.set().events_of(asked.fd) else { return Ok(0) };
    asked.revents = events;
    // SAFETY: the caller's promise.
    unsafe { argument.write_unaligned(asked) };
    Ok(1)
}

fn fail(error: Errno) -> c_int {
    error.set();
    -1
}
