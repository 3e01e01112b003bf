//! Behaviour of the kernel that only the emulation can be made to show.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use selectors::DevpollSelector;
use selectors_testkit::devpoll_emulation::Write;

mod deferred;
mod waits;
mod writes;

const NO_MEMORY: i32 = Errno::ENOMEM as i32;

fn fails(after: usize) -> Write {
    Write::Failed { after, errno: NO_MEMORY }
}

type Sources<'a> = DevpollSelector<BorrowedFd<'a>>;
