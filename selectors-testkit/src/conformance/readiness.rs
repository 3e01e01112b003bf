//! READY: what is reported, and what is not.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use selectors::backend::AsSource;
use selectors::{Backend, Event, Events, Interest, Mode, Readiness, Token, Watch};

use super::streams::{Stream, TCP, all_pairs, byte_pairs, stream_pairs};
use super::{Case, NOW, Outcome, Subject};
use crate::fixtures::{
    OwnedSource, borrow, connecting, directory, drain, duplicate, fifo, fill, if_any, is_ready,
    listener_with_pending, null_device, number_of, out_of_band, pair, pipe, receive,
    refused_connect, regular_file, reset, send, tcp_pair, terminal, udp_pair, unix_datagram_pair,
};

const BOTH: Interest = Interest::READ.union(Interest::WRITE);
const HINTS: Readiness = Readiness::READ_CLOSED.union(Readiness::HANGUP).union(Readiness::ERROR);

pub(super) fn ready_1_idle_sources_are_silent<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector()?;
    let mut peers = Vec::new();
    case.did("registered idle sockets and pipes for READ");
    for _ in 0..3 {
        for (_, ours, theirs) in all_pairs()? {
            selector.register(ours, Interest::READ, ())?;
            peers.push(theirs);
        }
    }
    case.did("registered an idle fifo and a listener");
    let fifo = if_any(fifo())?;
    if let Some(fifo) = &fifo {
        selector.register(duplicate(&fifo.reader)?, Interest::READ, ())?;
    }
    let (_connecting, listener) = connecting()?;
    listener.accept()?;
    selector.register(listener.into(), Interest::READ, ())?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.expect_tokens(&selector.select(Some(Duration::from_millis(2)))?, &[])
}

pub(super) fn ready_2_unread_data_is_read<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, reader, writer) in all_pairs()? {
        let mut selector = case.selector()?;
        case.did(format!("registered a {name} source for READ, and sent it a byte"));
        let token = selector.register(&reader, Interest::READ, ())?;
        send(&writer, b"x")?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::READ)?;
        case.did("read it");
        drain(&reader)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    Ok(())
}

pub(super) fn ready_2_space_is_write_and_none_is_not<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for (name, reader, writer) in byte_pairs()? {
        let mut selector = case.selector()?;
        case.did(format!("registered a {name} with space for WRITE"));
        let token = selector.register(&writer, Interest::WRITE, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::WRITE)?;
        case.did("filled it");
        case.expect_tokens(&select_while_full(&mut selector, &writer)?, &[])?;
        case.did("drained the other end");
        drain_until_space(&reader, &writer)?;
        case.only(&selector.select(case.long())?, token)?;
    }
    Ok(())
}

/// Fills a buffer, and selects. TCP moves bytes on to its peer in its own time, so this is
/// repeated until the buffer was full all the while: it does not become full by itself.
fn select_while_full<F, T, B: Backend>(
    selector: &mut super::Subject<F, T, B>,
    writer: &OwnedSource,
) -> Result<Events, super::Stop> {
    let mut events = Events::new();
    for _ in 0..1000 {
        fill(writer)?;
        events = selector.select(NOW)?;
        if !is_ready(writer, Interest::WRITE, 0)? {
            break;
        }
    }
    Ok(events)
}

/// Drains until there is space: what TCP had in its other buffer comes after.
fn drain_until_space(reader: &OwnedSource, writer: &OwnedSource) -> io::Result<()> {
    for _ in 0..1000 {
        drain(reader)?;
        if is_ready(writer, Interest::WRITE, 10)? {
            break;
        }
    }
    Ok(())
}

pub(super) fn ready_3_both_directions_are_one_event<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector()?;
    let mut expected = Vec::new();
    let mut peers = Vec::new();
    case.did("registered six readable and writable sockets for READ and WRITE");
    for _ in 0..3 {
        for (_, ours, theirs) in stream_pairs()? {
            (&theirs).write_all(b"x")?;
            case.expect(
                "whether the byte arrived",
                is_ready(&ours, Interest::READ, 10_000)?,
                true,
            )?;
            peers.push(theirs);
            expected.push(selector.register(ours, BOTH, ())?);
        }
    }
    for _ in 0..3 {
        let events = selector.select(case.long())?;
        case.expect_tokens(&events, &expected)?;
        for event in &events {
            case.expect("its readiness", event.readiness(), Readiness::READ | Readiness::WRITE)?;
        }
    }
    Ok(())
}

pub(super) fn ready_4_only_what_was_asked_for<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        (&theirs).write_all(b"x")?;
        for interest in [Interest::READ, Interest::WRITE] {
            let mut selector = case.selector()?;
            case.did(format!("registered a ready {name} socket for {interest:?}"));
            let token = selector.register(&ours, interest, ())?;
            let event = case.only(&selector.select(case.long())?, token)?;
            case.expect("its readiness", event.readiness(), Readiness::from(interest))?;
        }
    }
    Ok(())
}

pub(super) fn ready_4_an_error_wakes_whatever_was_asked_for<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let capabilities = case.backend()?.capabilities();
    let mut interests = vec![Interest::READ, Interest::WRITE, BOTH];
    if capabilities.priority && capabilities.error {
        interests.push(Interest::PRIORITY);
    }
    for interest in interests {
        let (ours, theirs) = tcp_pair()?;
        reset(theirs)?;
        // WRITE alone is true before the reset has arrived.
        case.expect("whether the reset arrived", is_ready(&ours, Interest::READ, 10_000)?, true)?;
        let mut selector = case.selector()?;
        case.did(format!("registered a TCP socket that was reset for {interest:?}"));
        let token = selector.register(ours, interest, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        let asked = event.readiness() - HINTS;
        case.expect("what it was asked for", asked, Readiness::from(interest))?;
    }
    for interest in [Interest::READ, Interest::WRITE, BOTH] {
        let (ours, theirs) = pair()?;
        drop(theirs);
        let mut selector = case.selector()?;
        case.did(format!("registered a unix socket whose peer is closed for {interest:?}"));
        let token = selector.register(ours, interest, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        let asked = event.readiness() - HINTS;
        case.expect("what it was asked for", asked, Readiness::from(interest))?;
    }
    Ok(())
}

pub(super) fn ready_5_a_pending_connection_is_read<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (listener, _stream) = listener_with_pending()?;
    let mut selector = case.selector()?;
    case.did("registered a listener with a pending connection for READ");
    let token = selector.register(&listener, Interest::READ, ())?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("its readiness", event.readiness(), Readiness::READ)?;
    case.did("accepted it");
    let _accepted = listener.accept()?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn ready_5_a_finished_connect_is_write<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (stream, _listener) = connecting()?;
    let mut selector = case.selector()?;
    case.did("registered a connecting socket for READ and WRITE");
    let token = selector.register(&stream, BOTH, ())?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("its readiness", event.readiness(), Readiness::WRITE)?;
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
        let told = event.readiness().contains(Readiness::ERROR);
        case.expect("ERROR, by the capability", told, selector.capabilities().error)?;
        let error = stream.take_error()?.map(|error| error.kind());
        case.expect("the error", error, Some(std::io::ErrorKind::ConnectionRefused))?;
    }
    Ok(())
}

/// Within what time the last of the steps arrives in which a peer goes.
const STEPS: Duration = Duration::from_secs(1);

/// Checks what the readiness of `ours` comes to: `expected`, as far as the backend can see it.
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
    // What a peer does may arrive in steps.
    let start = Instant::now();
    let mut event = case.only(&selector.select(case.long())?, token)?;
    while event.readiness() != expected & possible && start.elapsed() < STEPS {
        std::thread::yield_now();
        event = case.only(&selector.select(case.long())?, token)?;
    }
    case.expect("its readiness, by the capabilities", event.readiness(), expected & possible)
}

pub(super) fn ready_6_a_half_closed_peer<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        theirs.shutdown(Shutdown::Write)?;
        let expected = Readiness::READ | Readiness::READ_CLOSED;
        event_after(case, &format!("a half-closed {name} socket"), &ours, expected)?;
        // It can still be written to, and nothing is wrong with it.
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
        // A TCP peer that has closed may still be written to, as far as our side knows.
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
        event_after(case, &format!("a {name} socket, shut down both ways"), &ours, expected)?;
    }
    Ok(())
}

pub(super) fn ready_6_a_reset_peer<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, theirs) = tcp_pair()?;
    reset(theirs)?;
    let expected = Readiness::READ | HINTS;
    event_after(case, "a TCP socket that was reset", &ours.into(), expected)
}

pub(super) fn ready_6_no_hint_where_nothing_happened<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        (&theirs).write_all(b"x")?;
        let mut selector = case.selector()?;
        case.did(format!("registered a healthy {name} socket with data"));
        let token = selector.register(&ours, BOTH, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("the hints", event.readiness() & HINTS, Readiness::empty())?;
        case.did("shut down its own sending half, which its peer has not answered");
        drain(&ours)?;
        ours.shutdown(Shutdown::Write)?;
        selector.modify(token, Interest::READ)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
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
    case.expect("HANGUP, by the capability", hung_up, selector.capabilities().hangup)
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

pub(super) fn ready_7_a_hang_up_wakes_who_waits_for_write<B: Backend>(
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
    // Where it is not declared, a kernel may tell or not: FreeBSD 12.3 does and 14 does not.
    let said: Vec<_> = selector.select(NOW)?.iter().map(Event::readiness).collect();
    let either = said.is_empty() || said == [Readiness::WRITE];
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
        case.expect("how much it reads", receive(&reader, &mut byte)?, 1)?;
        case.did("read the byte");
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("READ, for the end", event.is_readable(), true)?;
        case.expect("how much it reads then", receive(&reader, &mut byte)?, 0)?;
    }
    Ok(())
}

pub(super) fn ready_9_out_of_band_data_is_priority<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for interest in [Interest::PRIORITY, Interest::READ | Interest::PRIORITY] {
        let (ours, theirs) = tcp_pair()?;
        let mut selector = case.selector()?;
        case.did(format!("registered a TCP socket for {interest:?}"));
        let answer = selector.register(&ours, interest, ()).map_err(Into::into);
        let declared = selector.capabilities().priority;
        let Some(token) = case.declared_or_refused(declared, answer)? else { return Ok(()) };
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        case.did("sent it a byte out of band");
        out_of_band(&theirs)?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::PRIORITY)?;
    }
    let (ours, mut theirs) = tcp_pair()?;
    let mut selector = case.selector()?;
    case.did("registered a TCP socket for PRIORITY and sent it ordinary data");
    let token = selector.register(&ours, Interest::PRIORITY, ())?;
    theirs.write_all(b"x")?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    case.did("modified it to READ and PRIORITY");
    selector.modify(token, Interest::READ | Interest::PRIORITY)?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("its readiness", event.readiness(), Readiness::READ)
}

pub(super) fn ready_10_an_empty_datagram_is_read<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (udp, udp_peer) = udp_pair()?;
    let mut pairs: Vec<(&str, Stream, Stream)> = vec![("UDP", udp.into(), udp_peer.into())];
    if let Some((ours, theirs)) = if_any(unix_datagram_pair())? {
        pairs.push(("unix", ours.into(), theirs.into()));
    }
    for (name, ours, theirs) in pairs {
        let mut selector = case.selector()?;
        case.did(format!("sent an empty {name} datagram to a socket that is registered for READ"));
        let token = selector.register(&ours, Interest::READ, ())?;
        theirs.send(&[])?;
        let event = case.only(&selector.select(case.long())?, token)?;
        case.expect("its readiness", event.readiness(), Readiness::READ)?;
        case.expect("how much it receives", receive(&ours, &mut [0])?, 0)?;
    }
    Ok(())
}

/// A file that never blocks is ready for what is asked, each time.
fn always_ready<B: Backend>(case: &mut Case<'_, B>, name: &str, file: &impl AsSource) -> Outcome {
    let mut selector = case.counting()?;
    case.did(format!("registered {name} for READ"));
    let token = selector.register(file, Interest::READ, ())?;
    for interest in [Interest::READ, Interest::WRITE, BOTH] {
        case.did(format!("modified it to {interest:?}"));
        selector.modify(token, interest)?;
        for timeout in [NOW, case.long(), None] {
            let event = case.only(&selector.select(timeout)?, token)?;
            case.expect("its readiness", event.readiness(), Readiness::from(interest))?;
        }
    }
    case.did("unregistered it, and waited for 5 ms");
    selector.unregister(token)?;
    let before = selector.backend().calls().wait;
    case.expect_tokens(&selector.select(Some(Duration::from_millis(5)))?, &[])?;
    let waits = selector.backend().calls().wait - before;
    case.expect_that(waits <= 10, "at most 10 calls of the backend's wait", waits)?;
    case.did("registered it one-shot, and waited for 5 ms after it was reported");
    let token = selector.register_with(file, Interest::READ, (), Mode::OneShot)?;
    for _ in 0..2 {
        case.only(&selector.select(case.long())?, token)?;
        let before = selector.backend().calls().wait;
        case.expect_tokens(&selector.select(Some(Duration::from_millis(5)))?, &[])?;
        let waits = selector.backend().calls().wait - before;
        case.expect_that(waits <= 10, "at most 10 calls of the backend's wait", waits)?;
        selector.modify(token, Interest::READ)?;
    }
    case.only(&selector.select(case.long())?, token)?;
    selector.unregister(token)?;
    let capabilities = selector.capabilities();
    if capabilities.edge {
        let again = "an edge-triggered source is ready for good: it is to be reported once after \
                     it is registered, once after each modify, and not in between";
        case.did("registered it edge-triggered");
        let token = selector.register_with(file, Interest::READ, (), Mode::Edge)?;
        for interest in [Some(BOTH), Some(Interest::READ), None] {
            case.because(again, case.only(&selector.select(case.long())?, token))?;
            case.did("waited again, after it was reported");
            case.because(again, case.expect_tokens(&selector.select(NOW)?, &[]))?;
            if let Some(interest) = interest {
                case.did(format!("modified it to {interest:?}: it is to be reported once more"));
                selector.modify(token, interest)?;
            }
        }
        selector.unregister(token)?;
    }
    if capabilities.exclusive {
        case.did("registered it with exclusive wake-up");
        let token = selector.register_with(file, Interest::READ, (), Mode::Exclusive)?;
        for _ in 0..2 {
            case.only(&selector.select(case.long())?, token)?;
        }
    }
    Ok(())
}

pub(super) fn ready_11_a_regular_file_is_always_ready<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let mut file = regular_file()?;
    always_ready(case, "a regular file", &file)?;
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    always_ready(case, "a regular file that is at its end", &file)
}

pub(super) fn ready_11_a_directory_is_always_ready<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    always_ready(case, "a directory", &directory()?)
}

pub(super) fn ready_11_the_null_device_is_always_ready<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    always_ready(case, "/dev/null", &null_device()?)
}

pub(super) fn ready_11_files_go_with_other_sources<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let files = [regular_file()?, regular_file()?, regular_file()?];
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    case.did("registered three regular files and an idle socket");
    let mut expected = Vec::new();
    for file in &files {
        expected.push(selector.register(borrow(file), Interest::READ, ())?);
    }
    let socket = selector.register(borrow(&ours), Interest::READ, ())?;
    case.expect_tokens(&selector.select(case.long())?, &expected)?;
    case.did("made the socket ready, and unregistered the first file");
    theirs.write_all(b"x")?;
    selector.unregister(expected.remove(0))?;
    expected.push(socket);
    case.expect_tokens(&selector.select(case.long())?, &expected)?;
    case.did("unregistered the others, and read the socket");
    for token in expected.drain(..2) {
        selector.unregister(token)?;
    }
    case.only(&selector.select(case.long())?, socket)?;
    drain(&ours)?;
    case.expect_tokens(&selector.select(NOW)?, &[])
}

pub(super) fn ready_12_a_terminal_behaves_as_with_poll<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (controller, terminal) = match terminal() {
        Ok(ends) => ends,
        Err(error) => return Err(case.cannot_run(format!("no pseudo-terminal: {error}"))),
    };
    let mut selector = case.selector()?;
    case.did("registered a terminal for READ and WRITE");
    let token = selector.register(&terminal, BOTH, ())?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("its readiness", event.readiness(), Readiness::WRITE)?;
    case.did("modified it to READ, and typed");
    selector.modify(token, Interest::READ)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    send(&controller, b"typed")?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("its readiness", event.readiness(), Readiness::READ)?;
    case.did("read what was typed, and closed the controlling end");
    drain(&terminal)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    drop(controller);
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("READ", event.is_readable(), true)
}

pub(super) fn ready_12_a_fifo_behaves_as_a_pipe<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let fifo = fifo()?;
    let mut selector = case.selector()?;
    case.did("registered both ends of a fifo");
    let reader = selector.register(&fifo.reader, Interest::READ, ())?;
    let writer = selector.register(&fifo.writer, Interest::WRITE, ())?;
    case.only(&selector.select(case.long())?, writer)?;
    case.did("filled it");
    fill(&fifo.writer)?;
    case.only(&selector.select(case.long())?, reader)?;
    case.did("drained it");
    drain(&fifo.reader)?;
    case.only(&selector.select(case.long())?, writer).map(drop)
}

pub(super) fn ready_13_a_selector_can_be_watched<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut inner = case.selector()?;
    let mut outer = case.selector()?;
    let nesting = inner.capabilities().nesting;
    let own = inner.backend().descriptor().map(|own| duplicate(&own)).transpose()?;
    case.expect("whether there is a descriptor, by the capability", own.is_some(), nesting)?;
    let Some(own) = own else { return Ok(()) };
    case.did("registered a selector with another, and an idle socket with the first");
    let token = outer.register(own, Interest::READ, ())?;
    let source = inner.register(borrow(&ours), Interest::READ, ())?;
    make_deferred(&mut inner)?;
    case.expect_tokens(&outer.select(NOW)?, &[])?;
    case.did("made the socket ready");
    theirs.write_all(b"x")?;
    case.only(&outer.select(case.long())?, token)?;
    case.only(&inner.select(case.long())?, source)?;
    drain(&ours)?;
    case.expect_tokens(&inner.select(NOW)?, &[])?;
    case.expect_tokens(&outer.select(NOW)?, &[])?;
    case.did("registered a regular file with the inner one");
    let file = regular_file()?;
    let file_token = inner.register(borrow(&file), Interest::READ, ())?;
    make_deferred(&mut inner)?;
    case.only(&outer.select(case.long())?, token)?;
    case.only(&inner.select(case.long())?, file_token)?;
    case.did("unregistered it");
    inner.unregister(file_token)?;
    make_deferred(&mut inner)?;
    case.expect_tokens(&outer.select(NOW)?, &[])?;
    if inner.capabilities().waker {
        let waker = inner.waker()?;
        case.expect_tokens(&outer.select(NOW)?, &[])?;
        case.did("woke the inner one");
        waker.wake()?;
        case.only(&outer.select(case.long())?, token)?;
        case.expect("whether the inner one was woken", inner.select(NOW)?.woken(), true)?;
        case.expect_tokens(&outer.select(NOW)?, &[])?;
    }
    Ok(())
}

/// Has the kernel hear of what was deferred, which a selector that watches this one goes by.
fn make_deferred<F, T, B: Backend>(inner: &mut Subject<F, T, B>) -> Outcome {
    if inner.capabilities().deferred {
        inner.select(NOW)?;
    }
    Ok(())
}

pub(super) fn ready_4_the_backend_tells_errors_as_they_are<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, theirs) = tcp_pair()?;
    reset(theirs)?;
    let mut backend = case.backend()?;
    let capabilities = backend.capabilities();
    let watch = Watch::new(Interest::READ, Mode::Level);
    let token = Token::from_bits(5);
    case.did("registered a socket that was reset with the backend, and waited");
    backend.register(borrow(&ours), token, watch)?;
    let mut events = Events::new();
    backend.wait(&mut events, case.long())?;
    let said = events.iter().filter(|event| event.token() == token);
    let said = said.map(Event::readiness).fold(Readiness::empty(), |all, one| all | one);
    let error = said.contains(Readiness::ERROR);
    case.expect_that(said.intersects(Readiness::READ | HINTS), "a reason to wake", said)?;
    case.expect_that(!error || capabilities.error, "ERROR only where it is declared", said)?;
    backend.unregister(number_of(&ours), token, watch)?;
    Ok(())
}
