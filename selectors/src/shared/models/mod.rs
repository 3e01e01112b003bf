//! Models of the state that the waiter shares with other threads: loom tries every interleaving, in
//! `.ci/loom`. The kernel is a mutex around its state.

use crate::sync::{Condvar, Mutex, lock};
use crate::{Interest, Mode, Readiness, Watch};

mod handoff;
mod slots;
mod waker;
mod whole;

const READ: Watch = Watch::new(Interest::READ, Mode::OneShot);
const WRITE: Watch = Watch::new(Interest::WRITE, Mode::OneShot);
const LEVEL: Watch = Watch::new(Interest::READ, Mode::Level);

/// Tries every interleaving with at most this many preemptions of a thread.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// The state of one source in epoll: its armed interest, and whether it is ready.
#[derive(Default)]
struct Kernel {
    state: Mutex<Known>,
    changed: Condvar,
}

#[derive(Default)]
struct Known {
    armed: Option<(u32, Watch)>,
    ready: Readiness,
    woken: bool,
}

impl Kernel {
    fn is(ready: Readiness) -> Self {
        let known = Known { ready, ..Known::default() };
        Self { state: Mutex::new(known), changed: Condvar::new() }
    }

    /// epoll_ctl(2).
    fn watch(&self, generation: u32, watch: Option<Watch>) {
        lock(&self.state).armed = watch.map(|watch| (generation, watch));
        self.changed.notify_all();
    }

    fn wake(&self) {
        lock(&self.state).woken = true;
        self.changed.notify_all();
    }

    /// epoll_wait(2): an event, `None` if woken.
    fn wait(&self) -> Option<(u32, Readiness)> {
        let mut known = lock(&self.state);
        loop {
            if let Some(event) = known.take() {
                return Some(event);
            }
            if std::mem::take(&mut known.woken) {
                return None;
            }
            known = self.changed.wait(known).unwrap();
        }
    }

    /// epoll_wait(2) with a timeout of zero.
    fn look(&self) -> Option<(u32, Readiness)> {
        lock(&self.state).take()
    }
}

impl Known {
    fn take(&mut self) -> Option<(u32, Readiness)> {
        let (generation, watch) = self.armed?;
        let ready = self.ready.masked_by(watch.interest);
        if ready.is_empty() {
            return None;
        }
        if watch.mode == Mode::OneShot {
            self.armed = None;
        }
        Some((generation, ready))
    }
}
