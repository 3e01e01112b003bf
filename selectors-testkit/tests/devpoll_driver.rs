//! /dev/poll itself, rule by rule: on illumos and Solaris the kernel's, on Linux the emulation, or
//! what `SELECTORS_DEVPOLL_LIB` names.
//!
//! *Man* is poll(4D). *Driver* is `devpoll.c` of illumos, and what only that says is asked of
//! it and of the emulation alone.
#![cfg(any(target_os = "linux", target_os = "illumos", target_os = "solaris"))]

use std::ffi::c_void;
use std::fs::File;
use std::io::Write as _;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selectors_sys::devpoll::{
    self as sys, DP_ISPOLLED, DP_POLL, O_CLOEXEC, O_RDWR, POLLERR, POLLIN, POLLNVAL, POLLOUT,
    POLLREMOVE, pollfd,
};
use selectors_testkit::fixtures::{
    LooseDescriptor, drain, in_forked_child, is_close_on_exec, pipe, regular_file, signal_storm,
    unix_pair,
};

/// Whether it is the driver whose source was read, or what goes by that.
const SOURCE_KNOWN: bool = cfg!(not(target_os = "solaris"));

/// An open device. Its descriptor belongs to nobody else.
struct Device(RawFd);

impl Device {
    fn open() -> Self {
        // SAFETY: the path is a string that outlives the call.
        let fd = unsafe { sys::open(sys::DEV_POLL.as_ptr(), O_RDWR | O_CLOEXEC) };
        Self(Errno::result(fd).unwrap())
    }

    fn write_bytes(&self, entries: &[pollfd], bytes: usize) -> nix::Result<usize> {
        assert!(bytes <= size_of_val(entries));
        // SAFETY: `entries` are at least as long.
        let answer = unsafe { sys::write(self.0, entries.as_ptr().cast(), bytes) };
        Ok(usize::try_from(Errno::result(answer)?).unwrap())
    }

    /// Writes `entries`, and expects all of them to be taken.
    fn write(&self, entries: &[(RawFd, i16)]) -> nix::Result<()> {
        let entries: Vec<_> = entries.iter().map(|&(fd, events)| entry(fd, events)).collect();
        let bytes = size_of_val(entries.as_slice());
        assert_eq!(self.write_bytes(&entries, bytes)?, bytes);
        Ok(())
    }

    fn add(&self, fd: impl AsFd, events: i16) {
        self.write(&[(fd.as_fd().as_raw_fd(), events)]).unwrap();
    }

    fn poll_into(&self, buffer: &mut [pollfd], room: usize, timeout: i32) -> nix::Result<usize> {
        // SAFETY: all fields are integers and pointers, for which zero is a value.
        let mut dvpoll: sys::dvpoll = unsafe { mem::zeroed() };
        dvpoll.dp_fds = buffer.as_mut_ptr();
        dvpoll.dp_nfds = sys::nfds_t::try_from(room).unwrap();
        dvpoll.dp_timeout = timeout;
        // SAFETY: there is room for what is ready, which the caller sees to.
        let count = unsafe { sys::ioctl(self.0, DP_POLL, (&raw mut dvpoll).cast::<c_void>()) };
        Ok(usize::try_from(Errno::result(count)?).unwrap())
    }

    /// What is ready, and for what.
    fn poll(&self, room: usize, timeout: i32) -> nix::Result<Vec<(RawFd, i16)>> {
        let mut buffer = vec![entry(-1, 0); room];
        let count = self.poll_into(&mut buffer, room, timeout)?;
        Ok(buffer[..count].iter().map(|entry| (entry.fd, entry.revents)).collect())
    }

    fn ready(&self) -> Vec<(RawFd, i16)> {
        self.poll(16, 0).unwrap()
    }

    /// The events that a number is in the set for.
    fn is_polled(&self, fd: RawFd) -> Option<i16> {
        let mut asked = entry(fd, 0);
        // SAFETY: `asked` is ours to be written.
        let answer = unsafe { sys::ioctl(self.0, DP_ISPOLLED, (&raw mut asked).cast::<c_void>()) };
        assert_eq!(asked.fd, fd);
        (Errno::result(answer).unwrap() == 1).then_some(asked.revents)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: ours, and not used any more.
        unsafe { sys::close(self.0) };
    }
}

/// Whether the driver is the common one of 2011, which Solaris has.
fn is_solaris() -> bool {
    #[cfg(all(target_os = "linux", not(external_devpoll)))]
    {
        use selectors_testkit::devpoll_emulation::Flavor;
        Flavor::current() == Flavor::Solaris
    }
    #[cfg(not(all(target_os = "linux", not(external_devpoll))))]
    {
        cfg!(target_os = "solaris")
    }
}

fn entry(fd: RawFd, events: i16) -> pollfd {
    pollfd { fd, events, revents: 0 }
}

fn number(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

/// The same open file under another number.
fn loose(fd: impl AsFd) -> LooseDescriptor {
    LooseDescriptor::duplicate(fd).unwrap()
}

/// What poll(2) says of a descriptor.
fn polled(fd: RawFd) -> PollFlags {
    // SAFETY: nothing is done with it but to ask.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut one = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut one, PollTimeout::ZERO).unwrap();
    one[0].revents().unwrap()
}

#[test]
fn what_is_ready_is_reported_with_what_it_was_added_for() {
    // Man: fd is the descriptor, events what the user asked for, revents what has happened.
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
fn events_are_added_to_those_that_are_there() {
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
fn entries_of_one_write_are_taken_in_their_order() {
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = Device::open();
    device.write(&[(fd, POLLIN), (fd, POLLREMOVE), (fd, POLLOUT)]).unwrap();
    assert_eq!(device.is_polled(fd), Some(POLLOUT));
    device.write(&[(fd, POLLIN), (fd, POLLREMOVE)]).unwrap();
    assert_eq!(device.is_polled(fd), None);
    assert_eq!(device.ready(), []);
    // Removing what is not there is no error.
    device.write(&[(fd, POLLREMOVE)]).unwrap();
}

#[test]
fn removing_is_an_equation() {
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
fn what_cannot_be_a_descriptor_is_taken_without_a_word() {
    // Driver: what is beyond the table of open files is skipped, and its bytes count as written.
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
fn what_is_not_open_is_taken_without_a_word() {
    // Driver: a number within the table is noted, and not polled, since there is no file: not even
    // when there is one, until it is added again.
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
            // And then for what it was added for when it was not open as well, which cannot be
            // taken back by removing it: there is nothing to be removed.
            assert_eq!(device.is_polled(gone.number()), Some(POLLIN | POLLOUT));
            assert_eq!(device.ready(), [(gone.number(), POLLOUT)]);
        }
    }
    // Now there is.
    device.write(&[(gone.number(), POLLREMOVE), (gone.number(), POLLIN)]).unwrap();
    assert_eq!(device.is_polled(gone.number()), Some(POLLIN));
}

#[test]
fn events_survive_a_close() {
    // Man: closed descriptors have to be removed. Driver: nothing is cleaned up by itself.
    let (ours, _theirs) = unix_pair().unwrap();
    let (other, _other_peer) = unix_pair().unwrap();
    let reused = loose(&ours);
    let device = Device::open();
    device.add(reused.borrow(), POLLIN | POLLOUT);
    reused.close().unwrap();
    if SOURCE_KNOWN {
        assert_eq!(device.is_polled(reused.number()), Some(POLLIN | POLLOUT));
    }
    reused.replace(&other).unwrap();
    device.add(reused.borrow(), POLLIN);
    assert_eq!(device.is_polled(reused.number()), Some(POLLIN | POLLOUT));
    assert_eq!(device.ready(), [(reused.number(), POLLOUT)]);
}

#[test]
fn a_closed_descriptor_is_pollnval_or_nothing() {
    // Man: not removing it may result in POLLNVAL. Driver: it does, as it was ready and is so
    // looked at, and the entry's events are not filled in.
    let (ours, _theirs) = unix_pair().unwrap();
    let (other, _other_peer) = unix_pair().unwrap();
    let gone = loose(&ours);
    let device = Device::open();
    device.add(gone.borrow(), POLLOUT);
    assert_eq!(device.ready(), [(gone.number(), POLLOUT)]);
    device.add(&other, POLLOUT);
    gone.close().unwrap();
    let ready = device.ready();
    let others: Vec<_> = ready.iter().filter(|(fd, _)| *fd != gone.number()).collect();
    assert_eq!(others, [&(number(&other), POLLOUT)]);
    for (fd, revents) in ready {
        assert!(fd == number(&other) || revents == POLLNVAL);
    }
    #[cfg(all(target_os = "linux", not(external_devpoll)))]
    {
        use selectors_testkit::devpoll_emulation::Flavor;
        let silent = Flavor::current() == Flavor::Solaris;
        assert_eq!(device.ready().len(), if silent { 1 } else { 2 });
    }
    device.write(&[(gone.number(), POLLREMOVE)]).unwrap();
    assert_eq!(device.ready(), [(number(&other), POLLOUT)]);
}

#[test]
fn a_reused_number_means_the_new_file() {
    // Man: one polls what is associated with the reused descriptor.
    let (ours, _theirs) = unix_pair().unwrap();
    let (idle, mut idle_peer) = unix_pair().unwrap();
    let reused = loose(&ours);
    let device = Device::open();
    device.add(reused.borrow(), POLLIN);
    reused.replace(&idle).unwrap();
    assert_eq!(device.ready(), []);
    idle_peer.write_all(b"x").unwrap();
    assert_eq!(device.ready(), [(reused.number(), POLLIN)]);
}

#[test]
fn a_reused_number_may_not_be_looked_at() {
    // Driver: what was idle is woken by its file, which is not the number's any more. Adding it
    // again helps.
    let (ours, _theirs) = unix_pair().unwrap();
    let (new, mut new_peer) = unix_pair().unwrap();
    let reused = loose(&ours);
    let device = Device::open();
    device.add(reused.borrow(), POLLIN);
    assert_eq!(device.ready(), [], "idle, and so known to be");
    reused.replace(&new).unwrap();
    new_peer.write_all(b"x").unwrap();
    #[cfg(all(target_os = "linux", not(external_devpoll)))]
    {
        use selectors_testkit::devpoll_emulation::Flavor;
        let silent = Flavor::current() == Flavor::Illumos;
        assert_eq!(device.ready().len(), usize::from(!silent));
    }
    device.add(reused.borrow(), POLLIN);
    assert_eq!(device.ready(), [(reused.number(), POLLIN)]);
}

#[test]
fn a_closed_descriptor_that_was_idle_is_not_looked_at() {
    if !SOURCE_KNOWN {
        return;
    }
    let (ours, _theirs) = unix_pair().unwrap();
    let gone = loose(&ours);
    let device = Device::open();
    device.add(gone.borrow(), POLLIN);
    assert_eq!(device.ready(), []);
    gone.close().unwrap();
    for (fd, revents) in device.ready() {
        assert_eq!((fd, revents), (gone.number(), POLLNVAL));
    }
}

#[cfg(all(target_os = "linux", not(external_devpoll)))]
#[test]
fn closing_a_socket_ends_a_wait_unless_a_duplicate_lives_on() {
    if is_solaris() {
        return;
    }
    // Driver of 2020, run.
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

#[test]
fn a_part_of_an_entry_is_ignored_and_counts() {
    // Driver: as many entries as are whole; all bytes are said to be written.
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
fn without_room_the_set_is_not_looked_at() {
    // Driver: then the call only sleeps.
    let (ours, _theirs) = unix_pair().unwrap();
    let device = Device::open();
    device.add(&ours, POLLOUT);
    assert_eq!(device.poll_into(&mut [], 0, 0), Ok(0));
    let start = Instant::now();
    assert_eq!(device.poll_into(&mut [], 0, 20), Ok(0));
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn timeouts_are_milliseconds_and_at_least_a_tick() {
    // Man: dp_timeout is in milliseconds. Driver: a positive one is a tick at least.
    let device = Device::open();
    assert_eq!(device.poll(1, 0), Ok(vec![]));
    for millis in [1, 25] {
        let start = Instant::now();
        assert_eq!(device.poll(1, millis), Ok(vec![]));
        let tick = if cfg!(target_os = "linux") { 10 } else { 1 };
        let least = u64::try_from(millis).unwrap().max(tick);
        assert!(start.elapsed() >= Duration::from_millis(least));
    }
    if !is_solaris() {
        // Driver, since 2015: only -1 is for ever. Another negative one is a moment that has passed.
        assert_eq!(device.poll(1, -2), Ok(vec![]));
    }
}

#[test]
fn a_signal_ends_a_wait_but_no_look() {
    // Man: EINTR. Driver: with a timeout of zero no signal is looked for.
    let (ours, _theirs) = unix_pair().unwrap();
    let device = Device::open();
    device.add(&ours, POLLIN);
    let storm = signal_storm(Duration::from_millis(1)).unwrap();
    assert_eq!(device.poll(1, 20_000), Err(Errno::EINTR));
    assert_eq!(device.poll_into(&mut [], 0, 20_000), Err(Errno::EINTR));
    for _ in 0..1_000 {
        assert_eq!(device.poll(1, 0), Ok(vec![]));
    }
    drop(storm);
}

#[test]
fn a_search_goes_round_in_a_circle() {
    // Driver: it goes on where the last one that filled its list has stopped, by number.
    let pairs: Vec<_> = (0..5).map(|_| unix_pair().unwrap()).collect();
    let mut numbers: Vec<_> = pairs.iter().map(|(ours, _)| number(ours)).collect();
    numbers.sort_unstable();
    let device = Device::open();
    for &fd in &numbers {
        device.write(&[(fd, POLLOUT)]).unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.extend(device.poll(2, -1).unwrap().iter().map(|(fd, _)| *fd));
    }
    if SOURCE_KNOWN {
        let circle: Vec<_> = numbers.iter().copied().cycle().take(10).collect();
        assert_eq!(seen, circle);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, numbers, "none starves");
}

#[test]
fn another_process_is_kept_out() {
    // Man: a child inherits the descriptor, and is told EACCES.
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = Device::open();
    device.add(&ours, POLLOUT);
    let fine = in_forked_child(|| {
        assert_eq!(device.write(&[(fd, POLLREMOVE)]), Err(Errno::EACCES));
        assert_eq!(device.poll(1, 0), Err(Errno::EACCES));
        assert_eq!(device.poll(1, -1), Err(Errno::EACCES));
        let mut asked = entry(fd, 0);
        // SAFETY: `asked` is ours to be written.
        let answer =
            unsafe { sys::ioctl(device.0, DP_ISPOLLED, (&raw mut asked).cast::<c_void>()) };
        assert_eq!(Errno::result(answer), Err(Errno::EACCES));
        // Man: it should close that one and open its own.
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
fn a_device_belongs_to_who_uses_it_first_or_opened_it() {
    // Driver: opening it is not using it, since 2015. Before, it is what counts.
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

#[test]
fn polling_a_device_results_in_an_error() {
    // Man: POLLERR, whatever is in its set.
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
fn a_file_is_always_ready() {
    let file = regular_file().unwrap();
    let device = Device::open();
    device.add(&file, POLLIN | POLLOUT);
    assert_eq!(device.ready(), [(number(&file), POLLIN | POLLOUT)]);
}

#[test]
fn what_is_no_request_is_refused() {
    let device = Device::open();
    // SAFETY: it is no request, so the argument is not looked at.
    let answer = unsafe { sys::ioctl(device.0, 0xd0ff, ptr::null_mut::<c_void>()) };
    assert_eq!(Errno::result(answer), Err(Errno::EINVAL));
    // Man: EFAULT.
    for request in [DP_POLL, DP_ISPOLLED] {
        // SAFETY: nothing is there, and the kernel sees that.
        let answer = unsafe { sys::ioctl(device.0, request, ptr::null_mut::<c_void>()) };
        assert_eq!(Errno::result(answer), Err(Errno::EFAULT));
    }
    // SAFETY: as above.
    let answer = unsafe { sys::write(device.0, ptr::null(), size_of::<pollfd>()) };
    assert_eq!(Errno::result(answer), Err(Errno::EFAULT));
}

#[test]
fn a_change_reaches_who_waits() {
    // Driver: whoever waits looks at what was added, since 2015. Before, it is added when the wait
    // has ended.
    let (ours, _theirs) = unix_pair().unwrap();
    let fd = number(&ours);
    let device = &Device::open();
    device.write(&[(fd, POLLREMOVE)]).unwrap();
    std::thread::scope(|scope| {
        let timeout = if is_solaris() { 50 } else { 20_000 };
        let waiting = scope.spawn(move || device.poll(4, timeout));
        device.write(&[(fd, POLLOUT)]).unwrap();
        let ready = waiting.join().unwrap().unwrap();
        assert!(ready == [(fd, POLLOUT)] || is_solaris() && ready.is_empty(), "{ready:?}");
    });
    assert_eq!(device.ready(), [(fd, POLLOUT)]);
}

#[test]
fn a_number_of_a_closed_device_is_whose_it_is_next() {
    let (ours, mut theirs) = unix_pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let device = Device::open();
    device.add(&ours, POLLIN);
    // Another file gets the number behind the device's back, and everything goes to that.
    let mut file = tempfile();
    // SAFETY: both are open, and ours.
    let same = unsafe { nix::unistd::dup2_raw(&file, device.0) }.unwrap();
    assert!(device.write(&[(number(&ours), POLLIN)]).is_ok());
    file.flush().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 8, "an entry, as bytes");
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
fn a_device_goes_by_its_file_and_not_by_its_number() {
    let (ours, _theirs) = unix_pair().unwrap();
    let device = Device::open();
    device.add(&ours, POLLOUT);
    let twin = loose_device(&device);
    assert_eq!(twin.ready(), [(number(&ours), POLLOUT)]);
    // SAFETY: it is nobody else's, and is closed once.
    drop(unsafe { OwnedFd::from_raw_fd(twin.0) });
    mem::forget(twin);
    assert_eq!(device.ready(), [(number(&ours), POLLOUT)]);
}

#[test]
fn who_waits_goes_on_with_the_device_that_it_asked() {
    let (ours, mut theirs) = unix_pair().unwrap();
    let (idle, mut idle_peer) = unix_pair().unwrap();
    for _ in 0..20 {
        let device = Device::open();
        device.add(&ours, POLLIN);
        let other = Device::open();
        other.add(&idle, POLLIN);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| device.poll(4, 20_000));
            // The number becomes the other device's before or during the wait.
            // SAFETY: the number is open.
            let end = unsafe { BorrowedFd::borrow_raw(other.0) };
            // SAFETY: the number is ours to give away.
            let same = unsafe { nix::unistd::dup2_raw(end, device.0) }.unwrap();
            theirs.write_all(b"x").unwrap();
            idle_peer.write_all(b"x").unwrap();
            let ready = waiting.join().unwrap().unwrap();
            let either = [[(number(&ours), POLLIN)], [(number(&idle), POLLIN)]];
            assert!(either.iter().any(|one| ready == one), "{ready:?}");
            mem::forget(same);
        });
        drain(&ours).unwrap();
        drain(&idle).unwrap();
    }
}

#[test]
fn a_device_can_be_closed_while_somebody_waits() {
    let (ours, mut theirs) = unix_pair().unwrap();
    for _ in 0..20 {
        let device = Device::open();
        device.add(&ours, POLLIN);
        let twin = loose_device(&device);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| device.poll(4, 20_000));
            drop(twin);
            theirs.write_all(b"x").unwrap();
            match waiting.join().unwrap() {
                Ok(ready) => assert_eq!(ready, [(number(&ours), POLLIN)]),
                // The emulation takes any close for the last one, if it comes before the wait.
                Err(error) => assert!(cfg!(target_os = "linux") && error == Errno::ENOTTY),
            }
        });
        drain(&ours).unwrap();
    }
}

/// Another descriptor of the same device.
fn loose_device(device: &Device) -> Device {
    // SAFETY: it is open.
    let fd = unsafe { BorrowedFd::borrow_raw(device.0) };
    Device(fd.try_clone_to_owned().unwrap().into_raw_fd())
}

#[test]
fn it_is_opened_close_on_exec_on_request() {
    let device = Device::open();
    // SAFETY: it is open.
    assert!(is_close_on_exec(unsafe { BorrowedFd::borrow_raw(device.0) }).unwrap());
}

#[test]
fn a_pipe_without_a_peer_tells_of_it_unasked() {
    let (reader, writer) = pipe().unwrap();
    drop(writer);
    let device = Device::open();
    device.add(&reader, 0);
    let ready = device.poll(1, 20_000).unwrap();
    assert_eq!(ready.len(), 1);
    assert_ne!(ready[0].1 & sys::POLLHUP, 0);
}

/// What only the emulation can be made to do.
#[cfg(all(target_os = "linux", not(external_devpoll)))]
mod provoked {
    use selectors_testkit::devpoll_emulation::{
        Flavor, Write, all_written, calls, limit_entries, next_writes, refuse_to_open,
    };

    use super::*;

    #[test]
    fn more_entries_than_rlimit_nofile_are_refused() {
        // Driver: EINVAL, and none of them is taken.
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
    fn more_room_than_rlimit_nofile_is_refused_or_cut_down() {
        // Man: EINVAL, as in the driver that illumos and Solaris have in common. Driver of illumos:
        // as many as the limit if there is room for more than twice of it.
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
    fn writes_fail_as_they_are_told_to() {
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
    fn what_is_no_device_is_the_c_librarys() {
        // SAFETY: the path is a string that outlives the call.
        let fd = unsafe { sys::open(c"/dev/null".as_ptr(), O_RDWR | O_CLOEXEC) };
        let fd = Errno::result(fd).unwrap();
        // SAFETY: a byte is read.
        assert_eq!(unsafe { sys::write(fd, (&raw const fd).cast(), 1) }, 1);
        // SAFETY: ours, and not used any more.
        assert_eq!(unsafe { sys::close(fd) }, 0);
        // SAFETY: takes a number, which nobody has.
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
}
