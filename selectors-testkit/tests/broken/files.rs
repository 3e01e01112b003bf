//! READY: backends that do not watch files, terminals and named pipes, or cannot be watched themselves.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use selectors::Readiness;
use selectors::backend::{BorrowedSource, Registered};
use selectors_testkit::fixtures::{pipe, with_raw};

use super::defect::{Beneath, Defect};
use super::ready::Assumes;
use super::row::{RANDOM, Row, epoll, poll, rows};
use super::variants::{FilesBeside, Refuses, Reports, kind};

fn refuse(condition: bool, error: Errno) -> io::Result<()> {
    if condition { Err(error.into()) } else { Ok(()) }
}

fn no_regular_files(source: Registered) -> io::Result<()> {
    refuse(kind(source.fd) == SFlag::S_IFREG, Errno::EPERM)
}

fn no_directories(source: Registered) -> io::Result<()> {
    refuse(kind(source.fd) == SFlag::S_IFDIR, Errno::EPERM)
}

fn is_terminal(source: Registered) -> bool {
    with_raw(source.fd, nix::unistd::isatty).unwrap_or(false)
}

fn no_null_device(source: Registered) -> io::Result<()> {
    refuse(kind(source.fd) == SFlag::S_IFCHR && !is_terminal(source), Errno::EPERM)
}

fn no_terminals(source: Registered) -> io::Result<()> {
    refuse(is_terminal(source), Errno::EINVAL)
}

/// Treats a fifo as a file of the file system, which is always ready.
fn fifos_are_files(source: Registered) -> Readiness {
    // A pipe has no path, but a name such as `pipe:[1234]`.
    let path = || std::fs::read_link(format!("/proc/self/fd/{}", source.fd));
    let is_named = || path().is_ok_and(|path| path.is_absolute());
    if kind(source.fd) == SFlag::S_IFIFO && is_named() {
        Readiness::READ | Readiness::WRITE
    } else {
        Readiness::empty()
    }
}

/// Does not report a regular file that is at its end.
fn files_end(readiness: Readiness, source: Registered) -> Readiness {
    let ended = with_raw(source.fd, |fd| {
        let at = nix::unistd::lseek(fd, 0, nix::unistd::Whence::SeekCur);
        let status = nix::sys::stat::fstat(fd);
        at.is_ok_and(|at| status.is_ok_and(|status| at >= status.st_size))
    });
    if kind(source.fd) == SFlag::S_IFREG && ended { readiness - Readiness::READ } else { readiness }
}

/// Returns a descriptor that never becomes readable.
struct HasAnotherDescriptor(Option<(OwnedFd, OwnedFd)>);

impl Defect for HasAnotherDescriptor {
    fn descriptor<'a>(&'a self, _: &'a Beneath) -> Option<BorrowedSource<'a>> {
        self.0.as_ref().map(|(reader, _)| reader.as_fd())
    }
}

rows! {
    "READY-11" no_files "refuses regular files with EPERM"
        poll Refuses(no_regular_files) =>
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_9_files_do_not_change
            reg_8_what_it_opened_for_itself_stays_its_own
            reg_12_no_descriptor_is_leaked
            reg_13_descriptors_are_close_on_exec
            mod_4_a_file_keeps_its_state
            close_5_other_sources_are_still_reported
            ready_11_a_regular_file_is_always_ready
            ready_11_files_beside_other_sources
            reg_12_no_call_leaks
            reg_12_nothing_is_closed_twice
            wait_11_idle_waits_sleep
            reg_2_the_kernel_does_not_watch_parked_sources
            close_4_a_new_kernel_object_keeps_all_state
            close_5_a_reused_number_does_not_report_the_old_file
            wait_12_sources_are_served_without_free_descriptors
            reg_12_process_settings_do_not_change
            wait_7_every_kind_of_readiness_at_once
            [RANDOM];
    "READY-11" no_directories "refuses directories with EPERM"
        poll Refuses(no_directories) =>
            ready_11_a_directory_is_always_ready
            reg_6_an_o_path_descriptor_is_refused;
    "READY-11" no_null_device "refuses the null device with EPERM"
        poll Refuses(no_null_device) =>
            ready_11_the_null_device_is_always_ready
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_9_files_do_not_change;
    "READY-11" files_end "does not report a file at its end"
        poll Reports(files_end) =>
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_11_a_regular_file_is_always_ready;
    "READY-12" no_terminals "refuses terminals"
        poll Refuses(no_terminals) =>
            wait_11_idle_waits_sleep
            ready_12_a_terminal_behaves_as_with_poll
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_9_files_do_not_change;
    "READY-12" fifos_are_files "treats a fifo as an always-ready file"
        poll Assumes(fifos_are_files) =>
            ready_1_a_pipe_gets_another_writer
            wait_11_idle_waits_sleep
            ready_1_idle_sources_are_silent
            ready_12_a_fifo_behaves_as_a_pipe
            ready_12_every_kind_of_file_behaves_as_with_poll;
    "READY-13" another_descriptor "its descriptor never becomes readable"
        epoll HasAnotherDescriptor(pipe().ok()) =>
            ready_13_a_selector_can_be_watched_after_a_rebuild
            reg_8_a_selector_does_not_watch_itself
            ready_13_a_selector_can_be_watched
            reg_2_parked_sources_are_checked_too;
    "READY-13" files_beside "tracks files without making its descriptor readable"
        epoll FilesBeside::new(&[SFlag::S_IFREG, SFlag::S_IFDIR], false) =>
            ready_13_a_selector_can_be_watched
            reg_6_an_o_path_descriptor_is_refused
            close_5_a_reused_number_does_not_report_the_old_file;
}
