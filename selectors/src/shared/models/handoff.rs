//! Lending the backend.

use std::io;
use std::sync::Arc;

use loom::thread;

use super::Kernel;
use crate::shared::handoff::Handoff;

/// The backend is a number that changes add to.
#[expect(clippy::unnecessary_wraps, reason = "the signature that `Handoff` requires")]
fn add(backend: &mut i32, change: i32) -> io::Result<()> {
    *backend += change;
    Ok(())
}

/// A change is made, even if the waiter would otherwise wait forever.
#[test]
fn a_change_is_made_by_either_thread() {
    loom::model(|| {
        let shared = Arc::new((Handoff::new(0, add), Kernel::default()));
        let waiter = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (handoff, kernel) = &*shared;
                loop {
                    let Some(mut loan) = handoff.borrow() else { return 0 };
                    let changes = *loan.backend().unwrap();
                    if changes == 1 {
                        return changes;
                    }
                    assert_eq!(kernel.wait(), None);
                    drop(loan);
                }
            })
        };
        let (handoff, kernel) = &*shared;
        let wake = || {
            kernel.wake();
            Ok(())
        };
        assert!(matches!(handoff.make(1, wake), Ok(Ok(()))));
        // If the changing thread made it, the waiter was not woken.
        kernel.wake();
        assert_eq!(waiter.join().unwrap(), 1);
        assert_eq!(handoff.take(), Some(1));
    });
}

/// If the waiter cannot be woken, a change is either returned or made, not both.
#[test]
fn a_change_without_a_wake_is_made_or_returned() {
    loom::model(|| {
        let handoff = Arc::new(Handoff::new(0, add));
        let waiter = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || drop(handoff.borrow().unwrap()))
        };
        let made = match handoff.make(1, || Err(io::ErrorKind::BrokenPipe.into())) {
            Ok(Ok(())) => 1,
            Err((_, 1)) => 0,
            other => panic!("{other:?}"),
        };
        waiter.join().unwrap();
        assert_eq!(handoff.take(), Some(made));
    });
}
