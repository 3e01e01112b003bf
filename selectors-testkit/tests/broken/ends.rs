//! READY-6 to READY-8: end-of-file, hang-ups and errors.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use nix::sys::stat::SFlag;
use selectors::backend::Registered;
use selectors::{Event, Interest, Readiness, Token};
use selectors_testkit::fixtures::with_raw;
use socket2::SockRef;

use super::defect::{Beneath, Defect};
use super::row::{FILES, RANDOM, Row, poll, rows, select};
use super::variants::{Declares, Reports, kind};

/// Reports the end of one direction as the end of both.
fn half_close_is_hang_up(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.contains(Readiness::READ_CLOSED) {
        readiness | Readiness::HANGUP
    } else {
        readiness
    }
}

/// Reports an end-of-file as an error.
fn end_is_error(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.intersects(Readiness::READ_CLOSED | Readiness::HANGUP) {
        readiness | Readiness::ERROR
    } else {
        readiness
    }
}

/// Reports READ_CLOSED for data, if the source is also writable.
fn data_is_the_end(readiness: Readiness, _: Registered) -> Readiness {
    if readiness == Readiness::READ | Readiness::WRITE {
        readiness | Readiness::READ_CLOSED
    } else {
        readiness
    }
}

/// Does not report an end-of-file: poll(2) reports READ for it.
fn ends_are_silent(readiness: Readiness, source: Registered) -> Readiness {
    let socket = kind(source.fd) == SFlag::S_IFSOCK;
    if socket && readiness.contains(Readiness::READ_CLOSED) {
        Readiness::empty()
    } else {
        readiness
    }
}

/// Checks for hang-ups and errors only if the interest contains READ.
fn writers_hear_no_hang_up(readiness: Readiness, source: Registered) -> Readiness {
    if source.watch.interest == Interest::WRITE && !readiness.contains(Readiness::WRITE) {
        Readiness::empty()
    } else {
        readiness
    }
}

/// Checks only the space in a pipe, and not its readers.
fn pipes_have_space_or_not(readiness: Readiness, source: Registered) -> Readiness {
    let pipe = kind(source.fd) == SFlag::S_IFIFO;
    if pipe && readiness.contains(Readiness::ERROR) { Readiness::empty() } else { readiness }
}

/// Does not report a pipe without a writer after its data was read.
fn ends_of_pipes_are_silent(readiness: Readiness, source: Registered) -> Readiness {
    let pipe = kind(source.fd) == SFlag::S_IFIFO;
    if pipe && readiness == Readiness::HANGUP { Readiness::empty() } else { readiness }
}

/// Reports the end of a source once, together with the data before it.
#[derive(Default)]
struct EndsOnce(BTreeSet<Token>);

impl Defect for EndsOnce {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        let ended = Readiness::HANGUP | Readiness::READ_CLOSED;
        found.retain(|event| {
            !event.readiness().intersects(ended) || !self.0.contains(&event.token())
        });
        let with_data =
            |event: &&Event| event.readiness().contains(Readiness::READ | Readiness::HANGUP);
        self.0.extend(found.iter().filter(with_data).map(Event::token));
        found
    }
}

/// Treats a socket whose peer is half-closed as not writable.
fn half_closed_is_full(readiness: Readiness, _: Registered) -> Readiness {
    let half = readiness.contains(Readiness::READ_CLOSED);
    if half { readiness - Readiness::WRITE } else { readiness }
}

/// Reports the shutdown of its own direction as that of both.
fn own_end_is_hang_up(readiness: Readiness, source: Registered) -> Readiness {
    let shut = || {
        with_raw(source.fd, |fd| {
            let sent = SockRef::from(&fd).send_with_flags(&[], MSG_NOSIGNAL | MSG_DONTWAIT);
            sent.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
        })
    };
    let writes = kind(source.fd) == SFlag::S_IFSOCK && readiness.contains(Readiness::WRITE);
    if writes && shut() { readiness | Readiness::HANGUP } else { readiness }
}

/// Treats every end-of-file as the peer's, and does not report one of its own.
fn peers_end_alone(readiness: Readiness, source: Registered) -> Readiness {
    let sends = || {
        with_raw(source.fd, |fd| {
            let peer = SockRef::from(&fd).send_with_flags(&[], MSG_NOSIGNAL | MSG_DONTWAIT);
            peer.is_ok()
        })
    };
    let ended =
        readiness.contains(Readiness::READ_CLOSED) && !readiness.contains(Readiness::HANGUP);
    if ended && kind(source.fd) == SFlag::S_IFSOCK && sends() {
        readiness - Readiness::READ - Readiness::READ_CLOSED
    } else {
        readiness
    }
}

/// Takes the hang-up of a source watched for READ and PRIORITY for that of nothing.
fn urgent_readers_hear_no_end(readiness: Readiness, source: Registered) -> Readiness {
    let urgent = source.watch.interest == Interest::READ | Interest::PRIORITY;
    let ended = readiness.intersects(Readiness::HANGUP | Readiness::ERROR);
    if urgent && ended { Readiness::empty() } else { readiness }
}

rows! {
    "READY-4" urgent_readers "reports no hang-up to sources watched for READ and PRIORITY"
        poll Reports(urgent_readers_hear_no_end) =>
            ready_4_an_error_wakes_every_interest;
    "READY-6" peers_end_alone "does not report an end-of-file while the source is writable"
        poll Reports(peers_end_alone) =>
            ready_6_its_own_reading_half_shut_down
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_8_data_before_end_of_file
            mode_2_one_shot_is_silent_about_hang_ups_too
            ready_4_every_state_of_a_socket
            wait_7_every_kind_of_readiness_at_once
            reg_2_a_parked_source_reports_no_hang_up;
    "READY-6" own_end_is_hang_up "reports HANGUP once its own side was shut down"
        poll Reports(own_end_is_hang_up) =>
            ready_5_a_refused_connect_wakes
            ready_6_no_hint_without_a_cause;
    "READY-6" no_hang_up "drops HANGUP"
        poll Reports(|r, _| r - Readiness::HANGUP) =>
            ready_1_a_pipe_gets_another_writer
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer
            ready_7_pipe_writer_gone_wakes_reader
            ready_7_a_hang_up_ends_a_wait_for_write
            ready_8_data_before_end_of_file
            reg_2_a_parked_source_reports_no_hang_up
            [RANDOM];
    "READY-6" no_read_closed "drops READ_CLOSED"
        poll Reports(|r, _| r - Readiness::READ_CLOSED) =>
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer;
    "READY-6" no_error "drops ERROR"
        poll Reports(|r, _| r - Readiness::ERROR) =>
            ready_1_a_datagram_socket_recovers
            close_4_a_new_kernel_object_skips_closed_sources
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer
            ready_7_pipe_reader_gone_wakes_full_writer
            wait_11_waits_with_closed_sources_sleep
            ready_4_an_error_of_a_datagram_socket_wakes
            [RANDOM];
    "READY-6" half_close_hang_up "reports a half-closed peer as HANGUP"
        poll Reports(half_close_is_hang_up) =>
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_4_every_state_of_a_socket;
    "READY-6" half_closed_full "reports no WRITE of a half-closed peer"
        poll Reports(half_closed_is_full) =>
            ready_6_a_half_closed_peer
            ready_4_every_state_of_a_socket
            wait_7_every_kind_of_readiness_at_once
            ready_6_its_own_reading_half_shut_down;
    "READY-6" end_is_error "reports an end as ERROR"
        poll Reports(end_is_error) =>
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_4_every_state_of_a_socket;
    "READY-6" data_is_end "reports data as READ_CLOSED"
        poll Reports(data_is_the_end) =>
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_9_descriptor_zero_stays_registered
            mod_1_the_next_select_uses_the_new_interest
            mod_1_the_last_change_before_a_wait_counts
            ready_3_both_directions_are_one_event
            ready_6_no_hint_without_a_cause
            mode_2_one_shot_reports_once
            mode_2_arming_with_a_new_interest
            wait_8_the_last_bit_of_a_word
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            wait_8_descriptors_above_1024
            [FILES];
    "READY-6" silent_ends "does not report an end-of-file"
        poll Reports(ends_are_silent) =>
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_2_an_empty_interest_parks
            reg_12_dropping_closes_everything
            ready_4_an_error_wakes_every_interest
            ready_4_the_backend_reports_errors
            ready_5_a_refused_connect_wakes
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer
            ready_8_data_before_end_of_file
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_one_shot_is_silent_about_errors_too
            reg_2_a_parked_source_reports_no_hang_up
            ready_4_every_state_of_a_socket
            wait_7_every_kind_of_readiness_at_once
            ready_6_its_own_reading_half_shut_down
            [RANDOM];
    "READY-6" undeclared_hints "reports hints that it does not declare"
        poll Declares(|c| (c.hangup, c.read_closed, c.error) = (false, false, false)) =>
            ready_4_the_backend_reports_errors
            ready_5_a_refused_connect_wakes
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer
            ready_7_pipe_writer_gone_wakes_reader;
    "READY-6" missing_hints "declares hints that it does not report"
        select Declares(|c| (c.hangup, c.read_closed, c.error) = (true, true, true)) =>
            ready_4_an_error_wakes_every_interest
            ready_5_a_refused_connect_wakes
            ready_6_a_half_closed_peer
            ready_6_a_closed_peer
            ready_6_both_directions_shut_down
            ready_6_a_reset_peer
            ready_7_pipe_writer_gone_wakes_reader;
    "READY-7" deaf_writers "reports hang-ups to readers alone"
        poll Reports(writers_hear_no_hang_up) =>
            ready_7_pipe_reader_gone_wakes_full_writer
            ready_7_a_hang_up_ends_a_wait_for_write
            [RANDOM];
    "READY-7" space_alone "does not report a pipe without readers"
        poll Reports(pipes_have_space_or_not) =>
            ready_7_pipe_reader_gone_wakes_writer
            ready_7_pipe_reader_gone_wakes_full_writer
            mode_2_one_shot_is_silent_about_hang_ups_too
            wait_7_every_kind_of_readiness_at_once
            [RANDOM];
    "READY-7" write_hangup_declared "declares write_hangup, and cannot see it"
        select Declares(|c| c.write_hangup = true) =>
            ready_7_a_hang_up_ends_a_wait_for_write
            [RANDOM];
    "READY-7" silent_pipes "does not report a pipe without writers"
        poll Reports(ends_of_pipes_are_silent) =>
            ready_1_a_pipe_gets_another_writer
            wait_1_every_timeout_reports_the_same
            ready_7_pipe_writer_gone_wakes_reader
            ready_7_a_hang_up_ends_a_wait_for_write
            ready_8_data_before_end_of_file
            reg_2_a_parked_source_reports_no_hang_up
            [RANDOM];
    "READY-8" end_once "reports an end only with the data before it"
        poll EndsOnce::default() =>
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_8_data_before_end_of_file
            ready_1_random_programs
            mode_5_random_programs_of_all_modes;
}
