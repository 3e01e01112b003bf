//! Pinning threads to cores, and keeping a core busy.
#![expect(unsafe_code, reason = "no crate has a safe setpriority(2)")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The cores that this process may use.
fn allowed() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&core| allowed.is_set(core) == Ok(true)).collect())
}

/// Pins this thread to one of the cores that it may use, if there are that many.
pub(crate) fn stay_on(nth: usize) -> io::Result<()> {
    let Some(&core) = allowed()?.get(nth) else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Lowers the priority of this thread: nice(2).
fn be_nice(by: libc::c_int) -> io::Result<()> {
    // SAFETY: takes numbers only; on Linux 0 is the calling thread.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, by) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A busy loop of low priority on each core, until this is dropped.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Load {
    pub(crate) fn start() -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..allowed()?.len()).map(|core| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                stay_on(core)?;
                be_nice(10)?;
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                Ok(())
            })
        });
        Ok(Self { threads: threads.collect(), over })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if !matches!(thread.join(), Ok(Ok(()))) {
                eprintln!("a busy loop could not be started on its core");
            }
        }
    }
}
