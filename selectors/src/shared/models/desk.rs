//! The desk where the backend lies.

use std::sync::Arc;

use loom::thread;

use super::Kernel;
use crate::shared::desk::Desk;

/// Whoever needs the backend gets it, also from a waiter who would wait for ever.
#[test]
fn the_backend_comes_back_for_a_change() {
    loom::model(|| {
        let shared = Arc::new((Desk::new(0), Kernel::default()));
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
        let changed = desk.with(wake, |changes| {
            *changes += 1;
        });
        assert!(matches!(changed, Ok(Some(()))));
        assert_eq!(waiter.join().unwrap(), 1);
        assert_eq!(desk.close(), Some(1));
    });
}

/// Whoever waits for the backend is refused once it is gone.
#[test]
fn closing_refuses_who_comes_later() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(0));
        let changer = {
            let desk = Arc::clone(&desk);
            thread::spawn(move || desk.with(|| Ok(()), |changes| *changes += 1).unwrap())
        };
        let closed = desk.close();
        let changed = changer.join().unwrap();
        assert_eq!(closed, Some(i32::from(changed.is_some())));
    });
}
