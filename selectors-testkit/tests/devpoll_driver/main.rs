//! The behaviour of /dev/poll itself: of the kernel on illumos and Solaris; on Linux of the emulation, or of
//! the library that `SELECTORS_DEVPOLL_LIB` names.
//!
//! *Man* is poll(4D). *Driver* is `devpoll.c` of illumos. Behaviour that only the latter defines is tested
//! on illumos and with the emulation only.
#![cfg(any(target_os = "linux", target_os = "illumos", target_os = "solaris"))]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

use selectors_testkit::fixtures::LooseDescriptor;

mod closing;
mod device;
mod owner;
#[cfg(all(target_os = "linux", not(external_devpoll)))]
mod provoked;
mod set;
mod waiting;

use device::{Device, entry};

/// Whether this is the driver of illumos or the emulation of it.
const SOURCE_KNOWN: bool = cfg!(not(target_os = "solaris"));

/// Returns true for the driver of Solaris: that of 2011, from which the one of illumos descends.
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

fn number(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

/// A duplicate with another number.
fn loose(fd: impl AsFd) -> LooseDescriptor {
    LooseDescriptor::duplicate(fd).unwrap()
}

/// Another descriptor of the same device.
fn duplicate_device(device: &Device) -> Device {
    // SAFETY: it is open.
    let fd = unsafe { BorrowedFd::borrow_raw(device.0) };
    Device(fd.try_clone_to_owned().unwrap().into_raw_fd())
}
