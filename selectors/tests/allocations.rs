//! What is documented not to allocate does not, once every buffer has grown. On Linux, whose
//! thread-local variables do not allocate either.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "an allocator is")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use selectors::backend::BackendKind;
use selectors::{AnySelector, Events, Interest, Mode, SharedSelector, Token, Waker};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static RELEASES: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts the allocations and releases of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all of it is the system's allocator, whose zeroed and moved memory comes by `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the same promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        RELEASES.set(RELEASES.get() + 1);
        // SAFETY: the caller keeps the same promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

struct Server {
    selector: AnySelector<UnixStream>,
    events: Events,
    sources: Vec<(Token, UnixStream)>,
}

impl Server {
    fn new(kind: BackendKind) -> io::Result<Self> {
        let mut selector = AnySelector::new(kind)?;
        let mut sources = Vec::new();
        for _ in 0..100 {
            let (ours, theirs) = UnixStream::pair()?;
            sources.push((selector.register(ours, Interest::READ, ())?, theirs));
        }
        Ok(Self { selector, events: Events::new(), sources })
    }

    /// Waits that time out and waits that do not, and changes in between.
    fn turn(&mut self) -> io::Result<()> {
        let Self { selector, events, sources } = self;
        for nanos in [0, 1_000_000, 100_000, 1_100_000] {
            selector.select_into(events, Some(Duration::from_nanos(nanos)))?;
            assert!(events.is_empty());
        }
        for (token, theirs) in &mut *sources {
            theirs.write_all(b"x")?;
            selector.select_into(events, None)?;
            let key = selector.get_mut(*token).unwrap();
            key.fileobj.read_exact(&mut [0])?;
        }
        for &(token, _) in &*sources {
            selector.modify_with(token, Interest::READ | Interest::WRITE, Mode::OneShot)?;
        }
        selector.select_into(events, None)?;
        assert_eq!(events.len(), sources.len());
        for &(token, _) in &*sources {
            selector.modify_with(token, Interest::READ, Mode::Level)?;
        }
        Ok(())
    }
}

#[test]
fn waits_and_changes_allocate_nothing_in_the_long_run() -> io::Result<()> {
    for kind in BackendKind::available() {
        let mut server = Server::new(kind)?;
        // epoll reserves capacity for twice the events of the last wait.
        server.turn()?;
        server.turn()?;
        let before = ALLOCATIONS.get();
        server.turn()?;
        for (token, _) in server.sources.drain(..) {
            server.selector.unregister(token)?;
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{kind}");
    }
    Ok(())
}

/// Or a signal handler that interrupts the allocator could not wake.
#[test]
fn proc_7_a_wake_takes_and_frees_no_memory() -> io::Result<()> {
    fn check<S>(waker: &Waker, selector: S, kind: BackendKind) -> io::Result<()> {
        let uses = || (ALLOCATIONS.get(), RELEASES.get());
        let before = uses();
        for _ in 0..2 {
            waker.wake()?;
        }
        assert_eq!(uses(), before, "{kind}");
        drop(selector);
        let before = uses();
        waker.wake()?;
        assert_eq!(uses(), before, "{kind}, after the selector");
        Ok(())
    }
    for kind in BackendKind::available() {
        let selector = AnySelector::<UnixStream>::new(kind)?;
        check(&selector.waker()?, selector, kind)?;
        let selector: SharedSelector = SharedSelector::of_kind(kind)?;
        check(&selector.waker(), selector, kind)?;
    }
    Ok(())
}
