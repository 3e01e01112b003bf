//! READY-9 to READY-13: kinds of sources.

use std::io::{Read, Write};
use std::time::Duration;

use selectors::backend::AsSource;
use selectors::{Backend, Interest, Mode, Readiness};

use super::streams::Stream;
use super::{BOTH, Case, NOW, Outcome, Subject};
use crate::fixtures::{
    borrow, directory, drain, duplicate, fifo, fill, if_any, null_device, out_of_band, pair,
    receive, regular_file, send, tcp_pair, terminal, udp_pair, unix_datagram_pair,
};

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
        case.expect("the number of bytes received", receive(&ours, &mut [0])?, 0)?;
    }
    Ok(())
}

/// Checks that a file that never blocks is ready for its whole interest, in every wait.
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
        let again = "an edge-triggered source that is always ready must be reported once after it \
            was registered, once after each modify, and not in between";
        case.did("registered it edge-triggered");
        let token = selector.register_with(file, Interest::READ, (), Mode::Edge)?;
        for interest in [Some(BOTH), Some(Interest::READ), None] {
            case.because(again, case.only(&selector.select(case.long())?, token))?;
            case.did("waited again, after it was reported");
            case.because(again, case.expect_tokens(&selector.select(NOW)?, &[]))?;
            if let Some(interest) = interest {
                case.did(format!("modified it to {interest:?}, after which it is reported again"));
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

pub(super) fn ready_11_files_beside_other_sources<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
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
    case.did("modified it to READ, and sent input");
    selector.modify(token, Interest::READ)?;
    case.expect_tokens(&selector.select(NOW)?, &[])?;
    send(&controller, b"typed")?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("its readiness", event.readiness(), Readiness::READ)?;
    case.did("read the input, and closed the controlling end");
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
        if inner.backend().changer()?.is_none() {
            // The next wait registers its channel.
            inner.select(NOW)?;
        }
        case.expect_tokens(&outer.select(NOW)?, &[])?;
        case.did("woke the inner selector");
        waker.wake()?;
        case.only(&outer.select(case.long())?, token)?;
        case.expect("whether the inner selector was woken", inner.select(NOW)?.woken(), true)?;
        case.expect_tokens(&outer.select(NOW)?, &[])?;
    }
    Ok(())
}

/// Applies deferred changes, before which a selector that watches this one sees the old state.
fn make_deferred<F, T, B: Backend>(inner: &mut Subject<F, T, B>) -> Outcome {
    if inner.capabilities().deferred {
        inner.select(NOW)?;
    }
    Ok(())
}
