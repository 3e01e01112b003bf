//! poll(2) with the results of illumos: translated from those of Linux.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc;
use selectors_sys::devpoll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDBAND, pollfd};

fn type_of(fd: RawFd) -> libc::mode_t {
    // SAFETY: all fields are integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    unsafe { libc::fstat(fd, &raw mut stat) };
    stat.st_mode & libc::S_IFMT
}

pub(super) fn is_socket(fd: RawFd) -> bool {
    type_of(fd) == libc::S_IFSOCK
}

/// The events to request from Linux. Urgent data is `POLLPRI` on Linux, and only `POLLRDBAND` for sockets
/// of illumos (`so_notify_oobdata()` in `socknotify.c`).
pub(super) fn to_linux(fd: RawFd, events: i16) -> i16 {
    let urgent = events & POLLRDBAND != 0;
    match type_of(fd) {
        libc::S_IFSOCK if urgent => events | POLLPRI,
        libc::S_IFSOCK => events & !POLLPRI,
        _ => events,
    }
}

/// Translates the result of Linux to that of illumos.
fn to_illumos(fd: RawFd, requested: i16, revents: i16) -> i16 {
    match type_of(fd) {
        libc::S_IFSOCK => {
            let mut revents = revents;
            if revents & POLLPRI != 0 {
                revents = revents & !POLLPRI | POLLRDBAND & requested;
            }
            // An error sets the requested directions, and no hang-up is reported before it was read:
            // so_poll() in sockcommon_sops.c.
            if revents & POLLERR != 0 {
                revents = revents & !(POLLERR | POLLHUP) | requested & (POLLIN | POLLOUT);
            }
            revents
        }
        // fs_poll() in fs_subr.c.
        libc::S_IFREG => revents | requested & POLLRDBAND,
        _ => revents,
    }
}

/// poll(2) without waiting, repeated if a signal interrupts it.
pub(super) fn poll(entries: &mut [pollfd]) {
    let requested: Vec<_> = entries.iter().map(|entry| entry.events).collect();
    for entry in &mut *entries {
        entry.events = to_linux(entry.fd, entry.events);
    }
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(0);
    loop {
        // SAFETY: `entries` are writable.
        let result = unsafe { libc::poll(entries.as_mut_ptr(), count, 0) };
        if result >= 0 || Errno::last() != Errno::EINTR {
            break;
        }
    }
    for (entry, requested) in entries.iter_mut().zip(requested) {
        entry.events = requested;
        entry.revents = to_illumos(entry.fd, requested, entry.revents);
    }
}
