//! Counts the results of one `conformance_tests!`, so that cases that could not run do not count as
//! passed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selectors::Backend;

use super::{PATIENCE, all, boxed, limit, not_run, outcome_of, shared};

#[derive(Default)]
struct Counts {
    started: usize,
    over: usize,
    not_run: Vec<(&'static str, String)>,
}

static COUNTS: Mutex<BTreeMap<&'static str, Counts>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

fn counts() -> MutexGuard<'static, BTreeMap<&'static str, Counts>> {
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a case of a module from its start to its end, however it ends.
#[doc(hidden)]
#[derive(Debug)]
pub struct Tally(&'static str);

impl Tally {
    /// [`check`](super::check), counted among the cases of `module`.
    ///
    /// # Panics
    ///
    /// As [`check`](super::check).
    pub fn check<B: Backend + Send + 'static>(
        module: &'static str,
        name: &'static str,
        new: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) {
        Self::count(module, name, || outcome_of(all(), name, Box::new(boxed(new)), PATIENCE));
    }

    /// [`check_shared`](super::check_shared), likewise.
    ///
    /// # Panics
    ///
    /// As [`check_shared`](super::check_shared).
    pub fn check_shared<B: Backend + Send + 'static>(
        module: &'static str,
        name: &'static str,
        new: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) {
        Self::count(module, name, || {
            outcome_of(shared::all(), name, Box::new(boxed(new)), PATIENCE)
        });
    }

    fn count(module: &'static str, name: &'static str, run: impl FnOnce() -> Result<(), String>) {
        counts().entry(module).or_default().started += 1;
        let _over = Self(module);
        if let Err(why) = run() {
            counts().entry(module).or_default().not_run.push((name, why));
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        counts().entry(self.0).or_default().over += 1;
        CHANGED.notify_all();
    }
}

/// The last test of a module: prints the names and the number of its `cases` that could not run,
/// past the harness, which hides the output of passing tests.
///
/// # Panics
///
/// If some could not, and `SELECTORS_ALL_CASES` is set.
#[doc(hidden)]
pub fn expect_all_run(module: &'static str, cases: usize) {
    // Its name is the last in alphabetical order, so all other tests have been started, unless
    // there is a filter.
    let harmless = |argument: String| argument.starts_with('-') && argument != "--exact";
    let expected = if std::env::args().skip(1).all(harmless) { cases } else { 0 };
    let mut all = counts();
    let not_all = |all: &Counts| all.started < expected || all.over < all.started;
    while not_all(all.entry(module).or_default()) {
        let before = all.entry(module).or_default().over;
        let wait = CHANGED.wait_timeout(all, limit(PATIENCE) + Duration::from_secs(60));
        let (now, timeout) = wait.unwrap_or_else(PoisonError::into_inner);
        all = now;
        let after = all.entry(module).or_default().over;
        assert!(
            !timeout.timed_out() || after > before,
            "{module}: {after} of {expected} cases ran"
        );
    }
    let Counts { started, not_run: missing, .. } = std::mem::take(all.entry(module).or_default());
    drop(all);
    if missing.is_empty() {
        return;
    }
    let mut text: String = missing.iter().map(|(name, why)| not_run(name, why)).collect();
    let _ = writeln!(text, "{module}: {} of {started} cases could not run", missing.len());
    let _ = io::stderr().write_all(text.as_bytes());
    let strict = std::env::var_os("SELECTORS_ALL_CASES").is_some_and(|value| !value.is_empty());
    assert!(!strict, "{text}");
}
