//! Makes calls of the emulated kernels fail, for tests.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use crate::conformance::emulation;

/// An operation of an emulated kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// kqueue(2): create a queue.
    Queue,
    /// kevent(2): add one filter.
    Add,
    /// kevent(2): trigger a user event.
    Trigger,
    /// kevent(2): wait, after all changes.
    QueueWait,
    /// open(2): open the device.
    Open,
    /// write(2): change the set of a device.
    Write,
    /// ioctl(2), `DP_POLL`: wait.
    DeviceWait,
}

/// Functions that decide which steps fail.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Called before each step. Returns the errno with which it fails.
    pub step: fn(Step) -> Option<i32>,
    /// Called with `true` when a thread enters an emulated kernel, whose system calls are not those of the
    /// library, and with `false` when it leaves.
    pub inside: fn(bool),
}

static FAULTS: OnceLock<Faults> = OnceLock::new();

/// Calls `faults` from now on, in every thread. Only the first call has an effect.
pub fn ask(faults: Faults) {
    // Later callers pass the same functions.
    let _ = FAULTS.set(faults);
}

/// Fails if the step is to fail.
pub(crate) fn check(step: Step) -> Result<(), Errno> {
    match step {
        Step::Queue => emulation::QUEUE.store(true, Ordering::Relaxed),
        Step::Open => emulation::DEVICE.store(true, Ordering::Relaxed),
        _ => {}
    }
    let errno = FAULTS.get().and_then(|faults| (faults.step)(step));
    errno.map_or(Ok(()), |errno| Err(Errno::from_raw(errno)))
}

/// While it exists, its thread is inside an emulated kernel.
pub(crate) struct Inside;

impl Inside {
    pub(crate) fn enter() -> Self {
        FAULTS.get().inspect(|faults| (faults.inside)(true));
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        FAULTS.get().inspect(|faults| (faults.inside)(false));
    }
}
