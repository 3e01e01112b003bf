//! A kqueue for probes, and how its results are printed.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use selectors_sys::kqueue as sys;

pub(crate) struct Queue(OwnedFd);

/// A change: the identifier, the filter, the flags, the user data.
pub(crate) fn change(
    fd: RawFd,
    filter: sys::Filter,
    flags: sys::Flags,
    udata: usize,
) -> sys::kevent {
    full_change(fd, filter, flags, 0, 0, udata)
}

/// A change with all of its fields.
pub(crate) fn full_change(
    ident: RawFd,
    filter: sys::Filter,
    flags: sys::Flags,
    fflags: u32,
    data: sys::Data,
    udata: usize,
) -> sys::kevent {
    #[expect(clippy::cast_sign_loss, reason = "a bad number is meant to be bad")]
    let ident = ident as usize;
    sys::EV_SET(ident, filter, flags, fflags, data, ptr::without_provenance_mut::<c_void>(udata))
}

impl Queue {
    pub(crate) fn new() -> Self {
        // SAFETY: no arguments; returns a descriptor or -1.
        let fd = Errno::result(unsafe { sys::kqueue() }).unwrap();
        // SAFETY: a new descriptor, owned by nothing else.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Applies changes, and returns events.
    pub(crate) fn call(
        &self,
        changes: &[sys::kevent],
        room: usize,
        timeout: Option<(i64, i64)>,
    ) -> Result<Vec<sys::kevent>, Errno> {
        let mut events = vec![sys::EV_SET(0, sys::EVFILT_READ, 0, 0, 0, ptr::null_mut()); room];
        let timeout = timeout.map(|(seconds, nanoseconds)| sys::timespec {
            tv_sec: fitting(seconds),
            tv_nsec: fitting(nanoseconds),
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let queue = self.0.as_raw_fd();
        let counts = [changes.len(), room].map(|count| sys::Count::try_from(count).unwrap());
        let list = events.as_mut_ptr();
        // SAFETY: both lengths are those of the lists; `timeout` is null or outlives the call.
        let count =
            unsafe { sys::kevent(queue, changes.as_ptr(), counts[0], list, counts[1], timeout) };
        events.truncate(usize::try_from(Errno::result(count)?).unwrap());
        Ok(events)
    }

    /// Applies changes without room for events: `0` or the error.
    pub(crate) fn change(&self, changes: &[sys::kevent]) -> String {
        match self.call(changes, 0, None) {
            Ok(events) => events.len().to_string(),
            Err(error) => format!("{error:?}"),
        }
    }

    /// The pending events, without waiting.
    pub(crate) fn look(&self) -> String {
        written(self.call(&[], 16, Some((0, 0))))
    }

    /// Waits until there are events, because TCP takes a moment.
    pub(crate) fn wait(&self) -> String {
        written(self.call(&[], 16, Some((20, 0))))
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The widths of the fields of `struct timespec` depend on the system.
fn fitting<T: TryFrom<i64>>(number: i64) -> T {
    T::try_from(number).ok().unwrap()
}

/// Events in the format of the recorded rows.
pub(crate) fn written(events: Result<Vec<sys::kevent>, Errno>) -> String {
    match events {
        Ok(events) => format!("[{}]", events.iter().map(event).collect::<Vec<_>>().join(" ")),
        Err(error) => format!("{error:?}"),
    }
}

fn event(event: &sys::kevent) -> String {
    let (eof, failed) = (event.flags & sys::EV_EOF != 0, event.flags & sys::EV_ERROR != 0);
    let filter = match event.filter {
        sys::EVFILT_READ => "R",
        sys::EVFILT_WRITE => "W",
        sys::EVFILT_TIMER => "T",
        sys::EVFILT_USER => "U",
        _ => "?",
    };
    // A copy: the structure is packed on macOS.
    let data = { event.data }.to_string();
    let data = match data.as_str() {
        "0" => data,
        number if failed => named(number),
        // An amount of space, which depends on the system.
        _ if event.filter == sys::EVFILT_WRITE => "#".to_owned(),
        _ => data,
    };
    let fflags = if eof && event.fflags != 0 {
        named(&event.fflags.to_string())
    } else {
        event.fflags.to_string()
    };
    let dropped = eof && event.flags & sys::EV_ONESHOT != 0;
    let flags = [(eof, "+EOF"), (dropped, "+ONESHOT"), (failed, "+ERR")];
    let flags: String = flags.into_iter().filter_map(|(is, flag)| is.then_some(flag)).collect();
    format!("{filter}{flags}({data},{fflags},{})", event.udata.addr())
}

/// The name of an errno.
fn named(number: &str) -> String {
    format!("{:?}", Errno::from_raw(number.parse().unwrap()))
}
