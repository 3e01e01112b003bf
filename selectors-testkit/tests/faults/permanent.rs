//! The conformance suite over backends of which a call fails for ever that they can do without.

use std::io;

use nix::errno::Errno;
use selectors::backend::{Backend, Epoll, Poll};

use crate::injection::{Call, FOR_EVER};
use crate::suite::{run_each, suite};

/// Runs the suite for each of `faults`. `except` are the cases that fail, of what cannot be without
/// the call.
fn run<B: Backend + Send>(
    new: impl Fn() -> io::Result<B> + Sync,
    faults: &[(Call, Errno)],
    except: &[&str],
) {
    run_each(faults, &[(0, FOR_EVER)], except, |fault| suite(&new, fault));
}

/// Timeouts become coarser than is declared.
const FINE: &str = "wait_4_the_resolution_is_as_declared";

/// What select(2) does not tell.
const HINTS: [&str; 14] = [
    "ready_4_an_error_of_a_datagram_socket_wakes",
    "ready_4_an_error_wakes_every_interest",
    "ready_5_a_refused_connect_wakes",
    "ready_6_a_closed_peer",
    "ready_6_a_half_closed_peer",
    "ready_6_a_reset_peer",
    "ready_6_both_directions_shut_down",
    "ready_7_a_hang_up_ends_a_wait_for_write",
    "ready_7_pipe_writer_gone_wakes_reader",
    "ready_1_random_programs",
    "mode_5_random_programs_of_all_modes",
    "close_5_random_programs_that_close",
    "proc_4_random_programs_that_fork",
    "wait_12_random_programs_without_descriptors",
];

#[test]
fn epoll_waits_without_select() {
    run(Epoll::new, &[(Call::Select, Errno::EPERM), (Call::Select, Errno::ENOSYS)], &[FINE]);
}

#[test]
fn epoll_keeps_its_ghosts() {
    // A ghost costs a poll every millisecond; recreating the kernel object, and `after_fork`, need
    // the call.
    let except = [
        "close_4_a_ghost_does_not_make_it_spin",
        "close_4_a_new_kernel_object_skips_closed_sources",
        "close_4_a_new_kernel_object_keeps_the_edges",
        "close_4_a_new_kernel_object_watches_every_kind",
        "close_4_a_new_kernel_object_watches_every_source",
        "reg_12_no_call_leaks_memory",
        "ready_13_a_selector_can_be_watched_after_a_rebuild",
        "reg_8_closed_descriptors_are_not_its_own",
        "proc_4_after_fork_works",
        "proc_4_after_fork_watches_every_kind",
        "proc_4_children_of_children_leak_nothing",
        "proc_4_random_programs_that_fork",
    ];
    let faults = [(Call::EpollCreate, Errno::EMFILE), (Call::EpollCreate, Errno::ENOMEM)];
    run(Epoll::new, &faults, &except);
}

#[test]
fn epoll_does_not_know_its_files() {
    // They have no identity.
    let except = ["close_5_a_reused_number_does_not_report_the_old_file"];
    run(Epoll::new, &[(Call::Fstat, Errno::EOVERFLOW)], &except);
}

#[test]
fn poll_waits_without_select() {
    // Beyond the limit on descriptors poll(2) is refused as well, and nothing is left to wait by.
    let except = [
        FINE,
        "wait_12_sources_are_served_without_free_descriptors",
        "wait_12_random_programs_without_descriptors",
    ];
    run(Poll::new, &[(Call::Select, Errno::EPERM)], &except);
}

#[test]
fn select_waits_for_poll() {
    run(Poll::new, &[(Call::Poll, Errno::EINVAL)], &HINTS);
}
