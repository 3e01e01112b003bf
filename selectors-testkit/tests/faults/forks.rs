//! Making a selector whole after fork(2): each of the calls fails, and it can be tried again.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{Backend, Error, Interest, Mode, Selector, SharedSelector};
use selectors_testkit::fixtures::{LooseDescriptor, is_ready, null_device, unix_pair};

use crate::another_process::another_process;
use crate::injection::{Call, FOR_EVER, Fault, calls, failing, within};
use crate::{NOW, Subject, in_child};

fn each_call_fails<B: Backend>(
    new: impl Fn() -> io::Result<B>,
    prepare: impl Fn(&Subject<B>),
    faults: &[Fault],
) -> io::Result<()> {
    for &fault in faults {
        let mut selector = Selector::with_backend(new()?);
        let mut peers = Vec::new();
        for mode in [Mode::Level, Mode::OneShot] {
            let (ours, mut theirs) = unix_pair()?;
            selector.register_with(ours.into(), Interest::READ, (), mode)?;
            theirs.write_all(b"x")?;
            peers.push(theirs);
        }
        selector.register(null_device()?.into(), Interest::READ, ())?;
        let waker = selector.waker()?;
        prepare(&selector);
        in_child(|| {
            let mut places = 0;
            loop {
                let (result, injected) =
                    failing(fault.after(fault.skip + places), || selector.after_fork());
                if injected == 0 {
                    result?;
                    break;
                }
                places += 1;
                match result {
                    // Waits do without the beacon of the file.
                    Ok(()) if matches!(fault.call, Call::Eventfd | Call::EpollAdd) => break,
                    Err(Error::Os { source, .. }) => {
                        assert_eq!(source.raw_os_error(), Some(fault.errno as i32));
                    }
                    other => panic!("{fault:?}: {other:?}"),
                }
                assert!(matches!(selector.select(NOW), Err(Error::Forked)));
            }
            assert!(places > 0, "{fault:?} is never met");
            let waker = selector.waker()?;
            waker.wake()?;
            let events = selector.select(None)?;
            assert_eq!(events.len(), 3);
            assert!(events.woken());
            assert_eq!(selector.select(None)?.len(), 2);
            Ok(())
        })?;
        // The parent does not notice.
        waker.wake()?;
        let events = selector.select(None)?;
        assert_eq!(events.len(), 3);
        assert!(events.woken());
    }
    Ok(())
}

#[test]
fn proc_4_each_call_of_after_fork_fails() -> io::Result<()> {
    let faults = [
        Fault::new(Call::EpollCreate, Errno::EMFILE),
        Fault::new(Call::EpollCreate, Errno::ENOMEM),
        Fault::new(Call::EpollAdd, Errno::ENOMEM),
        Fault::new(Call::EpollAdd, Errno::ENOSPC),
        Fault::new(Call::Eventfd, Errno::EMFILE),
    ];
    each_call_fails(Epoll::new, |_| {}, &faults)?;
    // With a descriptor that others watch.
    let dup = Fault::new(Call::Replace, Errno::EMFILE);
    let watched = |selector: &Selector<_, _, Epoll>| assert!(selector.as_raw_fd() >= 0);
    each_call_fails(Epoll::new, watched, &[faults[0], faults[2], dup])?;
    let closed = Fault::new(Call::GetStatus, Errno::EBADF);
    each_call_fails(Poll::new, |_| {}, &[closed])?;
    each_call_fails(Select::new, |_| {}, &[closed])?;
    // What is registered again is deferred.
    each_call_fails(|| Epoll::new().map(Deferred::new), |_| {}, &faults[..2])
}

/// What could not be rebuilt in the parent is no reason to put up with a ghost in the child.
#[test]
fn close_4_a_child_begins_with_patience_of_its_own() -> io::Result<()> {
    let (ghost, mut its_peer) = unix_pair()?;
    its_peer.write_all(b"x")?;
    let mut selector: SharedSelector = SharedSelector::new()?;
    let registrar = selector.registrar();
    let (sources, _peers): (Vec<_>, Vec<_>) = (0..30)
        .map(|_| -> io::Result<_> {
            let (ours, theirs) = unix_pair()?;
            Ok((registrar.register(ours, Interest::READ, ())?, theirs))
        })
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    let haunt = |selector: &mut SharedSelector, fault: Option<Fault>| -> io::Result<()> {
        let loose = LooseDescriptor::duplicate(&ghost)?;
        let source = selector.registrar().register(loose.borrow(), Interest::READ, ())?;
        loose.close()?;
        std::mem::forget(loose);
        drop(source);
        for _ in 0..2 {
            let (events, _) = failing(fault, || selector.select(NOW));
            assert!(events?.is_empty());
        }
        Ok(())
    };
    let no_memory = Fault::new(Call::EpollAdd, Errno::ENOMEM);
    haunt(&mut selector, Some(no_memory.times(FOR_EVER)))?;
    in_child(|| {
        selector.after_fork()?;
        haunt(&mut selector, None)?;
        let own = selector.descriptor().expect("epoll has one");
        assert!(!is_ready(&own, Interest::READ, 0)?, "the ghost is still there");
        Ok(())
    })?;
    drop(sources);
    Ok(())
}

/// The handler that notices forks is installed by the first selector for which that succeeds. Others
/// that this process has made had no fault, so the test runs itself in a process of its own.
#[test]
fn proc_4_noticing_forks_fails_at_first() -> io::Result<()> {
    const ALONE: &str = "SELECTORS_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "forks::proc_4_noticing_forks_fails_at_first";
        let output = another_process(name).env(ALONE, "1").output()?;
        assert!(output.status.success(), "{output:?}");
        return Ok(());
    }
    let fault = Fault::new(Call::AtFork, Errno::ENOMEM).times(2);
    let mut selectors: Vec<Subject<Epoll>> = Vec::new();
    for injected in [1, 1] {
        let (selector, met) = failing(fault, Selector::<_, _, Epoll>::new);
        selectors.push(selector?);
        assert_eq!(met, injected);
    }
    for injected in [1, 0] {
        let before = calls();
        selectors.push(within(Selector::<_, _, Epoll>::new)?);
        assert_eq!(calls() - before, 1 + injected);
    }
    in_child(|| {
        for selector in &mut selectors {
            assert!(matches!(selector.select(NOW), Err(Error::Forked)));
        }
        Ok(())
    })
}
