//! Wakers that cannot be made, or whose wake cannot be sent: no wake is lost.
//! In processes of their own, which do not wait for a lost wake for ever.

use std::io;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
#[cfg(feature = "kqueue")]
use selectors::backend::Kqueue;
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{Backend, Error, Selector, Waker};
#[cfg(feature = "kqueue")]
use selectors_testkit::emulated_faults::Step;
use selectors_testkit::fixtures::{open_descriptors, wake_in_handler};

#[cfg(feature = "kqueue")]
use crate::injection::ask_for_emulated_faults;
use crate::injection::{Call, FOR_EVER, Fault, failing};
use crate::{LONG, NOW, Subject, in_child};

/// Runs a test over every backend.
macro_rules! over_all {
    ($test:ident) => {
        $test(Epoll::new)?;
        $test(Poll::new)?;
        $test(Select::new)?;
        $test(|| Epoll::new().map(Deferred::new))?;
        $test(|| Poll::new().map(Deferred::new))?;
        $test(|| Select::new().map(Deferred::new))?;
    };
}
pub(crate) use over_all;

/// The number of an error of the system.
fn errno<V>(result: Result<V, Error>) -> Option<i32> {
    match result {
        Err(Error::Os { source, .. }) => source.raw_os_error(),
        _ => None,
    }
}

/// A wake from another thread during a wait without limit, one before a wait, and no other.
pub(crate) fn works<B: Backend>(selector: &mut Subject<B>, waker: &Waker) -> io::Result<()> {
    let woken = thread::scope(|scope| -> io::Result<bool> {
        let thread = scope.spawn(|| waker.wake());
        let woken = selector.select(None)?.woken();
        thread.join().unwrap()?;
        Ok(woken)
    })?;
    assert!(woken);
    waker.wake()?;
    waker.wake()?;
    assert!(selector.select(LONG)?.woken());
    assert!(!selector.select(NOW)?.woken());
    Ok(())
}

fn making_fails<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let faults = [
        Fault::new(Call::Eventfd, Errno::EMFILE),
        Fault::new(Call::Eventfd, Errno::ENOMEM).times(3),
        Fault::new(Call::EpollAdd, Errno::ENOSPC),
        Fault::new(Call::GetStatus, Errno::EBADF),
    ];
    for fault in faults {
        let mut selector: Subject<B> = Selector::with_backend(new()?);
        let before = open_descriptors();
        let mut waker = None;
        while waker.is_none() {
            let (made, injected) = failing(fault, || selector.waker());
            if injected == 0 {
                waker = made.ok();
                assert!(waker.is_some(), "{fault:?} is none of this backend");
                continue;
            }
            assert_eq!(errno(made), Some(fault.errno as i32), "{fault:?}");
            assert_eq!(open_descriptors(), before, "{fault:?}");
            assert!(!selector.select(NOW)?.woken());
            waker = Some(selector.waker()?);
        }
        works(&mut selector, &waker.unwrap())?;
    }
    Ok(())
}

#[test]
fn proc_1_making_a_waker_fails() -> io::Result<()> {
    // Alone with its descriptors, which are counted.
    in_child(|| {
        over_all!(making_fails);
        Ok(())
    })
}

/// Without a descriptor for the changer the channel is attached by the next wait.
fn changing_fails<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    for errno in [Errno::EMFILE, Errno::ENFILE] {
        let mut selector: Subject<B> = Selector::with_backend(new()?);
        let (waker, _) = failing(Fault::new(Call::Duplicate, errno), || selector.waker());
        let waker = waker?;
        waker.wake()?;
        assert!(selector.select(LONG)?.woken(), "{errno}");
        works(&mut selector, &waker)?;
    }
    Ok(())
}

#[test]
fn proc_1_a_waker_takes_one_descriptor() -> io::Result<()> {
    in_child(|| {
        over_all!(changing_fails);
        Ok(())
    })
}

fn sending_fails<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    for errno_of in [Errno::EBADF, Errno::EPIPE, Errno::EIO] {
        let mut selector: Subject<B> = Selector::with_backend(new()?);
        let waker = selector.waker()?;
        for times in 1..4 {
            let fault = Fault::new(Call::Write, errno_of).times(times);
            let (_, injected) = failing(fault, || {
                for _ in 0..times {
                    assert_eq!(errno(waker.wake()), Some(errno_of as i32));
                }
                waker.wake()
            });
            assert_eq!(injected, times);
            assert!(selector.select(LONG)?.woken());
            assert!(!selector.select(NOW)?.woken());
        }
        // And without another wake: what could not be sent is, once the channel was replaced.
        let (result, _) = failing(Fault::new(Call::Write, errno_of), || waker.wake());
        assert!(result.is_err());
        assert!(selector.select(NOW)?.woken());
        assert!(!selector.select(NOW)?.woken());
        works(&mut selector, &waker)?;
    }
    Ok(())
}

#[test]
fn proc_2_a_wake_that_is_not_sent_is_an_error() -> io::Result<()> {
    in_child(|| {
        over_all!(sending_fails);
        Ok(())
    })
}

/// A backend's own trigger cannot be replaced: the next wait sends the failed wake again.
#[cfg(feature = "kqueue")]
#[test]
fn proc_2_a_wake_that_kqueue_refuses_is_sent_later() -> io::Result<()> {
    ask_for_emulated_faults();
    for timeout in [NOW, LONG] {
        let mut selector: Subject<Kqueue> = Selector::with_backend(Kqueue::new()?);
        let waker = selector.waker()?;
        let fault = Fault::new(Call::Emulated(Step::Trigger), Errno::ENOMEM);
        assert_eq!(errno(failing(fault, || waker.wake()).0), Some(Errno::ENOMEM as i32));
        assert!(selector.select(timeout)?.woken());
        assert!(!selector.select(NOW)?.woken());
        // Nor is it lost where the next wait cannot send it.
        let ((), injected) = failing(fault.times(2), || {
            assert!(waker.wake().is_err());
            assert!(selector.select(NOW).is_ok_and(|events| !events.woken()));
        });
        assert_eq!(injected, 2);
        assert!(selector.select(timeout)?.woken());
        works(&mut selector, &waker)?;
    }
    Ok(())
}

/// What is full has to be emptied, or there is no edge.
fn full<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let mut selector: Subject<B> = Selector::with_backend(new()?);
    let waker = selector.waker()?;
    let (result, injected) = failing(Fault::new(Call::Write, Errno::EAGAIN), || waker.wake());
    result?;
    assert_eq!(injected, 1);
    assert!(selector.select(LONG)?.woken());
    let for_ever = Fault::new(Call::Write, Errno::EAGAIN).times(FOR_EVER);
    let (result, _) = failing(for_ever, || waker.wake());
    assert_eq!(errno(result), Some(Errno::EAGAIN as i32));
    works(&mut selector, &waker)
}

#[test]
fn proc_2_a_wake_through_a_full_channel_is_sent() -> io::Result<()> {
    in_child(|| {
        over_all!(full);
        Ok(())
    })
}

/// A signal ends the system call of a wait, which then sends what its handler could not.
fn handler_fails<B: Backend>(new: impl Fn() -> io::Result<B>) -> io::Result<()> {
    let mut selector: Subject<B> = Selector::with_backend(new()?);
    let waker = selector.waker()?;
    let handler = wake_in_handler(&waker)?;
    let mut failures = 0;
    // On a busy machine the signal may arrive before the wait blocks.
    let is_woken = (0..20).any(|_| {
        let (events, injected) = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(10));
                handler.signal()
            });
            failing(Fault::new(Call::Write, Errno::EIO), || selector.select(LONG))
        });
        failures += injected;
        injected == 1 && events.is_ok_and(|events| events.woken())
    });
    assert!(is_woken, "{failures} wakes failed");
    assert_eq!(u32::try_from(handler.failures()), Ok(failures));
    drop(handler);
    works(&mut selector, &waker)
}

#[test]
fn proc_2_what_a_handler_could_not_send_ends_the_wait() -> io::Result<()> {
    in_child(|| {
        over_all!(handler_fails);
        Ok(())
    })
}
