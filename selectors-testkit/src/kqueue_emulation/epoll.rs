//! The calls of epoll(7), and the beacon that every queue watches.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;

/// The user data of the beacon, which no descriptor has.
pub(super) const BEACON: u64 = u64::MAX;

/// An eventfd(2) that is always readable, which all queues share.
pub(super) fn beacon() -> RawFd {
    static BEACON: OnceLock<OwnedFd> = OnceLock::new();
    BEACON
        .get_or_init(|| {
            // SAFETY: takes integers and returns a descriptor or -1.
            let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC) };
            assert!(fd >= 0, "no descriptor is left for the emulation of kqueue");
            // SAFETY: a new descriptor, owned by nothing else.
            unsafe { OwnedFd::from_raw_fd(fd) }
        })
        .as_raw_fd()
}

pub(super) fn control(
    epoll: RawFd,
    operation: i32,
    fd: RawFd,
    events: u32,
    user_data: u64,
) -> Result<(), Errno> {
    let mut event = libc::epoll_event { events, u64: user_data };
    // SAFETY: `event` outlives the call.
    Errno::result(unsafe { libc::epoll_ctl(epoll, operation, fd, &raw mut event) }).map(drop)
}

/// Returns true if an epoll instance has an entry for this descriptor and the file it refers to now.
pub(super) fn watches(epoll: RawFd, fd: RawFd) -> bool {
    if let Err(error) = control(epoll, libc::EPOLL_CTL_ADD, fd, 0, BEACON) {
        return error == Errno::EEXIST;
    }
    // There was none.
    let _ = control(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0);
    false
}

/// The C library declares the flags signed, the kernel unsigned.
pub(super) fn to_bits(events: i32) -> u32 {
    u32::from_ne_bytes(events.to_ne_bytes())
}
