//! Which cases may run concurrently, and the progress of each case.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::fixtures::{descriptor_limit, step_if_aborted};

/// The limit on descriptors that suffices for cases that run concurrently. With fewer, a case would
/// get numbers that another has closed and still uses.
const ENOUGH: u64 = 1024;

/// The cases that run in this process.
struct Company {
    running: Mutex<Running>,
    changed: Condvar,
}

#[derive(Default)]
struct Running {
    together: usize,
    alone: bool,
    /// How many cases wait to run alone; no other case starts before them.
    waiting: usize,
}

static COMPANY: Company = Company {
    running: Mutex::new(Running { together: 0, alone: false, waiting: 0 }),
    changed: Condvar::new(),
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stay {
    Outside,
    Together,
    Alone,
}

/// The progress of a case, shared with its watchdog.
pub(crate) struct Progress {
    done: Mutex<Vec<String>>,
    stay: Mutex<Stay>,
    /// The time of its last step, in milliseconds. Not behind a lock, which the watchdog might hold
    /// when the case forks a child.
    last: AtomicU64,
    /// A forked child is running, which ends by itself if it hangs.
    in_child: AtomicBool,
}

fn millis() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    pub(crate) fn new() -> Self {
        let (done, stay) = (Mutex::new(Vec::new()), Mutex::new(Stay::Outside));
        Self { done, stay, last: AtomicU64::new(millis()), in_child: AtomicBool::new(false) }
    }

    /// Records a step.
    pub(crate) fn did(&self, what: String) {
        step_if_aborted(&what);
        lock(&self.done).push(what);
        self.tick();
    }

    /// Records a step in place of the last one.
    pub(crate) fn did_instead(&self, what: String) {
        lock(&self.done).pop();
        self.did(what);
    }

    /// Records that the case makes progress.
    pub(crate) fn tick(&self) {
        self.last.store(millis(), Ordering::Relaxed);
    }

    /// Runs code that waits for a forked child.
    pub(crate) fn while_child_works<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.in_child.store(true, Ordering::Relaxed);
        let answer = wait();
        self.tick();
        self.in_child.store(false, Ordering::Relaxed);
        answer
    }

    pub(crate) fn done(&self) -> Vec<String> {
        lock(&self.done).clone()
    }

    /// The time since the last step.
    pub(crate) fn silence(&self) -> Duration {
        if self.in_child.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        Duration::from_millis(millis().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    /// Lets the case run concurrently with others, if there are enough descriptors for several.
    pub(crate) fn join(&self) {
        static MANY: LazyLock<bool> =
            LazyLock::new(|| descriptor_limit().is_ok_and(|limit| limit >= ENOUGH));
        self.enter(if *MANY { Stay::Together } else { Stay::Alone });
    }

    /// Waits until no other case runs, and keeps others out.
    pub(crate) fn join_alone(&self) {
        self.leave();
        self.enter(Stay::Alone);
    }

    fn enter(&self, stay: Stay) {
        let mut running = lock(&COMPANY.running);
        running.waiting += usize::from(stay == Stay::Alone);
        loop {
            let free = match stay {
                Stay::Alone => !running.alone && running.together == 0,
                _ => !running.alone && running.waiting == 0,
            };
            if free {
                break;
            }
            // The time that others take does not count.
            let second = Duration::from_secs(1);
            let wait = COMPANY.changed.wait_timeout(running, second);
            running = wait.unwrap_or_else(PoisonError::into_inner).0;
            self.tick();
        }
        if stay == Stay::Alone {
            running.waiting -= 1;
            running.alone = true;
        } else {
            running.together += 1;
        }
        *lock(&self.stay) = stay;
    }

    /// The case has ended or was abandoned: others need not wait for it.
    pub(crate) fn leave(&self) {
        let stay = std::mem::replace(&mut *lock(&self.stay), Stay::Outside);
        let mut running = lock(&COMPANY.running);
        match stay {
            Stay::Outside => {}
            Stay::Together => running.together -= 1,
            Stay::Alone => running.alone = false,
        }
        COMPANY.changed.notify_all();
    }
}
