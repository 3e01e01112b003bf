//! Writes to a device, and their effect on its set.

use std::ffi::c_void;
use std::io::Write as _;
use std::os::fd::RawFd;
use std::ptr;

use nix::errno::Errno;
use selectors_sys::devpoll::{
    self as sys, DP_ISPOLLED, DP_POLL, POLLIN, POLLOUT, POLLREMOVE, pollfd,
};
use selectors_testkit::fixtures::{drain, unix_pair};

use super::{Device, SOURCE_KNOWN, entry, is_solaris, loose, number};

#[test]
fn ready_entries_are_reported_with_their_events() {
    // Man: `fd` is the descriptor, `events` the requested events, `revents` those that occurred.
    let (ours, mut theirs) = unix_pair().unwrap();
    let device = Device::open();
    device.add(&ours, POLLIN);
    assert_eq!(device.ready(), []);
    theirs.write_all(b"x").unwrap();
    let mut buffer = [entry(-1, 0); 2];
    for _ in 0..2 {
        // Level-triggered.
        assert_eq!(device.poll_into(&mut buffer, 2, -1), Ok(1));
        assert_eq!(
            (buffer[0].fd, buffer[0].events, buffer[0].revents),
            (number(&ours), POLLIN, POLLIN)
        );
        assert_eq!(buffer[1].fd, -1, "there is no second one");
    }
    drain(&ours).unwrap();
    assert_eq!(device.ready(), []);
}

#[test]
fn events_are_added_to_the_existing_ones() {
    // Man: the events of entries with the same fd are OR-ed. Driver: also those of several writes.
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = Device::open();
    device.add(&ours, POLLOUT);
    device.add(&ours, POLLIN);
    assert_eq!(device.is_polled(fd), Some(POLLIN | POLLOUT));
    assert_eq!(device.ready(), [(fd, POLLOUT)]);
    device.write(&[(fd, POLLREMOVE), (fd, POLLIN)]).unwrap();
    assert_eq!(device.is_polled(fd), Some(POLLIN));
    assert_eq!(device.ready(), []);
}

#[test]
fn entries_of_one_write_are_applied_in_order() {
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = Device::open();
    device.write(&[(fd, POLLIN), (fd, POLLREMOVE), (fd, POLLOUT)]).unwrap();
    assert_eq!(device.is_polled(fd), Some(POLLOUT));
    device.write(&[(fd, POLLIN), (fd, POLLREMOVE)]).unwrap();
    assert_eq!(device.is_polled(fd), None);
    assert_eq!(device.ready(), []);
    // Removing a descriptor that is not in the set is no error.
    device.write(&[(fd, POLLREMOVE)]).unwrap();
}

#[test]
fn only_pollremove_alone_removes() {
    // Driver: POLLREMOVE with another bit is an event like others.
    if !SOURCE_KNOWN {
        return;
    }
    let (ours, mut theirs) = unix_pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let fd = number(&ours);
    let device = Device::open();
    device.add(&ours, POLLREMOVE | POLLIN);
    assert_eq!(device.is_polled(fd), Some(POLLREMOVE | POLLIN));
    assert_eq!(device.ready(), [(fd, POLLIN)]);
}

#[test]
fn an_impossible_descriptor_is_silently_skipped() {
    // Driver: a number beyond the table of open files is skipped, and its bytes count as written.
    let (ours, _theirs) = unix_pair().unwrap();
    let device = Device::open();
    let beyond = RawFd::MAX - 1;
    device.write(&[(-1, POLLIN), (RawFd::MIN, POLLIN), (beyond, POLLOUT)]).unwrap();
    device.write(&[(-7, POLLREMOVE), (beyond, POLLREMOVE)]).unwrap();
    for fd in [-1, RawFd::MIN, beyond] {
        assert_eq!(device.is_polled(fd), None);
    }
    device.write(&[(-1, POLLIN), (number(&ours), POLLOUT), (beyond, POLLIN)]).unwrap();
    assert_eq!(device.ready(), [(number(&ours), POLLOUT)]);
}

#[test]
fn a_descriptor_that_is_not_open_is_silently_accepted() {
    // Driver: a number within the table is stored, but not polled until it is open and added again.
    let (ours, _theirs) = unix_pair().unwrap();
    let gone = loose(&ours);
    gone.close().unwrap();
    let device = Device::open();
    device.write(&[(gone.number(), POLLOUT)]).unwrap();
    assert_eq!(device.is_polled(gone.number()), None);
    assert_eq!(device.ready(), []);
    gone.replace(&ours).unwrap();
    if SOURCE_KNOWN {
        assert_eq!(device.ready(), []);
        device.write(&[(gone.number(), POLLREMOVE), (gone.number(), POLLIN)]).unwrap();
        if is_solaris() {
            assert_eq!(device.is_polled(gone.number()), Some(POLLIN));
        } else {
            // It then has the events of the first write as well: removing does not clear the events of
            // an entry without a file.
            assert_eq!(device.is_polled(gone.number()), Some(POLLIN | POLLOUT));
            assert_eq!(device.ready(), [(gone.number(), POLLOUT)]);
        }
    }
    // Now it has a file.
    device.write(&[(gone.number(), POLLREMOVE), (gone.number(), POLLIN)]).unwrap();
    assert_eq!(device.is_polled(gone.number()), Some(POLLIN));
}

#[test]
fn an_incomplete_entry_is_ignored_and_counts_as_written() {
    // Driver: complete entries are applied; the result is the number of all bytes.
    if !SOURCE_KNOWN {
        return;
    }
    let (ours, _theirs) = unix_pair().unwrap();
    let (other, _other_peer) = unix_pair().unwrap();
    let device = Device::open();
    let entries = [entry(number(&ours), POLLOUT), entry(number(&other), POLLOUT)];
    assert_eq!(device.write_bytes(&entries, 13), Ok(13));
    assert_eq!(device.ready(), [(number(&ours), POLLOUT)]);
    assert_eq!(device.write_bytes(&entries, 0), Ok(0));
}

#[test]
fn an_unknown_request_and_a_bad_address_are_refused() {
    let device = Device::open();
    // SAFETY: the request is unknown, so the argument is not read.
    let result = unsafe { sys::ioctl(device.0, 0xd0ff, ptr::null_mut::<c_void>()) };
    assert_eq!(Errno::result(result), Err(Errno::EINVAL));
    // Man: EFAULT.
    for request in [DP_POLL, DP_ISPOLLED] {
        // SAFETY: the kernel detects the bad address.
        let result = unsafe { sys::ioctl(device.0, request, ptr::null_mut::<c_void>()) };
        assert_eq!(Errno::result(result), Err(Errno::EFAULT));
    }
    // SAFETY: as above.
    let result = unsafe { sys::write(device.0, ptr::null(), size_of::<pollfd>()) };
    assert_eq!(Errno::result(result), Err(Errno::EFAULT));
}
