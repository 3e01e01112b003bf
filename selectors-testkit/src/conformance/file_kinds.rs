//! READY-4, READY-12: a file of each kind, in every mode, compared with poll(2).

use std::net::UdpSocket;

use selectors::{Backend, Interest, Mode, Readiness};

use super::stale_readiness::modes;
use super::streams::{REQUESTABLE, truth};
use super::{BOTH, Case, NOW, Outcome, emulation};
use crate::fixtures::{Kind, borrow, every_kind, is_ready};

const READ: Interest = Interest::READ;

pub(super) fn ready_4_an_error_of_a_datagram_socket_wakes<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    // A port that no socket listens at.
    let gone = UdpSocket::bind("127.0.0.1:0")?;
    let ours = UdpSocket::bind("127.0.0.1:0")?;
    ours.set_nonblocking(true)?;
    ours.connect(gone.local_addr()?)?;
    drop(gone);
    case.did("sent a datagram to a port that no socket listens at");
    ours.send(b"x")?;
    if !is_ready(&ours, READ, 1_000)? {
        return Err(
            case.cannot_run("this system does not report to a UDP socket that its peer is gone")
        );
    }
    for interest in [READ, BOTH] {
        case.did(format!("registered the socket for {interest:?}"));
        let mut selector = case.selector()?;
        let token = selector.register(&ours, interest, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        let what = "READ, if the interest contains it";
        case.expect_that(event.is_readable(), what, event.readiness())?;
    }
    Ok(())
}

const LIKE_ANY_OTHER: &str = "files of some kinds are treated on their own: each has to be reported for as long, and as \
                              often, as its mode says, by every wait, and after every change";

/// Whether the kernel, or the one that is emulated, has a rule of its own for this kind.
pub(super) fn is_special(name: &str, mode: Mode) -> bool {
    let macos = emulation::is_any() || cfg!(target_vendor = "apple");
    // epoll_ctl(2).
    (mode == Mode::Exclusive && name.starts_with("an epoll instance"))
        || (macos && mode == Mode::Edge && name.contains("fifo"))
        || (emulation::is_any() && name.ends_with("never connected"))
}

pub(super) fn ready_12_every_kind_of_file_behaves_as_with_poll<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for mode in modes(case)? {
        let lasts = matches!(mode, Mode::Level | Mode::Exclusive);
        for Kind { name, source, .. } in every_kind()? {
            if is_special(name, mode) {
                continue;
            }
            let mut selector = case.selector()?;
            let token = selector.register_with(borrow(&source), READ, (), mode)?;
            for interest in [READ, Interest::WRITE, BOTH, READ] {
                let truth = truth(interest, |one| is_ready(&source, one, 0))?;
                selector.modify(token, interest)?;
                for (what, expected) in [
                    ("registered or modified", truth),
                    ("waited for", if lasts { truth } else { Readiness::empty() }),
                    ("rearmed", truth),
                ] {
                    if what == "rearmed" {
                        selector.rearm(token)?;
                    }
                    let events = selector.select(NOW)?;
                    let seen = events.iter().fold(Readiness::empty(), |all, e| all | e.readiness());
                    let end = seen.contains(Readiness::READ_CLOSED)
                        && !seen.contains(Readiness::HANGUP)
                        && !name.contains("gone");
                    let what_ends = format!("no READ_CLOSED of {name}");
                    case.expect_that(!end, &what_ends, seen)?;
                    let seen = seen & REQUESTABLE;
                    if seen != expected {
                        case.did(format!(
                            "{what} {name} for {interest:?}, {mode:?}; poll(2) says {truth:?}"
                        ));
                    }
                    let readiness = format!("the readiness of {name}");
                    case.because(LIKE_ANY_OTHER, case.expect(&readiness, seen, expected))?;
                }
            }
            selector.unregister(token)?;
            let silent = case.expect_tokens(&selector.select(NOW)?, &[]);
            let silent = silent.inspect_err(|_| case.did(format!("unregistered {name}, {mode:?}")));
            case.because(LIKE_ANY_OTHER, silent)?;
        }
    }
    Ok(())
}
