//! Descriptors that a selector opens for itself get the lowest number that is free, which may be
//! one that a source of the same selector had a moment ago. One test after the other: all
//! threads of a process share the numbers.
#![cfg(unix)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use selectors::Error;
#[cfg(any(target_os = "linux", target_os = "android"))]
use selectors::backend::Epoll;
#[cfg(feature = "kqueue")]
use selectors::backend::Kqueue;
use selectors::backend::{Deferred, Poll, Select};
use selectors::{Backend, Event, Events, Interest, Selector, Token};
use selectors_testkit::fixtures::{null_device, unix_pair};

const NOW: Option<Duration> = Some(Duration::ZERO);

static NUMBERS: Mutex<()> = Mutex::new(());

fn tokens(events: &Events) -> Vec<Token> {
    events.iter().map(Event::token).collect()
}

/// The lowest number that is free.
fn lowest() -> io::Result<RawFd> {
    Ok(null_device()?.as_raw_fd())
}

/// A source whose number is the lowest that is free once it is closed.
fn lowest_source() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = unix_pair()?;
    let (ours, theirs) = (OwnedFd::from(ours), OwnedFd::from(theirs));
    assert!(ours.as_raw_fd() < theirs.as_raw_fd());
    Ok((ours, theirs))
}

fn woken<B: Backend>(selector: &mut Selector<BorrowedFd<'_>, (), B>) -> io::Result<()> {
    let waker = selector.waker()?;
    assert!(tokens(&selector.select(NOW)?).is_empty());
    thread::scope(|scope| -> io::Result<()> {
        let thread = scope.spawn(|| waker.wake());
        assert!(selector.select(Some(Duration::from_secs(20)))?.woken());
        Ok(thread.join().unwrap()?)
    })
}

/// A source that was unregistered and then closed, as one should.
fn after_unregister<B: Backend>(backend: B) -> io::Result<()> {
    let mut selector = Selector::with_backend(backend);
    let (ours, _theirs) = lowest_source()?;
    let number = ours.as_raw_fd();
    let fd = borrow(number);
    let token = selector.register(fd, Interest::READ, ())?;
    assert!(selector.select(NOW)?.is_empty());
    selector.unregister(token)?;
    drop(ours);
    assert_eq!(lowest()?, number);
    woken(&mut selector)
}

/// A source that was closed behind the selector's back.
fn before_unregister<B: Backend>(backend: B) -> io::Result<()> {
    let mut selector = Selector::with_backend(backend);
    let (ours, _theirs) = lowest_source()?;
    let number = ours.as_raw_fd();
    let token = selector.register(borrow(number), Interest::READ, ())?;
    assert!(selector.select(NOW)?.is_empty());
    drop(ours);
    assert_eq!(lowest()?, number);
    let waker = selector.waker()?;
    selector.select(NOW)?;
    let _ = selector.modify(token, Interest::WRITE);
    selector.select(NOW)?;
    waker.wake()?;
    let events = selector.select(NOW)?;
    assert!(events.woken(), "{events:?}");
    selector.unregister(token)?;
    woken(&mut selector)
}

fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: it is open now. This tests that closing it while it is borrowed does no harm.
    unsafe { BorrowedFd::borrow_raw(number) }
}

#[test]
fn proc_1_a_waker_in_the_number_of_a_source() -> io::Result<()> {
    let _alone = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        after_unregister(Epoll::new()?)?;
        after_unregister(Deferred::new(Epoll::new()?))?;
        before_unregister(Epoll::new()?)?;
        before_unregister(Deferred::new(Epoll::new()?))?;
    }
    after_unregister(Poll::new()?)?;
    after_unregister(Select::new()?)?;
    after_unregister(Deferred::new(Poll::new()?))?;
    after_unregister(Deferred::new(Select::new()?))?;
    before_unregister(Poll::new()?)?;
    before_unregister(Select::new()?)?;
    before_unregister(Deferred::new(Poll::new()?))?;
    before_unregister(Deferred::new(Select::new()?))
}

/// Nor is the channel of the waker a source, before the first wait has seen it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn channel<B: Backend>(backend: B) -> io::Result<()> {
    let mut selector = Selector::with_backend(backend);
    let number = lowest()?;
    let waker = selector.waker()?;
    assert_ne!(lowest()?, number, "that of the channel");
    let refused = selector.register(borrow(number), Interest::READ, ()).unwrap_err().error;
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    waker.wake()?;
    assert!(selector.select(NOW)?.woken());
    woken(&mut selector)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn reg_8_the_channel_of_a_new_waker_is_no_source() -> io::Result<()> {
    let _alone = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    channel(Epoll::new()?)?;
    channel(Poll::new()?)?;
    channel(Select::new()?)?;
    channel(Deferred::new(Epoll::new()?))
}

#[cfg(any(target_os = "linux", target_os = "android", feature = "kqueue"))]
mod files {
    use std::os::fd::AsFd;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    use selectors::Mode;
    use selectors_testkit::fixtures::is_ready;

    use super::*;

    /// What ends the waits while there is an always-ready source takes a number, too.
    fn file_after_unregister<B: Backend + AsFd>(backend: B) -> io::Result<()> {
        let mut selector = Selector::with_backend(backend);
        let (ours, _theirs) = lowest_source()?;
        let number = ours.as_raw_fd();
        let file = null_device()?;
        let token = selector.register(ours, Interest::READ, ())?;
        assert!(selector.select(NOW)?.is_empty());
        let file = selector.register(file.into(), Interest::READ, ())?;
        drop(selector.unregister(token)?);
        assert_eq!(lowest()?, number);
        for _ in 0..2 {
            assert_eq!(tokens(&selector.select(NOW)?), [file]);
            assert!(is_ready(&selector, Interest::READ, 0)?, "the outer selector reports it");
        }
        Ok(())
    }

    fn file_before_unregister<B: Backend + AsFd>(backend: B) -> io::Result<()> {
        let mut selector = Selector::with_backend(backend);
        let (ours, _theirs) = lowest_source()?;
        let number = ours.as_raw_fd();
        let token = selector.register(borrow(number), Interest::READ, ())?;
        let file = null_device()?;
        assert!(selector.select(NOW)?.is_empty());
        drop(ours);
        assert_eq!(lowest()?, number);
        let file = selector.register(file.as_fd(), Interest::READ, ())?;
        assert_eq!(tokens(&selector.select(NOW)?), [file]);
        assert!(selector.modify(token, Interest::WRITE).is_err());
        selector.unregister(token)?;
        assert_eq!(tokens(&selector.select(NOW)?), [file]);
        assert!(is_ready(&selector, Interest::READ, 0)?, "the outer selector reports it");
        Ok(())
    }

    /// A parked source is not watched if the selector uses its number meanwhile.
    fn file_before_arming<B: Backend + AsFd>(backend: B) -> io::Result<()> {
        let mut selector = Selector::with_backend(backend);
        let (ours, _theirs) = lowest_source()?;
        let number = ours.as_raw_fd();
        let parked = selector.register(borrow(number), Interest::empty(), ())?;
        let file = null_device()?;
        drop(ours);
        assert_eq!(lowest()?, number);
        let file = selector.register(file.as_fd(), Interest::READ, ())?;
        assert_eq!(tokens(&selector.select(NOW)?), [file]);
        assert_ne!(lowest()?, number, "the selector has taken it");
        let _ = selector.modify(parked, Interest::READ);
        for _ in 0..2 {
            let events = selector.select(NOW)?;
            let failed = |event: &&Event| event.readiness().contains(selectors::Readiness::ERROR);
            let ready: Vec<_> = events.iter().filter(|it| !failed(it)).map(Event::token).collect();
            assert_eq!(ready, [file]);
            assert!(is_ready(&selector, Interest::READ, 0)?, "the outer selector reports it");
        }
        selector.unregister(parked)?;
        selector.unregister(file)?;
        assert!(selector.select(NOW)?.is_empty());
        assert!(!is_ready(&selector, Interest::READ, 0)?);
        Ok(())
    }

    /// A recreated kernel object watches all sources, except one whose number is the selector's
    /// own.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn file_before_rebuild<B: Backend + AsFd>(backend: B) -> io::Result<()> {
        use std::io::Write;

        use selectors_testkit::fixtures::LooseDescriptor;

        let mut selector = Selector::with_backend(backend);
        let (ours, _theirs) = lowest_source()?;
        let number = ours.as_raw_fd();
        let closed = selector.register(borrow(number), Interest::READ, ())?;
        let (file, (alive, mut peer)) = (null_device()?, unix_pair()?);
        let loose = LooseDescriptor::duplicate(&alive)?;
        let ghost = selector.register(loose.borrow(), Interest::READ, ())?;
        assert!(selector.select(NOW)?.is_empty());
        drop(ours);
        let file = selector.register(file.as_fd(), Interest::READ, ())?;
        assert_ne!(lowest()?, number, "the selector has taken it");
        loose.close()?;
        selector.unregister(ghost)?;
        peer.write_all(b"x")?;
        for _ in 0..3 {
            assert_eq!(tokens(&selector.select(NOW)?), [file]);
        }
        selector.modify(file, Interest::empty())?;
        assert!(!is_ready(&selector, Interest::READ, 0)?, "the ghost was removed");
        selector.modify(file, Interest::READ)?;
        selector.unregister(closed)?;
        assert_eq!(tokens(&selector.select(NOW)?), [file]);
        Ok(())
    }

    /// A change to exclusive wake-up first opens a descriptor, which may get the number of the
    /// source.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn mode_4_a_change_to_exclusive_and_the_number_of_its_source() -> io::Result<()> {
        let _alone = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut selector = Selector::with_backend(Epoll::new()?);
        assert!(!is_ready(&selector, Interest::READ, 0)?);
        let (ours, _theirs) = lowest_source()?;
        let number = ours.as_raw_fd();
        let closed = selector.register(borrow(number), Interest::READ, ())?;
        drop(ours);
        assert_eq!(lowest()?, number);
        assert!(selector.modify_with(closed, Interest::READ, Mode::Exclusive).is_err());
        assert!(selector.select(NOW)?.is_empty());
        let file = null_device()?;
        let file = selector.register(file.as_fd(), Interest::READ, ())?;
        assert_eq!(tokens(&selector.select(NOW)?), [file]);
        assert!(is_ready(&selector, Interest::READ, 0)?);
        selector.unregister(closed)?;
        assert_eq!(tokens(&selector.select(NOW)?), [file]);
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn close_4_a_new_kernel_object_and_the_number_of_a_source() -> io::Result<()> {
        let _alone = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        file_before_rebuild(Epoll::new()?)
    }

    #[test]
    fn ready_11_a_file_and_the_number_of_a_source() -> io::Result<()> {
        let _alone = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            file_after_unregister(Epoll::new()?)?;
            file_after_unregister(Deferred::new(Epoll::new()?))?;
            file_before_unregister(Epoll::new()?)?;
            file_before_arming(Epoll::new()?)?;
            file_before_arming(Deferred::new(Epoll::new()?))?;
        }
        #[cfg(feature = "kqueue")]
        {
            file_after_unregister(Kqueue::new()?)?;
            file_after_unregister(Deferred::new(Kqueue::new()?))?;
            file_before_unregister(Kqueue::new()?)?;
            file_before_arming(Kqueue::new()?)?;
            file_before_arming(Deferred::new(Kqueue::new()?))?;
        }
        Ok(())
    }
}
