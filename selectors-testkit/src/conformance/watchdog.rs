//! What a case that hangs comes to.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::concurrency::Progress;
use super::message;

/// How long a case with this patience may take between two steps.
pub(super) fn limit(patience: Duration) -> Duration {
    3 * patience
}

/// The message of a case that hangs.
pub(super) fn stuck(name: &str, progress: &Progress) -> String {
    let seconds = progress.silence().as_secs();
    let why = format!("  expected: this step to end\n  seen:     no progress for {seconds} s");
    let cause = "a timeout is treated as none, a wait resumes by itself after a signal or an empty \
        batch, a lock is held during a wait, a file was made blocking or read from, or what an \
        earlier wait left behind (a byte in a channel, a result) is taken for that of this one";
    message(name, progress, &why, Some(cause))
}

/// Ends the process if a case hangs.
pub(super) struct Watchdog {
    limit: Duration,
    running: Mutex<Vec<(&'static str, Arc<Progress>)>>,
    over: AtomicBool,
}

impl Watchdog {
    /// Runs `work` while a thread watches over its cases.
    pub(super) fn watches(patience: Duration, work: impl FnOnce(&Self)) {
        // Long, because this ends all other cases, too.
        let limit = limit(patience).max(Duration::from_secs(10));
        let (running, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let watchdog = Self { limit, running, over };
        thread::scope(|scope| {
            let thread = scope.spawn(|| watchdog.watch());
            work(&watchdog);
            watchdog.over.store(true, Ordering::Release);
            thread.thread().unpark();
        });
    }

    /// Runs one case on the calling thread.
    pub(super) fn during<R>(&self, name: &'static str, case: impl FnOnce(&Progress) -> R) -> R {
        let progress = Arc::new(Progress::new());
        self.running().push((name, Arc::clone(&progress)));
        let result = case(&progress);
        self.running().retain(|(_, other)| !Arc::ptr_eq(other, &progress));
        result
    }

    fn running(&self) -> MutexGuard<'_, Vec<(&'static str, Arc<Progress>)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        while !self.over.load(Ordering::Acquire) {
            let silences = self.running().iter().map(|(_, progress)| progress.silence()).max();
            thread::park_timeout(self.limit.saturating_sub(silences.unwrap_or_default()));
            let hangs = |(_, progress): &&(_, Arc<Progress>)| progress.silence() >= self.limit;
            if let Some((name, progress)) = self.running().iter().find(hangs) {
                // Not captured like the output of tests, which is lost when the process ends.
                let message = format!("failed: {}\n", stuck(name, progress));
                let _ = io::Write::write_all(&mut io::stderr(), message.as_bytes());
                std::process::exit(101);
            }
        }
    }
}
