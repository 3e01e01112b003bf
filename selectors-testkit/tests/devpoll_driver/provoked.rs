//! Rare behaviour that only the emulation can produce on demand.

use nix::errno::Errno;
use selectors_sys::devpoll::{
    self as sys, O_CLOEXEC, O_RDWR, POLLIN, POLLNVAL, POLLOUT, POLLREMOVE,
};
use selectors_testkit::devpoll_emulation::{
    Flavor, Write, all_written, calls, limit_entries, next_writes, refuse_to_open,
};
use selectors_testkit::fixtures::unix_pair;

use super::{Device, entry, is_solaris, loose, number};

#[test]
fn more_entries_than_rlimit_nofile_are_refused() {
    // Driver: EINVAL, and none is applied.
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = Device::open();
    limit_entries(Some(2));
    assert_eq!(device.write(&[(fd, POLLIN), (fd, POLLOUT), (-1, 0)]), Err(Errno::EINVAL));
    assert_eq!(device.is_polled(fd), None);
    device.write(&[(fd, POLLIN), (fd, POLLOUT)]).unwrap();
    limit_entries(None);
}

#[test]
fn a_larger_buffer_than_rlimit_nofile_is_refused_or_limited() {
    // Man: EINVAL, as in the common driver of illumos and Solaris. Driver of illumos: a buffer of more
    // than twice the limit is limited.
    let pairs: Vec<_> = (0..7).map(|_| unix_pair().unwrap()).collect();
    let device = Device::open();
    for (ours, _) in &pairs {
        device.add(ours, POLLOUT);
    }
    limit_entries(Some(3));
    assert_eq!(device.poll(2, 0).unwrap().len(), 2);
    for (room, count) in [(3, 3), (6, 6), (7, 7), (8, 3), (1_000, 3)] {
        let expected = match Flavor::current() {
            Flavor::Illumos => Ok(count),
            Flavor::Solaris => Err(Errno::EINVAL),
        };
        assert_eq!(device.poll(room, 0).map(|ready| ready.len()), expected, "{room}");
    }
    limit_entries(None);
}

#[test]
fn writes_have_the_results_that_were_set() {
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = Device::open();
    let entries = [entry(fd, POLLIN), entry(fd, POLLOUT)];
    let no_memory = Errno::ENOMEM as i32;
    next_writes(&[
        Write::Interrupted,
        Write::Short(12),
        Write::Done,
        Write::Failed { after: 1, errno: no_memory },
    ]);
    let before = calls().write;
    assert_eq!(device.write_bytes(&entries, 16), Err(Errno::EINTR));
    assert_eq!(device.is_polled(fd), None);
    assert_eq!(device.write_bytes(&entries, 16), Ok(12));
    assert_eq!(device.is_polled(fd), Some(POLLIN));
    assert_eq!(device.write(&[(fd, POLLREMOVE)]), Ok(()));
    assert_eq!(device.write_bytes(&entries, 16), Err(Errno::ENOMEM));
    assert_eq!(device.is_polled(fd), Some(POLLIN));
    assert!(all_written());
    assert_eq!(calls().write - before, 4);
}

#[test]
fn the_device_can_be_missing() {
    refuse_to_open(Some(Errno::ENOENT as i32));
    // SAFETY: the path is a string that outlives the call.
    let fd = unsafe { sys::open(sys::DEV_POLL.as_ptr(), O_RDWR) };
    assert_eq!(Errno::result(fd), Err(Errno::ENOENT));
    refuse_to_open(None);
    drop(Device::open());
}

#[test]
fn calls_on_other_files_go_to_the_c_library() {
    // SAFETY: the path is a string that outlives the call.
    let fd = unsafe { sys::open(c"/dev/null".as_ptr(), O_RDWR | O_CLOEXEC) };
    let fd = Errno::result(fd).unwrap();
    // SAFETY: a byte is read.
    assert_eq!(unsafe { sys::write(fd, (&raw const fd).cast(), 1) }, 1);
    // SAFETY: it is our own, and not used again.
    assert_eq!(unsafe { sys::close(fd) }, 0);
    // SAFETY: the number is not open.
    assert_eq!(unsafe { sys::close(-1) }, -1);
}

#[test]
fn a_device_that_is_not_opened_for_writing_is_not_written() {
    // SAFETY: the path is a string that outlives the call.
    let fd = unsafe { sys::open(sys::DEV_POLL.as_ptr(), O_CLOEXEC) };
    let device = Device(Errno::result(fd).unwrap());
    assert_eq!(device.write(&[(0, POLLIN)]), Err(Errno::EBADF));
    assert_eq!(device.ready(), []);
}

#[test]
fn closing_a_socket_ends_a_wait_unless_it_has_a_duplicate() {
    if is_solaris() {
        return;
    }
    // As observed with the driver of 2020.
    for lives_on in [true, false] {
        let (ours, theirs) = unix_pair().unwrap();
        let gone = loose(&ours);
        let kept = lives_on.then_some(ours);
        let device = Device::open();
        device.add(gone.borrow(), POLLIN);
        assert_eq!(device.ready(), []);
        let timeout = if lives_on { 30 } else { 20_000 };
        let seen = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| device.poll(1, timeout));
            gone.close().unwrap();
            waiting.join().unwrap().unwrap()
        });
        let expected = if lives_on { vec![] } else { vec![(gone.number(), POLLNVAL)] };
        assert_eq!(seen, expected);
        drop((kept, theirs));
    }
}
