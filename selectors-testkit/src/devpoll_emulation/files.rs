//! What files say of themselves, in illumos's terms: poll(2) of Linux, put right.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc;
use selectors_sys::devpoll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDBAND, pollfd};

fn type_of(fd: RawFd) -> libc::mode_t {
    // SAFETY: all fields are integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is ours to be written.
    unsafe { libc::fstat(fd, &raw mut stat) };
    stat.st_mode & libc::S_IFMT
}

pub(super) fn is_socket(fd: RawFd) -> bool {
    type_of(fd) == libc::S_IFSOCK
}

/// The events to ask Linux for: it knows urgent data as `POLLPRI`, and illumos's sockets as
/// `POLLRDBAND` alone (`so_notify_oobdata()` in `socknotify.c`).
pub(super) fn to_linux(fd: RawFd, events: i16) -> i16 {
    let urgent = events & POLLRDBAND != 0;
    match type_of(fd) {
        libc::S_IFSOCK if urgent => events | POLLPRI,
        libc::S_IFSOCK => events & !POLLPRI,
        _ => events,
    }
}

/// What Linux has answered, as illumos would.
fn to_illumos(fd: RawFd, asked: i16, answer: i16) -> i16 {
    match type_of(fd) {
        libc::S_IFSOCK => {
            let mut answer = answer;
            if answer & POLLPRI != 0 {
                answer = answer & !POLLPRI | POLLRDBAND & asked;
            }
            // An error is readiness, and no hang-up before it was read: so_poll() in
            // sockcommon_sops.c.
            if answer & POLLERR != 0 {
                answer = answer & !(POLLERR | POLLHUP) | asked & (POLLIN | POLLOUT);
            }
            answer
        }
        // fs_poll() in fs_subr.c.
        libc::S_IFREG => answer | asked & POLLRDBAND,
        _ => answer,
    }
}

/// poll(2) without waiting. Whatever a signal does, there is an answer.
pub(super) fn poll(entries: &mut [pollfd]) {
    let asked: Vec<_> = entries.iter().map(|entry| entry.events).collect();
    for entry in &mut *entries {
        entry.events = to_linux(entry.fd, entry.events);
    }
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(0);
    loop {
        // SAFETY: `entries` are ours to be written.
        let answer = unsafe { libc::poll(entries.as_mut_ptr(), count, 0) };
        if answer >= 0 || Errno::last() != Errno::EINTR {
            break;
        }
    }
    for (entry, asked) in entries.iter_mut().zip(asked) {
        entry.events = asked;
        entry.revents = to_illumos(entry.fd, asked, entry.revents);
    }
}
