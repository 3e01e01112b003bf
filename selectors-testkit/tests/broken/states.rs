//! READY-4: backends that confuse flags of sockets if several are set.

use selectors::backend::Registered;
use selectors::{Interest, Readiness};

use super::row::{Row, epoll, rows};
use super::variants::Reports;

fn urgent_is_write(readiness: Readiness, source: Registered) -> Readiness {
    let both = source.watch.interest.contains(Interest::WRITE | Interest::PRIORITY);
    let urgent = readiness.contains(Readiness::PRIORITY);
    if both && urgent { readiness | Readiness::WRITE } else { readiness }
}

fn urgent_needs_room(readiness: Readiness, source: Registered) -> Readiness {
    let both = source.watch.interest.contains(Interest::WRITE | Interest::PRIORITY);
    let full = both && !readiness.contains(Readiness::WRITE);
    if full { readiness - Readiness::PRIORITY } else { readiness }
}

fn an_end_is_write(readiness: Readiness, _: Registered) -> Readiness {
    let end = readiness.contains(Readiness::READ_CLOSED);
    if end { readiness | Readiness::WRITE } else { readiness }
}

fn an_end_is_not_urgent(readiness: Readiness, _: Registered) -> Readiness {
    let end = readiness.contains(Readiness::READ_CLOSED);
    if end { readiness - Readiness::PRIORITY } else { readiness }
}

rows! {
    "READY-4" urgent_is_write "reports PRIORITY as WRITE on a full socket"
        epoll Reports(urgent_is_write) =>
            ready_4_every_state_of_a_socket;
    "READY-4" urgent_needs_room "reports no PRIORITY on a full socket"
        epoll Reports(urgent_needs_room) =>
            ready_4_every_state_of_a_socket;
    "READY-4" an_end_is_write "reports WRITE on a full socket with a half-closed peer"
        epoll Reports(an_end_is_write) =>
            ready_4_every_state_of_a_socket;
    "READY-4" an_end_is_not_urgent "reports no PRIORITY once the peer has half-closed"
        epoll Reports(an_end_is_not_urgent) =>
            ready_4_every_state_of_a_socket;
}
