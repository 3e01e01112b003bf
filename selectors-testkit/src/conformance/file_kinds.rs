//! READY-4, READY-12: a file of each kind, in every mode, compared with poll(2).

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use selectors::backend::BorrowedSource;
use selectors::{Backend, Interest, Mode, Readiness, Token};

use super::stale_readiness::modes;
use super::streams::{PATIENTLY, REQUESTABLE, truth};
use super::{BOTH, Case, NOW, Outcome, Stop, Subject, emulation};
use crate::fixtures::{ChangingFile, Kind, borrow, changing_files, every_kind, is_ready};

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

/// After what time another thread makes a file ready.
const SOON: Duration = Duration::from_micros(700);

const DURING: &str = "files of some kinds are checked when a wait begins, or are reported once, and not \
                      watched by the kernel for as long as the wait lasts and in every mode";

/// Waits until another thread has made the file ready, which must be the only event.
fn wait_for<B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Subject<BorrowedSource<'_>, (), B>,
    (file, token): (&ChangingFile, Token),
    timeout: Option<Duration>,
) -> Outcome {
    let events = thread::scope(|scope| {
        let other = scope.spawn(|| {
            thread::sleep(SOON);
            file.make_ready()
        });
        let events = selector.select(timeout)?;
        other.join().map_err(|_| Stop::panicked("on another thread"))??;
        Ok::<_, Stop>(events)
    })?;
    let seen = case.only(&events, token)?.readiness();
    let what = format!("{:?} of it", file.interest);
    case.expect_that(seen.contains(Readiness::from(file.interest)), &what, seen)?;
    let ready = is_ready(&file.source, file.interest, 0)?;
    case.expect("whether poll(2) says so, too", ready, true)
}

/// Has the file become ready and idle twice. Returns false if it cannot become idle again.
fn follow<B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Subject<BorrowedSource<'_>, (), B>,
    (file, token): (&ChangingFile, Token),
    (mode, timeouts): (Mode, [Option<Duration>; 2]),
) -> Result<bool, Stop> {
    let lasting = [token];
    let again = if matches!(mode, Mode::Level | Mode::Exclusive) { &lasting[..] } else { &[] };
    for timeout in timeouts {
        wait_for(case, selector, (file, token), timeout)?;
        if mode == Mode::Edge {
            // The wait may have ended when the peer had read a part.
            selector.select(NOW)?;
        }
        case.expect_tokens(&selector.select(NOW)?, again)?;
        if mode == Mode::Level && file.adds_up() {
            file.make_ready()?;
            case.only(&selector.select(NOW)?, token)?;
            file.read_a_part()?;
            case.only(&selector.select(NOW)?, token)?;
        }
        if !file.make_idle()? {
            return Ok(false);
        }
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        if mode == Mode::OneShot {
            // It has fired.
            file.make_ready()?;
            is_ready(&file.source, file.interest, PATIENTLY)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
            file.make_idle()?;
            selector.rearm(token)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
        }
    }
    Ok(true)
}

pub(super) fn ready_12_every_kind_of_file_ends_a_wait<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let priority = case.backend()?.capabilities().priority;
    for mode in modes(case)? {
        let files = changing_files()?;
        let mut selector = case.selector()?;
        let mut watched = Vec::new();
        for file in &files {
            let urgent = file.interest == Interest::PRIORITY;
            if is_special(file.name, mode) || urgent && (!priority || mode == Mode::Exclusive) {
                continue;
            }
            // In some modes for both directions, of which one stays idle.
            let both = matches!(mode, Mode::OneShot | Mode::Exclusive) && !urgent;
            let both = both && !is_ready(&file.source, BOTH, 0)?;
            let interest = if both { BOTH } else { file.interest };
            let token = selector.register_with(borrow(&file.source), interest, (), mode)?;
            watched.push((file, token));
        }
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did(format!("watched idle files of {} kinds, {mode:?}", watched.len()));
        case.did("waited");
        let fine = case.long().map(|long| long + Duration::from_nanos(1_500));
        let timeouts = [[case.long(), None], [case.long(), fine], [fine, case.long()]];
        for (&(file, token), timeouts) in watched.iter().zip(timeouts.into_iter().cycle()) {
            let (name, interest) = (file.name, file.interest);
            case.did_instead(format!(
                "another thread made {name} ready for {interest:?} during waits for {timeouts:?}"
            ));
            let idle = follow(case, &mut selector, (file, token), (mode, timeouts));
            if !case.because(DURING, idle)? {
                selector.unregister(token)?;
            }
        }
    }
    Ok(())
}
