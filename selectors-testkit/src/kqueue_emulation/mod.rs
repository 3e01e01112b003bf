//! kqueue(2) on Linux, emulated over epoll(7) and poll(2), for tests.
//!
//! With the feature `kqueue` this crate exports the C symbols `kqueue` and `kevent` on Linux, for
//! `selectors-sys` to link to. They behave as recorded on FreeBSD 12.3 and NetBSD 7.99, or as the source
//! of macOS's kernel says, with Linux's error numbers: `selectors-sys/tests/kqueue_probes` compares them
//! row by row. Where the kernels differ, the environment variable `SELECTORS_KQUEUE_FLAVOR` chooses: see
//! [`Flavor`].
//!
//! Filters: READ, WRITE, TIMER, and USER if the flavor has it. Flags: all that
//! `selectors_sys::kqueue` declares.
//!
//! If `SELECTORS_KQUEUE_LIB` is set, this module is not compiled, and that library provides the
//! symbols.
//!
//! # How
//!
//! The descriptor of a queue is an epoll instance, so it can be polled, nested and closed. It watches each
//! descriptor that has filters, edge-triggered. An event of epoll is only a hint: poll(2) on the
//! descriptor tells what is reported. A level-triggered filter that was reported is modified with
//! `EPOLL_CTL_MOD`, which queues it behind the others if it is ready, so that short lists are filled
//! fairly.
//!
//! A BSD drops the filters of a descriptor when it is closed, epoll only when its last duplicate is. But
//! an entry of epoll belongs to a descriptor *and* an open file: `EPOLL_CTL_ADD` fails with EEXIST as
//! long as the number refers to the same file as when it was added, and does not once it was closed or
//! refers to another file. This is checked before anything is reported or changed. The entry of a file
//! that has a duplicate cannot be removed any more, so the user data contains a serial number by which
//! its events are recognized and ignored.
//!
//! Filters that epoll cannot watch (triggered USER filters, expired timers, files) make the descriptor
//! readable through the beacon, an eventfd(2) that is always readable and that every queue of the process
//! watches.
//!
//! A filter is in the kernel's queue from when it is found ready until the next wait, even if it becomes
//! idle meanwhile. The emulation tracks that where it is visible: an `EV_ONESHOT` filter is then reported
//! without being checked again, and the descriptor is readable. A handler of pthread_atfork(3) closes the
//! queues in every child, because children do not inherit them.
//!
//! # Limitations
//!
//! - A filter that becomes ready and idle again between two calls is not noticed.
//! - If a descriptor was closed and dup2(2) makes its number a duplicate of the same open file, the filters
//!   continue to exist.
//! - The error of a socket (`fflags`) cannot be queried without clearing it. It is inferred:
//!   ECONNREFUSED if the socket was never connected, ECONNRESET if it was.
//! - An expired timer makes the descriptor readable only while a thread waits in kevent(2).
//! - A regular file that grows and a pipe that is partly read are noticed when a wait begins, not during it.
//! - If one descriptor has two `EV_CLEAR` filters, a change in one direction may report the other again.
//! - A queue cannot be used through a duplicate of its descriptor: EBADF.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use selectors_sys::kqueue::{
    Count, EV_ADD, EV_DELETE, EV_ERROR, EV_RECEIPT, kevent as Event, timespec,
};

use crate::emulated_faults::{Inside, Step, check};
use queue::Queue;

mod descriptor;
mod epoll;
mod filters;
mod knote;
mod process;
mod queue;
mod reports;
mod watch;

/// The kernel that is emulated where kernels differ: FreeBSD and NetBSD as recorded, macOS according to
/// the published source of XNU (11417).
///
/// | | FreeBSD | NetBSD | macOS |
/// |---|---|---|---|
/// | `EV_ENABLE` after `EV_DISPATCH`, data pending | reports it, with the new udata | silent until a change | as FreeBSD: `knote_apply_touch()` |
/// | `EV_ONESHOT` filter that was ready and has become idle | reported | reported | not reported: `knote_process()` |
/// | `EVFILT_USER` | supported | EINVAL, as before NetBSD 10 | supported |
/// | `EVFILT_WRITE` added to a pipe without a peer | EPIPE | EBADF | accepted, `EV_EOF`: `pipe_kqfilter()` |
/// | the peer of a pipe is closed | its `EVFILT_WRITE` is reported once, with `EV_EOF` and `EV_ONESHOT`, and dropped | reported every time | reported every time: `filt_pipe_draincommon()` |
/// | the peer of a named pipe is closed | `EV_EOF` | `EV_EOF` | nothing: `filt_vnode_common()` |
/// | a device without filters | ENODEV | EINVAL | EINVAL: `filt_specattach()` |
/// | a terminal that hung up | ENXIO | ENXIO | accepted |
///
/// # Examples
///
/// ```
/// use selectors_testkit::kqueue_emulation::Flavor;
///
/// // Unless the environment says otherwise:
/// # if std::env::var_os("SELECTORS_KQUEUE_FLAVOR").is_none() {
/// assert_eq!(Flavor::current(), Flavor::FreeBsd);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// FreeBSD 12.3 and 13.
    FreeBsd,
    /// NetBSD 7.99.
    NetBsd,
    /// XNU.
    MacOs,
}

impl Flavor {
    /// The flavor of this process: `freebsd`, `netbsd` or `macos` in the environment variable
    /// `SELECTORS_KQUEUE_FLAVOR` at the first call; FreeBSD if it is not set.
    ///
    /// # Panics
    ///
    /// If the variable has another value.
    #[must_use]
    pub fn current() -> Self {
        static CURRENT: OnceLock<Flavor> = OnceLock::new();
        *CURRENT.get_or_init(|| match std::env::var("SELECTORS_KQUEUE_FLAVOR").as_deref() {
            Err(_) | Ok("freebsd") => Self::FreeBsd,
            Ok("netbsd") => Self::NetBsd,
            Ok("macos") => Self::MacOs,
            Ok(other) => {
                panic!("SELECTORS_KQUEUE_FLAVOR={other}: expected freebsd, netbsd or macos")
            }
        })
    }
}

thread_local! {
    static DEVICE_ERROR: Cell<Option<i32>> = const { Cell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// How often this thread has called kevent(2).
#[must_use]
pub fn calls() -> usize {
    CALLS.get()
}

/// Makes kevent(2) fail with this error when this thread adds a filter to a device, or no longer: EINVAL as
/// macOS for `/dev/tty`, EOPNOTSUPP as OpenBSD for a device without filters, ENXIO as FreeBSD for a device
/// that is gone.
pub fn refuse_devices(errno: Option<i32>) {
    DEVICE_ERROR.set(errno);
}

/// kqueue(2): creates a queue. Unlike a kernel's, its descriptor is close-on-exec from the start.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue() -> c_int {
    let _inside = Inside::enter();
    check(Step::Queue).and_then(|()| Queue::create()).unwrap_or_else(fail)
}

/// kevent(2): changes filters, then reports events.
///
/// # Safety
///
/// `changelist` points to `nchanges` events, `eventlist` to space for `nevents`, and `timeout` is null or
/// points to a time. The two lists may be the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent(
    kq: c_int,
    changelist: *const Event,
    nchanges: Count,
    eventlist: *mut Event,
    nevents: Count,
    timeout: *const timespec,
) -> c_int {
    CALLS.set(CALLS.get() + 1);
    let _inside = Inside::enter();
    let Some(queue) = Queue::find(kq) else { return fail(Errno::EBADF) };
    let mut errors = 0;
    let room = usize::try_from(nevents).unwrap_or(0);
    for at in 0..usize::try_from(nchanges).unwrap_or(0) {
        // SAFETY: within the list that the caller promises.
        let change = unsafe { changelist.add(at) };
        // SAFETY: as above. The writes below never overtake the reads.
        let mut change = unsafe { change.read() };
        let result = match change.flags & (EV_ADD | EV_DELETE) {
            // Deleting needs no memory.
            EV_DELETE => Ok(()),
            EV_ADD => check(Step::Add),
            _ => check(Step::Trigger),
        };
        let result = result.and_then(|()| queue.apply(&change));
        if result.is_ok() && change.flags & EV_RECEIPT == 0 {
            continue;
        }
        if errors == room {
            // As both kernels do, also for a receipt: earlier receipts are lost, and later changes are
            // not applied.
            return result.map_or_else(fail, |()| 0);
        }
        change.flags = EV_ERROR;
        change.data = result.map_or_else(|error| error as isize, |()| 0);
        // SAFETY: within the space that the caller promises.
        let place = unsafe { eventlist.add(errors) };
        // SAFETY: as above.
        unsafe { place.write(change) };
        errors += 1;
    }
    if errors > 0 || room == 0 {
        return c_int::try_from(errors).unwrap_or(c_int::MAX);
    }
    // SAFETY: null or readable, as the caller promises.
    let deadline = match unsafe { timeout.as_ref() }.map(duration) {
        None => None,
        Some(Ok(timeout)) => Instant::now().checked_add(timeout),
        Some(Err(error)) => return fail(error),
    };
    let write = |at: usize, event| {
        // SAFETY: the queue stays within `room`, which the caller promises.
        let place = unsafe { eventlist.add(at) };
        // SAFETY: as above.
        unsafe { place.write(event) };
    };
    match check(Step::QueueWait).and_then(|()| queue.wait(room, deadline, write)) {
        Ok(count) => c_int::try_from(count).unwrap_or(c_int::MAX),
        Err(error) => fail(error),
    }
}

/// Both kernels refuse an invalid time. (The recorded FreeBSD returned 0, but its clock stood still.)
fn duration(time: &timespec) -> Result<Duration, Errno> {
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    let nanoseconds = u32::try_from(time.tv_nsec).map_err(|_| Errno::EINVAL)?;
    if nanoseconds >= 1_000_000_000 {
        return Err(Errno::EINVAL);
    }
    Ok(Duration::new(seconds, nanoseconds))
}

fn fail(error: Errno) -> c_int {
    error.set();
    -1
}
