//! Tests that run in processes of their own, many at a time.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Condvar, Mutex, Once};
use std::{env, thread};

use super::another_process::another_process;

/// How many processes there are at a time. They mostly wait.
const MOST: usize = 20;

/// Set in the process of a single test.
const ALONE: &str = "SELECTORS_TEST_ALONE";

/// What the processes of the tests have printed.
static DONE: Mutex<BTreeMap<&str, Output>> = Mutex::new(BTreeMap::new());
static ONE_MORE: Condvar = Condvar::new();

/// Does the work of `test` in a process of its own. If no test was asked for by name, the first one
/// starts the processes of `all`, because the harness would run fewer at a time.
pub(crate) fn in_a_process_of_its_own(
    test: &'static str,
    all: impl FnOnce() -> Vec<&'static str>,
    work: impl FnOnce(),
) {
    if env::var_os(ALONE).is_some() {
        return work();
    }
    let output = if env::args().skip(1).all(|argument| argument.starts_with('-')) {
        static STARTED: Once = Once::new();
        STARTED.call_once(|| start(all()));
        let done = DONE.lock().unwrap();
        let mut done = ONE_MORE.wait_while(done, |done| !done.contains_key(test)).unwrap();
        done.remove(test).expect("it was waited for")
    } else {
        run(test)
    };
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the process of {test}: {}", output.status);
}

fn start(all: Vec<&'static str>) {
    static LEFT: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    *LEFT.lock().unwrap() = all;
    let next = || LEFT.lock().unwrap().pop();
    for _ in 0..MOST {
        thread::spawn(move || {
            while let Some(test) = next() {
                let output = run(test);
                DONE.lock().unwrap().insert(test, output);
                ONE_MORE.notify_all();
            }
        });
    }
}

fn run(test: &str) -> Output {
    let mut command = another_process(test);
    // Some tests expect panics, whose backtraces would take longer than all else.
    command.env(ALONE, "1").env("RUST_BACKTRACE", "0");
    command.output().expect("another process of this program")
}
