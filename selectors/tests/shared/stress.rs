//! Threads that register, arm and unregister as fast as they can.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use selectors::{BackendKind, Events, Interest, Mode, Registrar, SharedSelector};

use super::LONG;

/// How many registrations the stress test makes with epoll. `.ci/stress` sets a higher number.
fn registrations() -> u64 {
    let asked = std::env::var("SELECTORS_STRESS").ok().and_then(|number| number.parse().ok());
    asked.unwrap_or(100_000)
}

/// What the stress test knows of each source.
#[derive(Default)]
struct Watched {
    armed: AtomicU32,
    reported: AtomicU32,
}

type Data = (u64, Arc<Watched>, mpsc::Sender<u64>);

/// One of the threads of the stress test: registers one socket again and again, in one-shot mode,
/// and waits until it is reported for every time that it was armed and ready.
fn register_again_and_again(registrar: &Registrar<Data>, thread: u64, rounds: u64) {
    let (sender, receiver) = mpsc::channel();
    // The current wait may still report an unregistered source, but nothing else.
    let expect = |name| loop {
        let seen = receiver.recv_timeout(LONG.unwrap()).unwrap();
        assert!(seen <= name, "{seen:#x} before {name:#x}");
        if seen == name {
            break;
        }
    };
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    for round in 0..rounds {
        let name = thread << 32 | round;
        let watched = Arc::new(Watched::default());
        let arm = |times| watched.armed.fetch_add(times, Ordering::Relaxed);
        let data = (name, Arc::clone(&watched), sender.clone());
        let first = [Interest::READ, Interest::empty(), Interest::WRITE, Interest::empty()];
        let first = first[(round % 4) as usize];
        arm(u32::from(!first.is_empty()));
        let source = registrar.register_with(ours, first, data, Mode::OneShot).unwrap();
        if round % 4 == 1 {
            arm(1);
            source.modify(Interest::READ).unwrap();
        }
        if round % 4 != 3 {
            expect(name);
        }
        if round % 8 < 3 {
            arm(2);
            source.modify(Interest::WRITE).unwrap();
            source.modify(Interest::READ).unwrap();
            expect(name);
        }
        ours = source.into_inner();
    }
}

/// Four threads register, arm, change and unregister one-shot sources; every arming of a source
/// that is ready is answered, and none more than once.
fn stress(kind: BackendKind, registrations: u64) {
    let mut selector: SharedSelector<Data> = SharedSelector::of_kind(kind).unwrap();
    let waker = selector.waker();
    let mut reported = 0;
    thread::scope(|scope| {
        let changers = [0, 1, 2, 3].map(|thread| {
            let registrar = selector.registrar();
            scope.spawn(move || register_again_and_again(&registrar, thread, registrations / 4))
        });
        let end = scope.spawn(move || {
            let ended = changers.map(thread::ScopedJoinHandle::join);
            waker.wake().unwrap();
            for ended in ended {
                ended.unwrap();
            }
        });
        let mut events = Events::new();
        while !events.woken() {
            selector.select_into(&mut events, None).unwrap();
            for event in &events {
                let Some((name, watched, sender)) = selector.get(event.token()) else { continue };
                reported += 1;
                let times = watched.reported.fetch_add(1, Ordering::Relaxed) + 1;
                let armed = watched.armed.load(Ordering::Relaxed);
                assert!(times <= armed, "{kind}: {name:#x} {times} times, armed {armed} times");
                // A thread that has ended does not care.
                let _ = sender.send(*name);
            }
        }
        end.join().unwrap();
    });
    assert!(selector.is_empty());
    // Three of four sources must be reported, and three of eight twice.
    let least = registrations / 4 * 3 + registrations / 8 * 3;
    assert!(reported >= least, "{kind}: {reported} reports, and at least {least} were due");
}

#[test]
fn four_threads_lose_nothing() {
    for kind in BackendKind::available() {
        // Through the others each change takes two context switches.
        let share = if kind == BackendKind::Epoll { 1 } else { 10 };
        stress(kind, registrations() / share);
    }
}
