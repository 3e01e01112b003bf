//! Descriptors that are closed, or whose numbers are reused, while they are in the set.

use std::io::Write as _;

use selectors_sys::devpoll::{POLLIN, POLLNVAL, POLLOUT, POLLREMOVE};
use selectors_testkit::fixtures::unix_pair;

use super::{Device, SOURCE_KNOWN, loose, number};

#[test]
fn events_survive_a_close() {
    // Man: the program must remove closed descriptors. Driver: closing removes nothing.
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
    // Man: a descriptor that is not removed may result in POLLNVAL. Driver: it does, because the entry was
    // ready and the next search polls it again. `events` is not initialized.
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
fn a_reused_number_polls_the_new_file() {
    // Man: the file of the reused descriptor is polled.
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
fn a_reused_number_that_was_idle_may_not_be_polled() {
    // Driver: an idle entry is polled again only after a wakeup by its old file, or when it is added again.
    let (ours, _theirs) = unix_pair().unwrap();
    let (new, mut new_peer) = unix_pair().unwrap();
    let reused = loose(&ours);
    let device = Device::open();
    device.add(reused.borrow(), POLLIN);
    assert_eq!(device.ready(), [], "idle, and cached as such");
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
fn a_closed_descriptor_that_was_idle_is_not_polled() {
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
