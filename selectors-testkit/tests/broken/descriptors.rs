//! REG-12, REG-13: backends that mistreat their descriptors, or those of their sources.

use std::collections::BTreeSet;
use std::net::Shutdown;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::SFlag;
use selectors::backend::{BorrowedSource, Registered};
use selectors_testkit::fixtures::{pipe, with_raw};
use socket2::SockRef;

use super::defect::{Answer, Beneath, Defect};
use super::row::{Row, epoll, poll, rows};
use super::variants::kind;

/// Closes a descriptor of its own when the last source is unregistered, and again when it is
/// dropped. Only if it has watched a file, a pipe and a socket at once, because its number may have
/// been reused by then.
#[derive(Default)]
struct ClosesTwice {
    own: Option<RawFd>,
    registered: usize,
}

impl Defect for ClosesTwice {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        let kinds: BTreeSet<_> = beneath.sources.values().map(|source| kind(source.fd)).collect();
        let all = [SFlag::S_IFREG, SFlag::S_IFIFO, SFlag::S_IFSOCK];
        self.registered += 1;
        if self.registered == 4 && all.iter().all(|kind| kinds.contains(kind)) {
            self.own = Some(pipe()?.0.into_raw_fd());
        }
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        beneath.unregister(old)?;
        // Only the waker is left, and there were no other sources.
        if beneath.sources.len() == 1 && self.registered == 4 {
            self.own.iter().try_for_each(|&own| nix::unistd::close(own))?;
        }
        Ok(())
    }

    fn close(&mut self, _: &mut Beneath) {
        let _ = self.own.map(nix::unistd::close);
    }
}

/// Shuts down its sources when it is dropped.
struct ShutsDown;

impl Defect for ShutsDown {
    fn close(&mut self, beneath: &mut Beneath) {
        for source in beneath.sources.values() {
            let _ = with_raw(source.fd, |fd| SockRef::from(&fd).shutdown(Shutdown::Both));
        }
    }
}

/// Lets other programs inherit a descriptor.
fn let_inherit(fd: Option<BorrowedSource<'_>>) {
    let _ = fd.map(|fd| fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())));
}

/// Opens a descriptor that other programs inherit.
struct Inheritable(#[expect(dead_code, reason = "it is open")] Option<OwnedFd>);

impl Inheritable {
    fn new() -> Self {
        let own = pipe().ok().map(|(reader, _)| reader);
        let_inherit(own.as_ref().map(AsFd::as_fd));
        Self(own)
    }
}

impl Defect for Inheritable {}

/// Lets other programs inherit its own descriptor.
struct InheritableItself;

impl Defect for InheritableItself {
    fn descriptor<'a>(&'a self, beneath: &'a Beneath) -> Option<BorrowedSource<'a>> {
        let own = beneath.backend.descriptor();
        let_inherit(own);
        own
    }
}

rows! {
    "REG-12" shut_down "shuts down its sources when it is dropped"
        poll ShutsDown =>
            reg_9_files_do_not_change
            proc_6_a_selector_outlives_its_thread
            reg_12_closing_returns_everything
            ready_4_only_the_interest_is_reported
            ready_6_a_half_closed_peer
            wait_2_without_a_timeout_a_signal_ends_it
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            proc_4_a_forked_copy_changes_nothing
            wait_8_the_lowest_numbers
            ready_4_every_state_of_a_socket;
    "REG-12" closes_twice "closes a descriptor twice"
        poll ClosesTwice::default() =>
            reg_12_nothing_is_closed_twice;
    "REG-13" inheritable "opens a descriptor that is not close-on-exec"
        poll Inheritable::new() =>
            reg_13_descriptors_are_close_on_exec;
    "REG-13" inheritable_itself "its own descriptor is not close-on-exec"
        epoll InheritableItself =>
            reg_13_descriptors_are_close_on_exec
            close_4_a_new_kernel_object_keeps_all_state;
}
