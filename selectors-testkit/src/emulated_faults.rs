//! Makes calls of the emulated kernels fail, for tests.

use std::sync::OnceLock;

use nix::errno::Errno;

/// What an emulated kernel is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// kqueue(2): make a queue.
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

/// Who says what fails, with which error.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Called before each step: the number of the error that it fails with.
    pub step: fn(Step) -> Option<i32>,
    /// Called with `true` when a thread enters an emulated kernel, whose own system calls are none
    /// of the library's, and with `false` when it leaves.
    pub inside: fn(bool),
}

static FAULTS: OnceLock<Faults> = OnceLock::new();

/// Has `faults` asked from now on, in every thread. The first call counts.
pub fn ask(faults: Faults) {
    // Whoever comes later asks for the same.
    let _ = FAULTS.set(faults);
}

/// The error that a step is to fail with.
pub(crate) fn check(step: Step) -> Result<(), Errno> {
    let errno = FAULTS.get().and_then(|faults| (faults.step)(step));
    errno.map_or(Ok(()), |errno| Err(Errno::from_raw(errno)))
}

/// A thread is in an emulated kernel for as long as this lives.
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
