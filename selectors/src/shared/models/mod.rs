//! Models of what the waiter and others share, in which loom tries every interleaving: run by
//! `.ci/loom`. The kernel is a mutex around what it would know.

use crate::sync::{Condvar, Mutex, lock};
use crate::{Interest, Mode, Readiness, Watch};

mod desk;
mod slots;
mod waker;
mod whole;

const READ: Watch = Watch::new(Interest::READ, Mode::OneShot);
const WRITE: Watch = Watch::new(Interest::WRITE, Mode::OneShot);
const LEVEL: Watch = Watch::new(Interest::READ, Mode::Level);

/// Tries every interleaving in which a thread is stopped so often, elsewhere than where it waits.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// What epoll knows of one source: what it is armed for, and whether it is ready.
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
