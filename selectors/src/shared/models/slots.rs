//! Slots, and the stacks that they are on.

use std::cell::Cell;
use std::sync::Arc;

use loom::thread;

use super::{Kernel, LEVEL, READ, WRITE};
use crate::shared::slots::{Chunks, Filtered, Slot, Stack};
use crate::sync::{AtomicU64, Ordering};
use crate::{Interest, Mode, Readiness, Watch};

/// The waiter finds the data of every reported source, even before `register` has returned.
#[test]
fn a_reported_source_is_found() {
    loom::model(|| {
        let shared = Arc::new((Slot::new(), Kernel::is(Readiness::READ)));
        let changer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (slot, kernel) = &*shared;
                let generation = slot.publish(LEVEL, 7);
                kernel.watch(generation, Some(LEVEL));
                slot.accept();
            })
        };
        let (slot, kernel) = &*shared;
        let (generation, ready) = kernel.wait().unwrap();
        assert_eq!(slot.filter(generation, ready), Filtered::Ready(Readiness::READ));
        assert!(slot.is_registered(generation));
        assert_eq!(slot.take(), Some(7));
        changer.join().unwrap();
    });
}

/// Arming a one-shot source that is ready is followed by a report, in every interleaving.
#[test]
fn no_arming_is_lost() {
    loom::model(|| {
        let ready = Readiness::READ | Readiness::WRITE;
        let shared = Arc::new((Slot::new(), Kernel::is(ready), AtomicU64::new(0)));
        let generation = shared.0.publish(READ, ());
        shared.0.accept();
        shared.1.watch(generation, Some(READ));
        let changer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (slot, kernel, armed) = &*shared;
                for watch in [WRITE, READ] {
                    // A report from here on belongs to this arming, or to an earlier one and is
                    // delivered late.
                    armed.fetch_add(1, Ordering::SeqCst);
                    slot.arm(watch);
                    kernel.watch(generation, Some(watch));
                }
            })
        };
        let (slot, kernel, armed) = &*shared;
        let reports = Cell::new(0);
        let last = Cell::new(None);
        let look = || {
            if let Some((generation, ready)) = kernel.look() {
                if let Filtered::Ready(_) = slot.filter(generation, ready) {
                    last.set(Some(armed.load(Ordering::SeqCst)));
                    reports.set(reports.get() + 1);
                }
            }
        };
        look();
        look();
        changer.join().unwrap();
        look();
        look();
        assert_eq!(last.get(), Some(2), "there was a report after the last arming");
        assert!(!slot.state().is_armed(), "which it answers");
        look();
        assert!(reports.get() <= 3, "each arming was reported at most once");
    });
}

/// After a refused change a ready source is still reported, once.
#[test]
fn a_refused_change_loses_no_readiness() {
    let both = Watch::new(Interest::READ | Interest::WRITE, Mode::OneShot);
    for refused in [WRITE, both] {
        loom::model(move || refuse(refused));
    }
}

fn refuse(refused: Watch) {
    let shared = Arc::new((Slot::new(), Kernel::is(Readiness::READ)));
    let generation = shared.0.publish(READ, ());
    shared.0.accept();
    shared.1.watch(generation, Some(READ));
    let changer = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (slot, kernel) = &*shared;
            let old = slot.arm(refused);
            // The kernel refuses.
            if slot.restore(old) {
                kernel.watch(generation, Some(old.watch()));
            }
        })
    };
    let (slot, kernel) = &*shared;
    let mut reports = 0;
    let mut look = || {
        if let Some((generation, ready)) = kernel.look() {
            reports += u32::from(matches!(slot.filter(generation, ready), Filtered::Ready(_)));
        }
    };
    look();
    changer.join().unwrap();
    look();
    look();
    assert_eq!(reports, 1);
}

/// An event of an unregistered source never reaches the next source, and does not indicate a ghost
/// if the source was unregistered during the wait.
#[test]
fn an_event_never_reaches_another_source() {
    loom::model(|| {
        let slots = Chunks::new();
        let first = slots.get_or_make(0, Slot::new).unwrap().publish(LEVEL, "first");
        slots.get(0).unwrap().accept();
        let kernel = Kernel::is(Readiness::READ);
        kernel.watch(first, Some(LEVEL));
        let shared = Arc::new((slots, kernel, Stack::new(), Stack::new()));
        let changer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (slots, kernel, retired, vacant) = &*shared;
                let slot = slots.get(0).unwrap();
                kernel.watch(first, None);
                slot.retire();
                retired.push(0, slot);
                let mut list = Vec::new();
                for _ in 0..2 {
                    vacant.take(slots, &mut list);
                }
                list.pop().map(|index| {
                    let slot = slots.get(index).unwrap();
                    let second = slot.publish(LEVEL, "second");
                    assert_ne!(second, first);
                    kernel.watch(second, Some(LEVEL));
                    slot.accept();
                    second
                })
            })
        };
        let (slots, kernel, retired, vacant) = &*shared;
        let mut list = Vec::new();
        for _ in 0..2 {
            // A wait begins by making retired slots vacant.
            retired.take(slots, &mut list);
            while let Some(index) = list.pop() {
                let slot = slots.get(index).unwrap();
                let (next, data) = slot.reclaim();
                assert_eq!(next, Some(first + 1));
                assert!(data.is_none_or(|data| data == "first"));
                vacant.push(index, slot);
            }
            let Some((generation, ready)) = kernel.look() else { continue };
            let expected = if generation == first { "first" } else { "second" };
            let slot = slots.get(0).unwrap();
            match slot.filter(generation, ready) {
                Filtered::Ready(_) if slot.is_registered(generation) => {
                    assert!(slot.take().is_none_or(|data| data == expected));
                }
                Filtered::Ready(_) | Filtered::Dropped => {}
                Filtered::Ghost => panic!("there is none"),
            }
        }
        if let Some(second) = changer.join().unwrap() {
            assert_eq!(kernel.look(), Some((second, Readiness::READ)));
        }
    });
}

/// No pushed slot is lost, or taken twice.
#[test]
fn every_slot_that_is_pushed_is_taken_once() {
    loom::model(|| {
        let slots: Chunks<Slot<()>> = Chunks::new();
        for index in 0..3 {
            slots.get_or_make(index, Slot::new);
        }
        let shared = Arc::new((slots, Stack::new()));
        let pushers = [[0, 1].as_slice(), &[2]].map(|indices| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (slots, stack) = &*shared;
                for &index in indices {
                    stack.push(index, slots.get(index).unwrap());
                }
            })
        });
        let (slots, stack) = &*shared;
        let mut list = Vec::new();
        stack.take(slots, &mut list);
        for pusher in pushers {
            pusher.join().unwrap();
        }
        stack.take(slots, &mut list);
        list.sort_unstable();
        assert_eq!(list, [0, 1, 2]);
    });
}
