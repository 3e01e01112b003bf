//! kqueue(2) on Linux, emulated over epoll(7) and poll(2), for tests.
//!
//! With the feature `kqueue` this crate exports the C symbols `kqueue` and `kevent` on Linux, for
//! `selectors-sys` to find. They do what two kernels were seen to do, FreeBSD 12.3 and
//! NetBSD 7.99, or what the source of macOS's says, with Linux's error numbers:
//! `selectors-sys/tests/kqueue_probes` compares them row by row. Where they differ, the
//! environment variable `SELECTORS_KQUEUE_FLAVOR` chooses: see [`Flavor`].
//!
//! Filters: READ, WRITE, TIMER, and USER for the flavor that has it. Flags: all of those that
//! `selectors_sys::kqueue` declares.
//!
//! If `SELECTORS_KQUEUE_LIB` is set, this module is not compiled, and that library provides the
//! symbols.
//!
//! # How
//!
//! The descriptor is an epoll instance, so it can be polled, nested and closed as any other. Each
//! descriptor that has filters is watched by it, edge-triggered. An event there is no more than
//! a hint: the descriptor is polled for what is reported. A level-triggered filter that was
//! reported is put back with `EPOLL_CTL_MOD`, which queues it again behind the others while it is
//! ready: so short lists are served in turn.
//!
//! A BSD drops the filters of a descriptor when it is closed, epoll only when the last duplicate
//! is. But epoll's entries go by descriptor *and* open file: `EPOLL_CTL_ADD` answers EEXIST as
//! long as a number means the file that it meant when it was added, and something else once it
//! was closed or given to another file. That is asked before anything is reported or changed.
//! The entry of a file that lives on in a duplicate cannot be removed any more, so it carries a
//! serial number by which its events are known and ignored.
//!
//! What kqueue knows and epoll does not (triggered USER filters, expired timers, files) makes
//! the descriptor readable through an eventfd(2) that every queue of the process watches, and
//! that is always readable.
//!
//! A filter is in the kernel's queue from when it is found ready until somebody waits, whatever
//! becomes of it meanwhile. That is noted where it shows: `EV_ONESHOT` is then reported without being
//! asked again, and the descriptor is readable. A handler of pthread_atfork(3) closes the queues in
//! every child, which do not inherit them.
//!
//! # What it cannot do
//!
//! - Note that a filter was ready, and is not any more, between two calls.
//! - See that a descriptor was closed when its number came back by dup2(2) from a duplicate of
//!   the same open file: the filters then live on.
//! - Tell the error of a socket (`fflags`) without taking it from the program. It is told by how
//!   the socket got there: ECONNREFUSED if it never was connected, ECONNRESET if it was.
//! - Make the descriptor itself readable when a timer expires, unless somebody waits in kevent(2).
//! - See that a regular file has grown, or that part of a pipe was read, while
//!   somebody waits. It sees both when a wait begins.
//! - Two `EV_CLEAR` filters of one descriptor: news in one direction may report the other again.
//! - Use of a queue by its duplicate's number: EBADF.

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

/// The kernel that the emulation follows where they differ: FreeBSD and NetBSD as they were
/// recorded, macOS as the published source of XNU (11417) has it.
///
/// | | FreeBSD | NetBSD | macOS |
/// |---|---|---|---|
/// | `EV_ENABLE` after `EV_DISPATCH`, data pending | reports it, with the new udata | silent until news | as FreeBSD: `knote_apply_touch()` |
/// | `EV_ONESHOT` of what was ready and is not any more | reported | reported | not reported: `knote_process()` |
/// | `EVFILT_USER` | there | EINVAL, as before NetBSD 10 | there |
/// | `EVFILT_WRITE` added to a pipe without a peer | EPIPE | EBADF | accepted, `EV_EOF`: `pipe_kqfilter()` |
/// | the peer of a pipe goes | its `EVFILT_WRITE` is reported once, with `EV_EOF` and `EV_ONESHOT`, and is gone | reported every time | reported every time: `filt_pipe_draincommon()` |
/// | the peer of a named pipe goes | `EV_EOF` | `EV_EOF` | nothing: `filt_vnode_common()` |
/// | a device that has no filters | ENODEV | EINVAL | EINVAL: `filt_specattach()` |
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
    /// As XNU does it.
    MacOs,
}

impl Flavor {
    /// The flavor of this process: `freebsd`, `netbsd` or `macos` in the environment variable
    /// `SELECTORS_KQUEUE_FLAVOR`, as it was when first asked; FreeBSD if it is not set.
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
    static DEVICES_ARE: Cell<Option<i32>> = const { Cell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// How often this thread has called kevent(2).
#[must_use]
pub fn calls() -> usize {
    CALLS.get()
}

/// Has kevent(2) answer this error where this thread adds a filter to a device, from now on or no
/// more: EINVAL as macOS does for `/dev/tty`, EOPNOTSUPP as OpenBSD does for what has no filters,
/// ENXIO as FreeBSD does for what is gone.
pub fn refuse_devices(errno: Option<i32>) {
    DEVICES_ARE.set(errno);
}

/// kqueue(2): a new queue. Unlike the real one its descriptor is close-on-exec from the start.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue() -> c_int {
    let _inside = Inside::enter();
    check(Step::Queue).and_then(|()| Queue::create()).unwrap_or_else(fail)
}

/// kevent(2): changes filters, then reports events.
///
/// # Safety
///
/// `changelist` points to `nchanges` events, `eventlist` to room for `nevents`, and `timeout` to
/// a time or nowhere. The two lists may be the same.
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
        // SAFETY: as above. Events written below never get ahead of the changes read.
        let mut change = unsafe { change.read() };
        let result = match change.flags & (EV_ADD | EV_DELETE) {
            // Deleting takes nothing that could be lacking.
            EV_DELETE => Ok(()),
            EV_ADD => check(Step::Add),
            _ => check(Step::Trigger),
        };
        let result = result.and_then(|()| queue.apply(&change));
        if result.is_ok() && change.flags & EV_RECEIPT == 0 {
            continue;
        }
        if errors == room {
            // As both kernels do, also for a receipt: what was noted is lost, and what comes
            // after is not applied.
            return result.map_or_else(fail, |()| 0);
        }
        change.flags = EV_ERROR;
        change.data = result.map_or_else(|error| error as isize, |()| 0);
        // SAFETY: within the room that the caller promises.
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

/// Both kernels refuse what is no time. (The recorded FreeBSD answered 0 there, but its clock
/// stood still.)
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
