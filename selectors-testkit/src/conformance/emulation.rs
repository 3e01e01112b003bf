//! Whether a backend of this process uses an emulation in the place of a kernel.

use std::sync::atomic::{AtomicBool, Ordering};

/// An emulated queue has been asked for.
pub(crate) static QUEUE: AtomicBool = AtomicBool::new(false);

/// An emulated device has been asked for.
pub(crate) static DEVICE: AtomicBool = AtomicBool::new(false);

/// Whether a device is emulated, once there is a backend.
pub(super) fn is_device() -> bool {
    cfg!(external_devpoll) || DEVICE.load(Ordering::Relaxed)
}

/// Whether anything is emulated, once there is a backend. Unlike a kernel, an emulation is subject to the
/// limit on descriptors itself.
pub(super) fn is_any() -> bool {
    cfg!(external_kqueue) || QUEUE.load(Ordering::Relaxed) || is_device()
}
