//! Runs work that mostly waits in separate processes, many at a time.

use std::cell::Cell;
use std::env;
use std::sync::{Condvar, Mutex};
use std::thread;

use crate::another_process::another_process;

/// How many processes there are at a time. Each works for a quarter of its time.
const MOST: usize = 12;

/// Set in the process of a single piece of work: its number among those of its test.
const NUMBER: &str = "SELECTORS_FAULTS_NUMBER";

/// What comes before the number with which a process has ended well.
const ANSWER: &str = "the answer: ";

/// Does `work` with each of `all`, in a process of its own, and returns what came of each. In such a
/// process, does one of them there, and returns nothing.
pub(crate) fn each_in_its_own<V: Copy>(
    all: &[V],
    work: impl Fn(V) -> Result<u32, String>,
) -> Option<Vec<Result<u32, String>>> {
    thread_local! {
        /// How many pieces of work the test had before.
        static BEFORE: Cell<usize> = const { Cell::new(0) };
    }
    let first = BEFORE.replace(BEFORE.get() + all.len());
    if let Ok(number) = env::var(NUMBER) {
        let number: usize = number.parse().expect("a number");
        if let Some(&chosen) = number.checked_sub(first).and_then(|nth| all.get(nth)) {
            match work(chosen) {
                Ok(answer) => println!("{ANSWER}{answer}"),
                Err(why) => panic!("{why}"),
            }
        }
        return None;
    }
    let this = thread::current();
    let test = this.name().filter(|name| *name != "main");
    let Some(test) = test else {
        // With `--test-threads 1` the thread has no name.
        return Some(all.iter().map(|&one| work(one)).collect());
    };
    let numbers = first..first + all.len();
    Some(thread::scope(|scope| {
        let threads: Vec<_> =
            numbers.map(|number| scope.spawn(move || run(test, number))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect()
    }))
}

/// Does one piece of the work of a test in a process of its own, when there are not too many.
fn run(test: &str, number: usize) -> Result<u32, String> {
    static RUNNING: Mutex<usize> = Mutex::new(0);
    static ONE_LESS: Condvar = Condvar::new();
    let running = RUNNING.lock().unwrap();
    *ONE_LESS.wait_while(running, |running| *running == MOST).unwrap() += 1;
    let output = another_process(test).env(NUMBER, number.to_string()).output();
    *RUNNING.lock().unwrap() -= 1;
    ONE_LESS.notify_one();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = text.split_once(ANSWER).and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    match answer {
        Some(answer) if output.status.success() => Ok(answer),
        _ => {
            let more = String::from_utf8_lossy(&output.stderr);
            Err(format!("{test}, number {number}: {}\n{text}{more}", output.status))
        }
    }
}
