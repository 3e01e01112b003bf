//! READY-1 to READY-4: which readiness is reported.

use std::io::{self, Write};
use std::time::Duration;

use selectors::{Backend, Event, Events, Interest, Mode, Readiness, Token, Watch};

use super::stale_readiness::modes;
use super::streams::{PATIENTLY, all_pairs, byte_pairs, stream_pairs};
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{
    OwnedSource, borrow, connecting, drain, duplicate, fifo, fill, if_any, is_ready, number_of,
    pair, reset, send, tcp_pair,
};

pub(super) const HINTS: Readiness =
    Readiness::READ_CLOSED.union(Readiness::HANGUP).union(Readiness::ERROR);

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

pub(super) fn ready_2_space_is_write_and_a_full_buffer_is_not<B: Backend>(
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

/// Amounts of unread data: more than 8, 15 and 16 bits can count, if the buffer is large enough.
const AMOUNTS: [usize; 8] = [1, 127, 256, 4_096, 32_768, 65_535, 65_536, 100_000];

pub(super) fn ready_2_any_amount_of_unread_data<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for (name, reader, writer) in byte_pairs()? {
        let mut selector = case.selector()?;
        let token = selector.register(&reader, Interest::READ, ())?;
        for amount in AMOUNTS {
            let (bytes, mut sent) = (vec![b'x'; amount], 0);
            // As much as fits.
            while sent < amount && is_ready(&writer, Interest::WRITE, 0)? {
                sent += send(&writer, &bytes[sent..])?;
            }
            case.did(format!("sent {sent} bytes to a {name}"));
            for _ in 0..2 {
                let event = case.only(&selector.select(case.long())?, token)?;
                case.expect("its readiness", event.readiness(), Readiness::READ)?;
            }
            let mut left = sent;
            while left > 0 {
                is_ready(&reader, Interest::READ, PATIENTLY)?;
                left = left.saturating_sub(drain(&reader)?);
            }
            case.expect_tokens(&selector.select(NOW)?, &[])?;
        }
    }
    Ok(())
}

/// Fills a buffer, and selects. TCP sends bytes to the peer at any time, so this is repeated until
/// the buffer was full during the whole wait.
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

/// Drains until there is space: bytes in TCP's other buffer follow later.
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
            let arrived = is_ready(&ours, Interest::READ, PATIENTLY)?;
            case.expect("whether the byte arrived", arrived, true)?;
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

pub(super) fn ready_4_only_the_interest_is_reported<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
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

const READ_AND_PRIORITY: Interest = Interest::READ.union(Interest::PRIORITY);

pub(super) fn ready_4_an_error_wakes_every_interest<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let capabilities = case.backend()?.capabilities();
    let mut interests = vec![Interest::READ, Interest::WRITE, BOTH];
    if capabilities.priority && capabilities.error {
        interests.extend([Interest::PRIORITY, READ_AND_PRIORITY, BOTH | Interest::PRIORITY]);
    }
    let modes = modes(case)?;
    for (interest, &mode) in
        interests.iter().flat_map(|it| modes.iter().map(move |mode| (*it, mode)))
    {
        if mode == Mode::Exclusive && interest.contains(Interest::PRIORITY) {
            continue;
        }
        let (ours, theirs) = tcp_pair()?;
        reset(theirs)?;
        // WRITE is true even before the reset has arrived.
        case.expect(
            "whether the reset arrived",
            is_ready(&ours, Interest::READ, PATIENTLY)?,
            true,
        )?;
        let mut selector = case.selector()?;
        case.did(format!("registered a TCP socket that was reset for {interest:?}, {mode:?}"));
        let token = selector.register_with(ours, interest, (), mode)?;
        let event = case.only(&selector.select(case.long())?, token)?;
        let asked = event.readiness() - HINTS;
        // PRIORITY only if there is nothing else to wake.
        let woken = if interest == Interest::PRIORITY { interest } else { interest & BOTH };
        case.expect("the interest", asked & Readiness::from(woken), Readiness::from(woken))?;
    }
    let mut interests = vec![Interest::READ, Interest::WRITE, BOTH];
    if capabilities.priority {
        interests.push(READ_AND_PRIORITY);
    }
    for interest in interests {
        let (ours, theirs) = pair()?;
        drop(theirs);
        let mut selector = case.selector()?;
        case.did(format!("registered a unix socket whose peer is closed for {interest:?}"));
        let token = selector.register(ours, interest, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        let asked = event.readiness() - HINTS;
        case.expect("the interest", asked, Readiness::from(interest & BOTH))?;
    }
    Ok(())
}

pub(super) fn ready_4_the_backend_reports_errors<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
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
    let reported = events.iter().filter(|event| event.token() == token);
    let reported = reported.map(Event::readiness).fold(Readiness::empty(), |all, one| all | one);
    let error = reported.contains(Readiness::ERROR);
    case.expect_that(
        reported.intersects(Readiness::READ | HINTS),
        "a reason to end the wait",
        reported,
    )?;
    case.expect_that(!error || capabilities.error, "ERROR only if it is declared", reported)?;
    backend.unregister(number_of(&ours), token, watch)?;
    Ok(())
}
