//! The descriptor of a device: its owner, duplicates and reuse of its number, and nesting.

use std::ffi::c_void;
use std::fs::File;
use std::io::Write as _;
use std::mem;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selectors_sys::devpoll::{self as sys, DP_ISPOLLED, POLLERR, POLLIN, POLLOUT, POLLREMOVE};
use selectors_testkit::fixtures::{in_forked_child, is_close_on_exec, regular_file, unix_pair};

use super::{Device, duplicate_device, entry, is_solaris, number};

#[test]
fn another_process_cannot_use_the_device() {
    // Man: a child inherits the descriptor, but its calls fail with EACCES.
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = Device::open();
    device.add(&ours, POLLOUT);
    let fine = in_forked_child(|| {
        assert_eq!(device.write(&[(fd, POLLREMOVE)]), Err(Errno::EACCES));
        assert_eq!(device.poll(1, 0), Err(Errno::EACCES));
        assert_eq!(device.poll(1, -1), Err(Errno::EACCES));
        let mut polled = entry(fd, 0);
        // SAFETY: `polled` is writable.
        let result =
            unsafe { sys::ioctl(device.0, DP_ISPOLLED, (&raw mut polled).cast::<c_void>()) };
        assert_eq!(Errno::result(result), Err(Errno::EACCES));
        // Man: the child should close it and open its own.
        let own = Device::open();
        own.write(&[(fd, POLLOUT)]).unwrap();
        assert_eq!(own.ready(), [(fd, POLLOUT)]);
        drop(device);
    });
    assert!(fine.unwrap());
}

#[test]
fn closing_in_a_child_changes_nothing_in_the_parent() {
    let (ours, _theirs) = unix_pair().unwrap();
    let mut slot = Some(Device::open());
    slot.as_ref().unwrap().add(&ours, POLLOUT);
    assert!(in_forked_child(|| drop(slot.take())).unwrap());
    assert_eq!(slot.unwrap().ready(), [(number(&ours), POLLOUT)]);
}

#[test]
fn the_first_user_or_the_opener_owns_a_device() {
    // Driver: since 2015 the first process that writes or polls; before 2015 the one that opened it.
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = Device::open();
    let fine = in_forked_child(|| {
        if is_solaris() {
            assert_eq!(device.write(&[(fd, POLLOUT)]), Err(Errno::EACCES));
            return;
        }
        device.write(&[(fd, POLLOUT)]).unwrap();
        assert_eq!(device.ready(), [(fd, POLLOUT)]);
    });
    assert!(fine.unwrap());
    if is_solaris() {
        assert_eq!(device.poll(1, 0), Ok(vec![]));
        return;
    }
    assert_eq!(device.poll(1, 0), Err(Errno::EACCES));
    assert_eq!(device.write(&[(fd, POLLREMOVE)]), Err(Errno::EACCES));
}

/// The `revents` of poll(2) for a descriptor.
fn polled(fd: RawFd) -> PollFlags {
    // SAFETY: passed to poll(2) alone.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut one = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut one, PollTimeout::ZERO).unwrap();
    one[0].revents().unwrap()
}

#[test]
fn polling_a_device_results_in_an_error() {
    // Man: POLLERR, whatever its set contains.
    let (ours, _theirs) = unix_pair().unwrap();
    let inner = Device::open();
    assert_eq!(polled(inner.0), PollFlags::POLLERR);
    inner.add(&ours, POLLOUT);
    assert_eq!(polled(inner.0), PollFlags::POLLERR);
    let outer = Device::open();
    outer.write(&[(inner.0, POLLIN | POLLOUT)]).unwrap();
    assert_eq!(outer.ready(), [(inner.0, POLLERR)]);
    assert_eq!(inner.ready(), [(number(&ours), POLLOUT)]);
}

#[test]
fn the_number_of_a_closed_device_belongs_to_the_next_file() {
    let (ours, mut theirs) = unix_pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let device = Device::open();
    device.add(&ours, POLLIN);
    // dup2(2) gives the number to another file, on which the calls then act.
    let mut file = tempfile();
    // SAFETY: both are open, and our own.
    let same = unsafe { nix::unistd::dup2_raw(&file, device.0) }.unwrap();
    assert!(device.write(&[(number(&ours), POLLIN)]).is_ok());
    file.flush().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 8, "the bytes of one entry");
    assert_eq!(device.poll(1, 0), Err(Errno::ENOTTY));
    mem::forget(device);
    drop(same);
    let other = Device::open();
    assert_eq!(other.ready(), [], "a new device is empty, whatever its number");
}

fn tempfile() -> File {
    let file = regular_file().unwrap();
    file.set_len(0).unwrap();
    file
}

#[test]
fn a_duplicate_is_the_same_device() {
    let (ours, _theirs) = unix_pair().unwrap();
    let device = Device::open();
    device.add(&ours, POLLOUT);
    let duplicate = duplicate_device(&device);
    assert_eq!(duplicate.ready(), [(number(&ours), POLLOUT)]);
    // SAFETY: it is our own, and closed once.
    drop(unsafe { OwnedFd::from_raw_fd(duplicate.0) });
    mem::forget(duplicate);
    assert_eq!(device.ready(), [(number(&ours), POLLOUT)]);
}

#[test]
fn it_is_opened_close_on_exec_on_request() {
    let device = Device::open();
    // SAFETY: it is open.
    assert!(is_close_on_exec(unsafe { BorrowedFd::borrow_raw(device.0) }).unwrap());
}
