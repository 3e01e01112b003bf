//! The desk where the backend lies.

use std::io;
use std::sync::Arc;

use loom::thread;

use super::Kernel;
use crate::shared::desk::Desk;

/// The backend is a number that changes add to.
#[expect(clippy::unnecessary_wraps, reason = "it is what a desk calls")]
fn add(backend: &mut i32, change: i32) -> io::Result<()> {
    *backend += change;
    Ok(())
}

/// A change is made, also by a waiter who would wait for ever.
#[test]
fn a_change_is_made_by_the_waiter_or_at_the_desk() {
    loom::model(|| {
        let shared = Arc::new((Desk::new(0, add), Kernel::default()));
        let waiter = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (desk, kernel) = &*shared;
                loop {
                    let Some(mut loan) = desk.borrow() else { return 0 };
                    let changes = *loan.backend().unwrap();
                    if changes == 1 {
                        return changes;
                    }
                    assert_eq!(kernel.wait(), None);
                    drop(loan);
                }
            })
        };
        let (desk, kernel) = &*shared;
        let wake = || {
            kernel.wake();
            Ok(())
        };
        assert!(matches!(desk.make(1, wake), Ok(Ok(()))));
        // If it was made at the desk, nobody has woken the waiter.
        kernel.wake();
        assert_eq!(waiter.join().unwrap(), 1);
        assert_eq!(desk.take(), Some(1));
    });
}

/// A change is taken back or made, and not both, if the waiter cannot be woken.
#[test]
fn a_change_without_a_wake_is_made_or_returned() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(0, add));
        let waiter = {
            let desk = Arc::clone(&desk);
            thread::spawn(move || drop(desk.borrow().unwrap()))
        };
        let made = match desk.make(1, || Err(io::ErrorKind::BrokenPipe.into())) {
            Ok(Ok(())) => 1,
            Err((_, 1)) => 0,
            other => panic!("{other:?}"),
        };
        waiter.join().unwrap();
        assert_eq!(desk.take(), Some(made));
    });
}
