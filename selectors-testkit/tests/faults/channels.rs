//! Wakers whose channel breaks: it is replaced, and `wake` returns an error until then.
//! In processes of their own, which do not wait for a lost wake for ever.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{Backend, BackendKind, Error, Interest, Selector, SharedSelector};
use selectors_testkit::fixtures::{open_descriptors, open_numbers, unix_pair, with_raw};

use crate::injection::{Call, FOR_EVER, Fault, calls, failing, failing_both};
use crate::wakers::{over_all, works};
use crate::{LONG, NOW, Subject, in_child};

/// Where the channel is read: it breaks, and is replaced at once.
fn receiving_fails<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    for errno in [Errno::EIO, Errno::EBADF, Errno::EINVAL] {
        let mut selector: Subject<B> = Selector::with_backend(new()?);
        let waker = selector.waker()?;
        for _ in 0..3 {
            waker.wake()?;
            let (events, injected) =
                failing(Fault::new(Call::Read, errno), || selector.select(LONG));
            assert!(events?.woken());
            assert_eq!(injected, 1);
            works(&mut selector, &waker)?;
        }
    }
    Ok(())
}

#[test]
fn proc_7_a_broken_channel_is_replaced() -> io::Result<()> {
    in_child(|| {
        receiving_fails(Poll::new)?;
        receiving_fails(Select::new)?;
        receiving_fails(|| Poll::new().map(Deferred::new))?;
        receiving_fails(|| Select::new().map(Deferred::new))
    })
}

/// It breaks when no other can be made, though it could still be written to.
fn not_replaced<B: Backend>(
    new: impl Fn() -> io::Result<B>,
    breaks: impl Fn(&mut Subject<B>) -> io::Result<()>,
) -> io::Result<()> {
    let mut selector: Subject<B> = Selector::with_backend(new()?);
    let waker = selector.waker()?;
    waker.wake()?;
    breaks(&mut selector)?;
    // Nobody is promised a wake that does not come.
    assert!(matches!(waker.wake(), Err(Error::Os { .. })));
    let none_left = Fault::new(Call::Eventfd, Errno::EMFILE).times(FOR_EVER);
    assert!(!failing(none_left, || selector.select(NOW)).0?.woken());
    assert!(waker.wake().is_err());
    // Nothing turns, and each wait tries again.
    let before = calls();
    let (events, injected) =
        failing(none_left, || selector.select(Some(Duration::from_millis(50))));
    assert!(!events?.woken());
    assert!((1..10).contains(&injected) && calls() - before < 20);
    assert!(waker.wake().is_err());
    // A wait replaces it before it blocks.
    let woken = thread::scope(|scope| -> io::Result<bool> {
        let thread = scope.spawn(|| {
            while waker.wake().is_err() {
                thread::yield_now();
            }
        });
        let woken = selector.select(None)?.woken();
        thread.join().unwrap();
        Ok(woken)
    })?;
    assert!(woken);
    works(&mut selector, &waker)
}

/// Waits that do not block replace a broken channel, too, and each makes a few calls at most while
/// that fails.
fn replaced_without_blocking<B: Backend>(
    new: impl Fn() -> io::Result<B>,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let mut selector: Subject<B> = Selector::with_backend(new()?);
    let (ours, _theirs) = unix_pair()?;
    selector.register(ours.into(), Interest::WRITE, ())?;
    let waker = selector.waker()?;
    let (broken, injected) = failing(Fault::new(Call::Write, Errno::EBADF), || waker.wake());
    assert!(broken.is_err() && injected == 1);
    let none_left = Fault::new(Call::Eventfd, Errno::EMFILE).times(FOR_EVER);
    let before = calls();
    let ((), injected) = failing(none_left, || {
        for _ in 0..10 {
            assert_eq!(selector.select(timeout).map(|events| events.len()).ok(), Some(1));
        }
    });
    assert_eq!(injected, 10);
    assert!(calls() - before < 60);
    assert!(waker.wake().is_err());
    assert_eq!(selector.select(timeout)?.len(), 1);
    // It works, and nothing is replaced any more.
    waker.wake()?;
    let (events, injected) = failing(none_left, || selector.select(timeout));
    assert!(events?.woken());
    assert_eq!(injected, 0);
    assert!(!selector.select(timeout)?.woken());
    Ok(())
}

#[test]
fn proc_7_a_broken_channel_is_replaced_without_blocking() -> io::Result<()> {
    in_child(|| {
        for timeout in [NOW, LONG, None] {
            replaced_without_blocking(Epoll::new, timeout)?;
            replaced_without_blocking(Poll::new, timeout)?;
            replaced_without_blocking(Select::new, timeout)?;
            replaced_without_blocking(|| Epoll::new().map(Deferred::new), timeout)?;
        }
        Ok(())
    })
}

/// The read fails, and then making another channel.
fn breaks<B: Backend>(selector: &mut Subject<B>) -> io::Result<()> {
    let faults = [Fault::new(Call::Read, Errno::EIO), Fault::new(Call::Eventfd, Errno::EMFILE)];
    let (events, injected) = failing_both(faults, || selector.select(LONG));
    assert!(events?.woken());
    assert_eq!(injected, 2);
    Ok(())
}

#[test]
fn proc_7_a_broken_channel_that_cannot_be_replaced_refuses_wakes() -> io::Result<()> {
    in_child(|| {
        not_replaced(Poll::new, breaks)?;
        not_replaced(Select::new, breaks)
    })
}

/// It breaks, and is replaced later, without a wake in between.
fn replaced_later<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let mut selector: Subject<B> = Selector::with_backend(new()?);
    let waker = selector.waker()?;
    waker.wake()?;
    breaks(&mut selector)?;
    let none_left = Fault::new(Call::Eventfd, Errno::EMFILE).times(FOR_EVER);
    let short = Some(Duration::from_millis(5));
    let (events, injected) = failing(none_left, || selector.select(short));
    assert!(injected > 0 && !events?.woken());
    for _ in 0..3 {
        assert!(!selector.select(short)?.woken());
    }
    waker.wake()?;
    assert!(selector.select(LONG)?.woken());
    works(&mut selector, &waker)
}

#[test]
fn proc_2_replacing_a_channel_is_no_wake() -> io::Result<()> {
    in_child(|| {
        replaced_later(Poll::new)?;
        replaced_later(Select::new)
    })
}

/// A requested wake may be in progress on the channel that is replaced.
fn asked_for<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let mut selector: Subject<B> = Selector::with_backend(new()?);
    let waker = selector.waker()?;
    for _ in 0..3 {
        let (result, _) = failing(Fault::new(Call::Write, Errno::EIO), || waker.wake());
        assert!(result.is_err());
        assert!(selector.select(LONG)?.woken());
        assert!(!selector.select(NOW)?.woken());
    }
    works(&mut selector, &waker)
}

#[test]
fn proc_2_what_was_asked_for_is_sent_to_the_new_channel() -> io::Result<()> {
    in_child(|| {
        over_all!(asked_for);
        Ok(())
    })
}

/// Each wait that finds the channel broken tries another one, and keeps none that does not work.
fn never_sent<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let mut selector: Subject<B> = Selector::with_backend(new()?);
    let waker = selector.waker()?;
    let never = Fault::new(Call::Write, Errno::EPERM).times(FOR_EVER);
    let before = open_descriptors();
    for _ in 0..20 {
        assert!(failing(never, || waker.wake()).0.is_err());
        assert!(!failing(never, || selector.select(NOW)).0?.woken());
    }
    assert_eq!(open_descriptors(), before);
    assert!(selector.select(LONG)?.woken());
    works(&mut selector, &waker)
}

#[test]
fn reg_12_channels_that_fail_leak_no_descriptor() -> io::Result<()> {
    in_child(|| {
        over_all!(never_sent);
        Ok(())
    })
}

/// Foreign code closes the channel. Its number becomes that of the next one, or of a file, which is not
/// closed with the waker.
fn closed<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    for reused in [false, true] {
        let count = open_descriptors();
        let mut selector: Subject<B> = Selector::with_backend(new()?);
        let before = open_numbers()?;
        let waker = selector.waker()?;
        let own = open_numbers()?.into_iter().find(|number| !before.contains(number));
        let own = own.expect("the waker has a descriptor");
        nix::unistd::close(own)?;
        let file = reused.then(|| File::open("/")).transpose()?;
        assert!(file.as_ref().is_none_or(|file| file.as_raw_fd() == own));
        assert!(waker.wake().is_err());
        assert!(selector.select(LONG)?.woken());
        works(&mut selector, &waker)?;
        drop((selector, waker));
        assert!(file.is_none_or(|file| file.metadata().is_ok()));
        assert_eq!(open_descriptors(), count);
    }
    Ok(())
}

#[test]
fn proc_7_what_foreign_code_has_closed_is_not_closed_again() -> io::Result<()> {
    in_child(|| {
        over_all!(closed);
        Ok(())
    })
}

/// A channel that was replaced, but not lost, is closed at the end.
fn closes_all<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let before = open_descriptors();
    let mut selector: Subject<B> = Selector::with_backend(new()?);
    let waker = selector.waker()?;
    let (result, _) = failing(Fault::new(Call::Write, Errno::EIO), || waker.wake());
    assert!(result.is_err());
    assert!(selector.select(NOW)?.woken());
    drop((selector, waker));
    assert_eq!(open_descriptors(), before);
    Ok(())
}

#[test]
fn reg_12_a_channel_that_was_replaced_is_closed() -> io::Result<()> {
    in_child(|| {
        over_all!(closes_all);
        Ok(())
    })
}

/// The number that was opened since, with a borrowed descriptor.
fn with_opened(before: &[RawFd], act: impl FnOnce(BorrowedFd<'static>)) -> io::Result<()> {
    let mut opened = open_numbers()?;
    opened.retain(|number| !before.contains(number));
    let [number] = opened[..] else { panic!("one new descriptor: {opened:?}") };
    with_raw(number, act);
    Ok(())
}

fn is_own(refused: &Error) -> bool {
    matches!(refused, Error::Unsupported { .. })
}

/// A channel that replaces a broken one is no source either.
fn reserved<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let broken = Fault::new(Call::Write, Errno::EIO);
    let mut selector: Selector<BorrowedFd<'_>, (), B> = Selector::with_backend(new()?);
    let waker = selector.waker()?;
    selector.select(NOW)?;
    let before = open_numbers()?;
    assert!(failing(broken, || waker.wake()).0.is_err());
    assert!(selector.select(NOW)?.woken());
    with_opened(&before, |channel| {
        let refused = selector.register(channel, Interest::READ, ()).unwrap_err().error;
        assert!(is_own(&refused), "{refused}");
    })?;
    waker.wake()?;
    assert!(selector.select(LONG)?.woken());
    Ok(())
}

#[test]
fn reg_8_the_channel_that_replaces_another_is_no_source() -> io::Result<()> {
    // Alone with its descriptors.
    in_child(|| {
        over_all!(reserved);
        for kind in [BackendKind::Epoll, BackendKind::Poll, BackendKind::Select] {
            let broken = Fault::new(Call::Write, Errno::EIO);
            let mut selector: SharedSelector = SharedSelector::of_kind(kind)?;
            let (registrar, waker) = (selector.registrar(), selector.waker());
            selector.select(NOW)?;
            let before = open_numbers()?;
            assert!(failing(broken, || waker.wake()).0.is_err());
            selector.select(NOW)?;
            with_opened(&before, |channel| {
                let refused = registrar.register(channel, Interest::READ, ()).unwrap_err().error;
                assert!(is_own(&refused), "{kind}: {refused}");
            })?;
            waker.wake()?;
            assert!(selector.select(LONG)?.woken(), "{kind}");
        }
        Ok(())
    })
}
