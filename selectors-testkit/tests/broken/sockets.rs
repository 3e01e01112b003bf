//! READY: backends that do not report what happens to listeners, connections and datagram sockets.

use std::mem::MaybeUninit;

use selectors::backend::Registered;
use selectors::{Mode, Readiness, Watch};
use selectors_testkit::fixtures::with_raw;
use socket2::{SockRef, Type};

use super::row::{Row, epoll, poll, rows};
use super::variants::{Reports, Watches};

/// Does not report pending connections.
fn listeners_are_deaf(readiness: Readiness, source: Registered) -> Readiness {
    let listens = with_raw(source.fd, |fd| SockRef::from(&fd).is_listener().unwrap_or(false));
    if listens { readiness - Readiness::READ } else { readiness }
}

/// Reports a failed connect as an end-of-file.
fn refusal_is_the_end(readiness: Readiness, source: Registered) -> Readiness {
    let connected = with_raw(source.fd, |fd| SockRef::from(&fd).peer_addr().is_ok());
    if readiness.contains(Readiness::ERROR | Readiness::HANGUP) && !connected {
        Readiness::READ | Readiness::READ_CLOSED
    } else {
        readiness
    }
}

/// Reports a new connection as readable.
fn connected_is_readable(readiness: Readiness, source: Registered) -> Readiness {
    let connected = with_raw(source.fd, |fd| {
        let address = SockRef::from(&fd).peer_addr();
        address.is_ok_and(|address| address.as_socket().is_some())
    });
    if connected && readiness == Readiness::WRITE {
        Readiness::READ | Readiness::WRITE
    } else {
        readiness
    }
}

/// Reports a listener only once for each connection.
fn level_listeners_are_edges(new: Registered) -> Watch {
    let listens = with_raw(new.fd, |fd| SockRef::from(&fd).is_listener().unwrap_or(false));
    let mode = if listens && new.watch.mode == Mode::Level { Mode::Edge } else { new.watch.mode };
    Watch::new(new.watch.interest, mode)
}

/// Reports urgent data as READ.
fn urgent_is_read(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.contains(Readiness::PRIORITY) {
        (readiness - Readiness::PRIORITY) | Readiness::READ
    } else {
        readiness
    }
}

/// Reports ordinary data as PRIORITY.
fn read_is_urgent(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.contains(Readiness::READ) { readiness | Readiness::PRIORITY } else { readiness }
}

/// Reports a datagram socket as readable only if it has unread bytes.
fn empty_datagrams_are_nothing(readiness: Readiness, source: Registered) -> Readiness {
    let empty = with_raw(source.fd, |fd| {
        let socket = SockRef::from(&fd);
        let datagrams = socket.r#type().is_ok_and(|r#type| r#type == Type::DGRAM);
        datagrams && socket.peek(&mut [MaybeUninit::uninit()]).is_ok_and(|bytes| bytes == 0)
    });
    if empty { readiness - Readiness::READ } else { readiness }
}

rows! {
    "READY-5" deaf_listener "does not report pending connections"
        poll Reports(listeners_are_deaf) =>
            ready_5_a_pending_connection_is_read
            ready_5_a_listener_stays_ready_until_all_are_accepted
            ready_12_every_kind_of_file_behaves_as_with_poll;
    "READY-5" refusal_is_end "reports a refused connect as an end-of-file"
        poll Reports(refusal_is_the_end) =>
            ready_4_an_error_wakes_every_interest
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer;
    "READY-5" connected_readable "reports a finished connect as READ"
        poll Reports(connected_is_readable) =>
            ready_5_a_finished_connect_is_write
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_4_every_state_of_a_socket
            ready_6_no_hint_without_a_cause;
    "READY-5" listeners_once "reports a listener once for each connection"
        epoll Watches(level_listeners_are_edges) =>
            ready_12_every_kind_of_file_behaves_as_with_poll
            ready_5_a_listener_stays_ready_until_all_are_accepted;
    "READY-9" urgent_is_read "reports PRIORITY as READ"
        poll Reports(urgent_is_read) =>
            ready_3_urgent_and_ordinary_data_are_one_event
            ready_9_out_of_band_data_is_priority
            ready_9_priority_in_every_mode
            ready_9_priority_comes_and_goes
            ready_4_every_state_of_a_socket
            wait_7_every_kind_of_readiness_at_once
            close_4_a_new_kernel_object_watches_every_source;
    "READY-9" read_is_urgent "reports READ as PRIORITY"
        poll Reports(read_is_urgent) =>
            ready_4_an_error_wakes_every_interest
            ready_9_out_of_band_data_is_priority
            ready_4_every_state_of_a_socket;
    "READY-10" empty_datagram "derives READ from the number of bytes"
        poll Reports(empty_datagrams_are_nothing) =>
            ready_10_an_empty_datagram_is_read
            ready_4_an_error_of_a_datagram_socket_wakes;
}
