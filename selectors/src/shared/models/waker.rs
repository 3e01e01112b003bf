//! Wakers, and wakers on top of wakers.

use std::sync::Arc;

use loom::thread;

use super::{Kernel, model};
use crate::sync::{AtomicBool, Ordering};
use crate::waker::Wake;

/// The selector's side of wakers that wake through this kernel.
fn wake(kernel: &Arc<Kernel>) -> Wake {
    let kernel = Arc::clone(kernel);
    Wake::over(Box::new(move || {
        kernel.wake();
        Ok(())
    }))
}

/// Marks that a thread sets before it wakes the waiter.
struct Marks([AtomicBool; 2]);

impl Marks {
    fn new() -> Arc<Self> {
        Arc::new(Self([AtomicBool::new(false), AtomicBool::new(false)]))
    }

    fn are_seen(&self, count: usize) -> bool {
        self.0[..count].iter().all(|marks| marks.load(Ordering::Relaxed))
    }
}

/// A waiter that was woken once for two wakes sees the marks of both; otherwise it is woken again.
#[test]
fn no_wake_is_lost() {
    model(3, || {
        let (kernel, marks) = (Arc::new(Kernel::default()), Marks::new());
        let mut wake = wake(&kernel);
        let wakers = [0, 1].map(|number| {
            let (marks, waker) = (Arc::clone(&marks), wake.waker());
            thread::spawn(move || {
                marks.0[number].store(true, Ordering::Relaxed);
                waker.wake().unwrap();
            })
        });
        let mut seen = false;
        while !seen {
            assert_eq!(kernel.wait(), None);
            if wake.reset() {
                seen = marks.are_seen(2);
            }
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// The waker of users calls the waker of changes: neither wake hides the other.
#[test]
fn a_wake_is_reported_beside_those_of_changes() {
    model(3, || {
        let (kernel, marks) = (Arc::new(Kernel::default()), Marks::new());
        let mut inner = wake(&kernel);
        let waker = inner.waker();
        let mut user = Wake::over(Box::new(move || Ok(waker.wake()?)));
        let changer = {
            let waker = inner.waker();
            thread::spawn(move || waker.wake().unwrap())
        };
        let user_thread = {
            let (marks, waker) = (Arc::clone(&marks), user.waker());
            thread::spawn(move || {
                marks.0[0].store(true, Ordering::Relaxed);
                waker.wake().unwrap();
            })
        };
        let mut seen = false;
        while !seen {
            assert_eq!(kernel.wait(), None);
            inner.reset();
            if user.reset() {
                assert!(marks.are_seen(1), "it was reported before it was requested");
                seen = true;
            }
        }
        changer.join().unwrap();
        user_thread.join().unwrap();
    });
}
