//! Lists open descriptors.

use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};

/// The numbers of the descriptors that are open, as far as they are low.
pub(crate) fn open_numbers() -> Vec<RawFd> {
    let open = |number: &RawFd| {
        // SAFETY: only used to check whether it is open.
        let number = unsafe { BorrowedFd::borrow_raw(*number) };
        fcntl(number, FcntlArg::F_GETFD).is_ok()
    };
    (0..256).filter(open).collect()
}
