//! READY-12, MODE: backends for which some kinds of files are special.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use selectors::backend::{RawSource, Registered};
use selectors::{Events, Interest, Mode, Readiness, Watch};
use selectors_testkit::fixtures::with_raw;
use socket2::{SockRef, Type};

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::kinds::is_datagram;
use super::row::{Row, epoll, poll, rows};
use super::variants::{Refuses, Reports, Watches, kind};

/// Takes a mode for another one, with files of some kind.
fn of(is_it: fn(RawSource) -> bool, new: Registered, mode: Mode, r#for: Mode) -> Watch {
    let other = new.watch.mode == mode && is_it(new.fd);
    Watch::new(new.watch.interest, if other { r#for } else { new.watch.mode })
}

/// An eventfd, a timer, an epoll instance, …
fn is_nameless(fd: RawSource) -> bool {
    kind(fd).is_empty()
}

fn is_listener(fd: RawSource) -> bool {
    with_raw(fd, |fd| SockRef::from(&fd).is_listener().is_ok_and(|listens| listens))
}

fn is_type(fd: RawSource, r#type: Type) -> bool {
    with_raw(fd, |fd| SockRef::from(&fd).r#type().is_ok_and(|other| other == r#type))
}

fn streams_only(new: Registered) -> io::Result<()> {
    let packets = is_type(new.fd, Type::SEQPACKET);
    if packets { Err(Errno::EPROTOTYPE.into()) } else { Ok(()) }
}

/// Takes what hangs up although no peer has closed it for idle: a socket that was never connected, a
/// terminal.
fn hang_ups_need_a_peer(readiness: Readiness, source: Registered) -> Readiness {
    let reads = source.watch.interest.contains(Interest::READ) && kind(source.fd) != SFlag::S_IFIFO;
    let closed = readiness.contains(Readiness::READ_CLOSED);
    let hung_up = readiness.contains(Readiness::HANGUP);
    if reads && hung_up && !closed { Readiness::empty() } else { readiness }
}

/// A pidfd, by the name that the kernel gives it.
fn is_process(fd: RawSource) -> bool {
    let name = fs::read_link(format!("/proc/self/fd/{fd}"));
    name.is_ok_and(|name| name.to_string_lossy().contains("pidfd"))
}

fn processes_never_end(readiness: Readiness, source: Registered) -> Readiness {
    if is_process(source.fd) { Readiness::empty() } else { readiness }
}

fn is_terminal(fd: RawSource) -> bool {
    kind(fd) == SFlag::S_IFCHR && with_raw(fd, |fd| nix::unistd::isatty(fd).unwrap_or(false))
}

/// Checks terminals when a wait begins, and not during the wait.
struct ChecksTerminalsFirst;

impl Defect for ChecksTerminalsFirst {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let is_watched =
            |source: &&Registered| source.watch.mode == Mode::Level && is_terminal(source.fd);
        let terminals: Vec<_> = beneath.sources.values().filter(is_watched).copied().collect();
        let before = events.len();
        beneath.wait(events, if terminals.is_empty() { timeout } else { NOW })?;
        if terminals.is_empty() || events.len() > before {
            return Ok(());
        }
        for source in &terminals {
            beneath.backend.unregister(source.fd, source.token, source.watch)?;
        }
        let answer = beneath.wait(events, timeout);
        for source in &terminals {
            with_raw(source.fd, |fd| beneath.backend.register(fd, source.token, source.watch))?;
        }
        answer
    }
}

rows! {
    "READY-12" processes_never_end "does not report a process that has ended"
        poll Reports(processes_never_end) =>
            ready_12_every_kind_of_file_ends_a_wait;
    "READY-12" terminals_first "checks terminals when a wait begins, and not during it"
        poll ChecksTerminalsFirst =>
            ready_12_every_kind_of_file_ends_a_wait;
    "READY-12" packets_once "reports an edge-triggered socket for packets once"
        epoll Watches(|new| of(|fd| is_type(fd, Type::SEQPACKET), new, Mode::Edge, Mode::OneShot)) =>
            ready_12_every_kind_of_file_ends_a_wait;
    "READY-12" datagrams_once "reports a datagram socket once for each datagram"
        epoll Watches(|new| of(is_datagram, new, Mode::Level, Mode::Edge)) =>
            mode_1_level_repeats_until_drained
            ready_12_every_kind_of_file_behaves_as_with_poll;
    "READY-12" nameless_again "reports a one-shot eventfd again and again"
        epoll Watches(|new| of(is_nameless, new, Mode::OneShot, Mode::Level)) =>
            ready_12_every_kind_of_file_behaves_as_with_poll;
    "READY-12" no_packets "refuses sockets for packets"
        epoll Refuses(streams_only) =>
            wait_11_idle_waits_sleep
            reg_9_files_do_not_change
            ready_12_every_kind_of_file_behaves_as_with_poll;
    "READY-12" hang_ups_need_a_peer "does not report a hang-up unless a peer has closed"
        epoll Reports(hang_ups_need_a_peer) =>
            wait_1_every_timeout_reports_the_same
            ready_4_an_error_wakes_every_interest
            reg_2_a_parked_source_reports_no_hang_up
            wait_7_every_kind_of_readiness_at_once
            ready_12_a_terminal_behaves_as_with_poll
            ready_12_every_kind_of_file_behaves_as_with_poll;
    "MODE-3" listeners_one_shot "reports one connection of an edge-triggered listener"
        epoll Watches(|new| of(is_listener, new, Mode::Edge, Mode::OneShot)) =>
            mode_3_edge_reports_changes;
}
