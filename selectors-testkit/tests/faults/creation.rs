//! Selectors that cannot be made, because one of the calls that make them fails.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
#[cfg(feature = "devpoll")]
use selectors::DevpollSelector;
#[cfg(feature = "kqueue")]
use selectors::KqueueSelector;
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{
    AnySelector, Backend, BackendKind, DeferredSelector, EpollSelector, Error, PollSelector,
    SelectSelector, Selector, SharedSelector,
};
#[cfg(any(feature = "devpoll", feature = "kqueue"))]
use selectors_testkit::emulated_faults::Step;
use selectors_testkit::fixtures::{OwnedSource, open_descriptors};

use crate::in_child;
#[cfg(any(feature = "devpoll", feature = "kqueue"))]
use crate::injection::ask_for_emulated_faults;
use crate::injection::{Call, FOR_EVER, Fault, failing};

/// Every call that may make something, with what it fails with.
const FAULTS: &[(Call, &[Errno])] = &[
    (Call::EpollCreate, &[Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EPERM]),
    (Call::EpollAdd, &[Errno::ENOMEM, Errno::ENOSPC]),
    (Call::Eventfd, &[Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENODEV]),
    (Call::GetStatus, &[Errno::EBADF]),
    #[cfg(feature = "kqueue")]
    (Call::SetFlags, &[Errno::EBADF]),
    (Call::Duplicate, &[Errno::EMFILE, Errno::EBADF, Errno::EINVAL]),
    (Call::Poll, &[Errno::ENOMEM]),
    (Call::Select, &[Errno::ENOMEM]),
    #[cfg(feature = "kqueue")]
    (Call::Emulated(Step::Queue), &[Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM]),
    #[cfg(feature = "devpoll")]
    (Call::Emulated(Step::Open), &[Errno::EMFILE, Errno::ENOENT, Errno::EACCES]),
];

/// Makes a selector, and waits once.
type Make = Box<dyn Fn() -> io::Result<()>>;

fn waits<B: Backend>(selector: Result<Selector<OwnedSource, (), B>, Error>) -> io::Result<()> {
    assert!(selector?.select(Some(Duration::ZERO))?.is_empty());
    Ok(())
}

fn shared<B: Backend + Send + 'static>(backend: io::Result<B>) -> io::Result<()> {
    let mut selector: SharedSelector = SharedSelector::with_backend(backend?)?;
    assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    Ok(())
}

fn selectors() -> Vec<Make> {
    let mut all: Vec<Make> = vec![
        Box::new(|| waits(EpollSelector::new())),
        Box::new(|| waits(PollSelector::new())),
        Box::new(|| waits(SelectSelector::new())),
        Box::new(|| waits(DeferredSelector::new())),
        Box::new(|| shared(Epoll::new())),
        Box::new(|| shared(Poll::new())),
        Box::new(|| shared(Select::new())),
        Box::new(|| shared(Epoll::new().map(Deferred::new))),
        #[cfg(feature = "kqueue")]
        Box::new(|| waits(KqueueSelector::new())),
        #[cfg(feature = "devpoll")]
        Box::new(|| waits(DevpollSelector::new())),
    ];
    for kind in BackendKind::available() {
        all.push(Box::new(move || waits(AnySelector::new(kind))));
    }
    all
}

/// Each error of each of the first calls, once and for ever.
fn faults(call: Call, errnos: &[Errno]) -> impl Iterator<Item = Fault> {
    let each = errnos.iter().map(move |&errno| Fault::new(call, errno));
    let places = each.flat_map(|fault| (0..4).map(move |skip| fault.after(skip)));
    places.flat_map(|fault| [fault, fault.times(FOR_EVER)])
}

/// The error comes back, nothing is left behind, and it works afterwards.
#[test]
fn reg_12_what_cannot_be_made_leaves_nothing_behind() -> io::Result<()> {
    #[cfg(any(feature = "devpoll", feature = "kqueue"))]
    ask_for_emulated_faults();
    // Alone with its descriptors, which are counted.
    in_child(|| {
        let mut met = [0; FAULTS.len()];
        for (nth, make) in selectors().iter().enumerate() {
            make()?;
            let before = open_descriptors();
            for (&(call, errnos), met) in FAULTS.iter().zip(&mut met) {
                for fault in faults(call, errnos) {
                    let (made, injected) = failing(fault, make);
                    *met += injected;
                    if let Err(error) = made {
                        assert!(injected > 0, "{nth} {fault:?}: {error}");
                        let number = error.raw_os_error();
                        assert_eq!(number, Some(fault.errno as i32), "{nth} {fault:?}: {error}");
                    }
                    assert_eq!(open_descriptors(), before, "{nth} {fault:?}");
                    make()?;
                }
            }
        }
        for ((call, _), met) in FAULTS.iter().zip(met) {
            assert!(met > 0, "{call:?} is never made");
        }
        Ok(())
    })
}
