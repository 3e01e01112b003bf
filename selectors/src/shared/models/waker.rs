//! Wakers, and wakers on top of wakers.

use std::sync::Arc;

use loom::thread;

use super::{Kernel, model};
use crate::sync::{AtomicBool, Ordering};
use crate::waker::Wake;

/// The selector's end of wakers that wake through this kernel.
fn wake(kernel: &Arc<Kernel>) -> Wake {
    let kernel = Arc::clone(kernel);
    Wake::over(Box::new(move || {
        kernel.wake();
        Ok(())
    }))
}

/// Something that the waiter is to see, and is woken for.
struct News([AtomicBool; 2]);

impl News {
    fn new() -> Arc<Self> {
        Arc::new(Self([AtomicBool::new(false), AtomicBool::new(false)]))
    }

    fn are_seen(&self, count: usize) -> bool {
        self.0[..count].iter().all(|news| news.load(Ordering::Relaxed))
    }
}

/// A waiter who was woken once for two wakes has seen what both were for; if it has not, it is
/// woken again, or it would wait for ever.
#[test]
fn no_wake_is_lost() {
    model(3, || {
        let (kernel, news) = (Arc::new(Kernel::default()), News::new());
        let mut wake = wake(&kernel);
        let wakers = [0, 1].map(|number| {
            let (news, waker) = (Arc::clone(&news), wake.waker());
            thread::spawn(move || {
                news.0[number].store(true, Ordering::Relaxed);
                waker.wake().unwrap();
            })
        });
        let mut seen = false;
        while !seen {
            assert_eq!(kernel.wait(), None);
            if wake.reset() {
                seen = news.are_seen(2);
            }
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// What users have wakes through what changes bring the waiter back with: neither hides the other.
#[test]
fn a_wake_is_reported_beside_those_of_changes() {
    model(3, || {
        let (kernel, news) = (Arc::new(Kernel::default()), News::new());
        let mut inner = wake(&kernel);
        let waker = inner.waker();
        let mut user = Wake::over(Box::new(move || Ok(waker.wake()?)));
        let changer = {
            let waker = inner.waker();
            thread::spawn(move || waker.wake().unwrap())
        };
        let user_thread = {
            let (news, waker) = (Arc::clone(&news), user.waker());
            thread::spawn(move || {
                news.0[0].store(true, Ordering::Relaxed);
                waker.wake().unwrap();
            })
        };
        let mut seen = false;
        while !seen {
            assert_eq!(kernel.wait(), None);
            inner.reset();
            if user.reset() {
                assert!(news.are_seen(1), "it was reported before it was asked for");
                seen = true;
            }
        }
        changer.join().unwrap();
        user_thread.join().unwrap();
    });
}
