//! READY-5 to READY-8: actions of the peer.

use std::io::{Read, Write};
use std::net::Shutdown;

use selectors::{Backend, Event, Interest, Readiness};

use super::case::hint_cause;
use super::readiness::HINTS;
use super::streams::{REQUESTABLE, Stream, TCP, byte_pairs, stream_pairs, truth};
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{
    connecting, drain, fill, is_ready, listener_with_pending, pipe, receive, refused_connect,
    reset, send, tcp_pair,
};

pub(super) fn ready_5_a_pending_connection_is_read<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (listener, _stream) = listener_with_pending()?;
    let mut selector = case.selector()?;
    case.did("registered a listener with a pending connection for READ");
    let token = selector.register(&listener, Interest::READ, ())?;
    let none = "a connection does not count as readable, or has an event type of its own";
    let event = case.because(none, case.only(&selector.select(case.long())?, token))?;
    let more = "additional flags of the kernel for a listener are passed on";
    case.because(more, case.expect("its readiness", event.readiness(), Readiness::READ))?;
    case.did("accepted it");
    let _accepted = listener.accept()?;
    let stale = "a listener is reported for each arrived connection, even if none is pending";
    case.because(stale, case.expect_tokens(&selector.select(NOW)?, &[]))
}

pub(super) fn ready_5_a_finished_connect_is_write<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (stream, _listener) = connecting()?;
    let mut selector = case.selector()?;
    case.did("registered a connecting socket for READ and WRITE");
    let token = selector.register(&stream, BOTH, ())?;
    let none = "only connected sockets are watched for WRITE";
    let event = case.because(none, case.only(&selector.select(case.long())?, token))?;
    let seen = event.readiness();
    let cause = if seen.contains(Readiness::READ) {
        "the end of a connect is reported as READ"
    } else {
        "the state before the socket is connected (a hang-up) is reported, too, or kept"
    };
    case.because(cause, case.expect("its readiness", seen, Readiness::WRITE))?;
    let error = stream.take_error()?.map(|error| error.kind());
    case.expect("the socket's error", error, None)
}

pub(super) fn ready_5_a_refused_connect_wakes<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for interest in [Interest::WRITE, BOTH] {
        let Some(stream) = refused_connect()? else {
            return Err(case.cannot_run("connect(2) refuses at once here"));
        };
        let mut selector = case.selector()?;
        case.did(format!("registered a socket whose connect is refused for {interest:?}"));
        let token = selector.register(&stream, interest, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("WRITE", event.is_writable(), true)?;
        let has_error = event.readiness().contains(Readiness::ERROR);
        let cause = if has_error {
            "an ERROR is reported by a backend that does not declare `error`"
        } else {
            "the error is reported as READ and WRITE, without ERROR"
        };
        let declared = selector.capabilities().error;
        case.because(cause, case.expect("ERROR, by the capability", has_error, declared))?;
        let error = stream.take_error()?.map(|error| error.kind());
        let taken = "the backend reads SO_ERROR, which clears it";
        let refused = Some(std::io::ErrorKind::ConnectionRefused);
        case.because(taken, case.expect("the error", error, refused))?;
    }
    Ok(())
}

/// Waits until the readiness of `ours` is `expected`, as far as the backend reports it.
fn event_after<B: Backend>(
    case: &mut Case<'_, B>,
    what: &str,
    ours: &Stream,
    expected: Readiness,
) -> Result<(), super::Stop> {
    let mut selector = case.selector()?;
    let capabilities = selector.capabilities();
    case.did(format!("registered {what} for READ"));
    let token = selector.register(ours, Interest::READ, ())?;
    let mut possible = Readiness::READ;
    possible.set(Readiness::READ_CLOSED, capabilities.read_closed);
    possible.set(Readiness::HANGUP, capabilities.hangup);
    possible.set(Readiness::ERROR, capabilities.error);
    let what = "its readiness, by the capabilities";
    case.expect_in_steps(what, &mut selector, token, expected & possible)
}

pub(super) fn ready_6_a_half_closed_peer<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        theirs.shutdown(Shutdown::Write)?;
        let expected = Readiness::READ | Readiness::READ_CLOSED;
        event_after(case, &format!("a half-closed {name} socket"), &ours, expected)?;
        // It is still writable, without an error.
        let mut selector = case.selector()?;
        let token = selector.register(&ours, Interest::WRITE, ())?;
        case.did("registered it for WRITE");
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("HANGUP", event.readiness().contains(Readiness::HANGUP), false)?;
        case.expect("ERROR", event.readiness().contains(Readiness::ERROR), false)?;
        let both = Interest::READ | Interest::WRITE;
        selector.modify(token, both)?;
        case.did("modified it to READ and WRITE");
        let event = case.only(&selector.select(case.long())?, token)?;
        let seen = event.readiness() & Readiness::from(both);
        case.expect("its directions", seen, both.into())?;
    }
    Ok(())
}

pub(super) fn ready_6_a_closed_peer<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        drop(theirs);
        // As far as our side knows, a TCP peer that has closed may still receive.
        let gone = if name == TCP { Readiness::empty() } else { Readiness::HANGUP };
        let expected = Readiness::READ | Readiness::READ_CLOSED | gone;
        event_after(case, &format!("a {name} socket whose peer is closed"), &ours, expected)?;
        let end = (&ours).read(&mut [0]).map_err(|error| error.kind());
        case.expect("what it reads", end, Ok(0))?;
    }
    Ok(())
}

pub(super) fn ready_6_both_directions_shut_down<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        ours.shutdown(Shutdown::Write)?;
        theirs.shutdown(Shutdown::Write)?;
        let expected = Readiness::READ | Readiness::READ_CLOSED | Readiness::HANGUP;
        event_after(
            case,
            &format!("a {name} socket, shut down in both directions"),
            &ours,
            expected,
        )?;
    }
    Ok(())
}

pub(super) fn ready_6_a_reset_peer<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = tcp_pair()?;
    reset(theirs)?;
    let expected = Readiness::READ | HINTS;
    event_after(case, "a TCP socket that was reset", &ours.into(), expected)
}

pub(super) fn ready_6_no_hint_without_a_cause<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        (&theirs).write_all(b"x")?;
        let mut selector = case.selector()?;
        case.did(format!("registered a healthy {name} socket with data"));
        let token = selector.register(&ours, BOTH, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("the hints", event.readiness() & HINTS, Readiness::empty())?;
        case.did("shut down its own sending half, and its peer did not react");
        drain(&ours)?;
        ours.shutdown(Shutdown::Write)?;
        selector.modify(token, Interest::READ)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("modified it to READ and WRITE");
        selector.modify(token, BOTH)?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::WRITE)?;
    }
    Ok(())
}

pub(super) fn ready_6_its_own_reading_half_shut_down<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for (name, ours, _theirs) in stream_pairs()? {
        case.did(format!("shut down the reading half of a {name} socket"));
        ours.shutdown(Shutdown::Read)?;
        for interest in [Interest::READ, Interest::WRITE, BOTH] {
            let truth = truth(interest, |one| is_ready(&ours, one, 0))?;
            case.did(format!("registered it for {interest:?}; poll(2) says {truth:?}"));
            let mut selector = case.selector()?;
            selector.register(&ours, interest, ())?;
            let events = selector.select(NOW)?;
            let seen = events.iter().fold(Readiness::empty(), |all, event| all | event.readiness());
            let cause = "end-of-file is derived from the peer's actions instead of the socket";
            case.because(cause, case.expect("its readiness", seen & REQUESTABLE, truth))?;
        }
    }
    Ok(())
}

pub(super) fn ready_7_pipe_writer_gone_wakes_reader<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (reader, writer) = pipe()?;
    let mut selector = case.selector()?;
    case.did("registered the reading end of a pipe for READ, and closed the writing end");
    let token = selector.register(&reader, Interest::READ, ())?;
    drop(writer);
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("READ", event.is_readable(), true)?;
    let hung_up = event.readiness().contains(Readiness::HANGUP);
    let capabilities = selector.capabilities();
    let outcome = case.expect("HANGUP, by the capability", hung_up, capabilities.hangup);
    let mut expected = event.readiness();
    expected.set(Readiness::HANGUP, capabilities.hangup);
    match hint_cause(event.readiness(), expected, capabilities) {
        Some(cause) => case.because(cause, outcome),
        None => outcome,
    }
}

pub(super) fn ready_7_pipe_reader_gone_wakes_writer<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    writer_wakes(case, false)
}

pub(super) fn ready_7_pipe_reader_gone_wakes_full_writer<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    writer_wakes(case, true)
}

fn writer_wakes<B: Backend>(case: &mut Case<'_, B>, full: bool) -> Outcome {
    for before in [true, false] {
        let (reader, writer) = pipe()?;
        if full {
            fill(&writer)?;
        }
        let mut selector = case.selector()?;
        let mut reader = Some(reader);
        if before {
            reader = None;
        }
        let state = if full { "full" } else { "empty" };
        case.did(format!("registered the writing end of a {state} pipe for WRITE"));
        let token = selector.register(&writer, Interest::WRITE, ())?;
        case.did(format!("the reading end was closed {}", if before { "before" } else { "after" }));
        drop(reader);
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("WRITE", event.is_writable(), true)?;
    }
    Ok(())
}

pub(super) fn ready_7_a_hang_up_ends_a_wait_for_write<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (reader, writer) = pipe()?;
    let mut selector = case.selector()?;
    case.did("registered the reading end of a pipe for WRITE, and closed the writing end");
    let token = selector.register(&reader, Interest::WRITE, ())?;
    drop(writer);
    if selector.capabilities().write_hangup {
        let event = case.only(&selector.select(case.long())?, token)?;
        return case.expect("WRITE", event.is_writable(), true);
    }
    // If it is not declared, a kernel may report it or not: FreeBSD 12.3 does and 14 does not.
    let reported: Vec<_> = selector.select(NOW)?.iter().map(Event::readiness).collect();
    let either = reported.is_empty() || reported == [Readiness::WRITE];
    case.expect("WRITE or nothing", either, true)
}

pub(super) fn ready_8_data_before_end_of_file<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, reader, writer) in byte_pairs()? {
        let mut selector = case.selector()?;
        case.did(format!("wrote a byte to a {name} and closed it"));
        let token = selector.register(&reader, Interest::READ, ())?;
        send(&writer, b"x")?;
        drop(writer);
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("READ", event.is_readable(), true)?;
        let mut byte = [0];
        case.expect("the number of bytes read", receive(&reader, &mut byte)?, 1)?;
        case.did("read the byte");
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("READ, for the end", event.is_readable(), true)?;
        case.expect("the number of bytes read then", receive(&reader, &mut byte)?, 0)?;
    }
    Ok(())
}
