//! A wake takes and frees no memory, as a signal handler requires, even if the selector is dropped meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::thread;

use selectors::KqueueSelector;
use selectors_testkit::emulated_faults::{self, Faults, Step};
use selectors_testkit::kqueue_emulation::Flavor;

thread_local! {
    /// Whether the thread is in a wake, outside the emulated kernel.
    static WAKING: Cell<bool> = const { Cell::new(false) };
    static IN_KERNEL: Cell<bool> = const { Cell::new(false) };
    /// How often it has taken or freed memory there.
    static USES: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts its uses by wakes.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    if WAKING.get() && !IN_KERNEL.get() {
        USES.set(USES.get() + 1);
    }
}

// SAFETY: all of it is the system's allocator, whose zeroed and moved memory comes by `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the same promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the same promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A selector that is dropped while the thread that wakes it is in the kernel.
static DROPPED: Mutex<Option<KqueueSelector<OwnedFd>>> = Mutex::new(None);

fn drop_selector(step: Step) -> Option<i32> {
    if WAKING.get() && step == Step::Trigger {
        let selector = DROPPED.lock().unwrap().take();
        thread::spawn(|| drop(selector)).join().unwrap();
    }
    None
}

#[test]
fn proc_7_a_wake_of_a_selector_that_is_being_dropped() {
    emulated_faults::ask(Faults { step: drop_selector, inside: |inside| IN_KERNEL.set(inside) });
    let selector = KqueueSelector::new().unwrap();
    let waker = selector.waker().unwrap();
    *DROPPED.lock().unwrap() = Some(selector);
    for dropped in [false, true] {
        assert_eq!(DROPPED.lock().unwrap().is_none(), dropped);
        WAKING.set(true);
        let woken = waker.wake();
        WAKING.set(false);
        woken.unwrap();
        assert_eq!(USES.get(), 0);
        // Without user events the waker is a channel, and the selector was not dropped.
        let has_user_events = Flavor::current() != Flavor::NetBsd;
        assert_eq!(DROPPED.lock().unwrap().take().is_none(), has_user_events || dropped);
    }
}
