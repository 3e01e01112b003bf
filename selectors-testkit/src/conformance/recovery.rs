//! READY-1: sources that recover from an end-of-file or an error.

use std::net::UdpSocket;

use selectors::{Backend, Interest, Mode, Readiness};

use super::readiness::HINTS;
use super::{Case, NOW, Outcome};
use crate::fixtures::{drain, fifo, is_ready, send};

const READ: Interest = Interest::READ;

const STALE: &str = "a source that hung up or failed once is no longer watched, or its old state is reported \
                        again";

pub(super) fn ready_1_a_pipe_gets_another_writer<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for mode in [Mode::Level, Mode::OneShot] {
        let mut fifo = fifo()?;
        let mut selector = case.selector()?;
        let token = selector.register_with(fifo.reader.try_clone()?, READ, (), mode)?;
        for _ in 0..2 {
            case.did(format!(
                "closed the writing end of a fifo that is watched for READ, {mode:?}"
            ));
            fifo.close_writer()?;
            case.only(&selector.select(case.long())?, token)?;
            case.did("opened it for writing again");
            fifo.open_writer()?;
            selector.rearm(token)?;
            let silent = case.expect_tokens(&selector.select(NOW)?, &[]);
            case.because(STALE, silent)?;
            case.did("wrote to it");
            send(&fifo.writer, b"x")?;
            let event = case.because(STALE, case.only(&selector.select(case.long())?, token))?;
            let expected = Readiness::READ;
            case.because(STALE, case.expect("its readiness", event.readiness(), expected))?;
            drain(&fifo.reader)?;
            selector.rearm(token)?;
            case.expect_tokens(&selector.select(NOW)?, &[])?;
        }
    }
    Ok(())
}

pub(super) fn ready_1_a_datagram_socket_recovers<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let gone = UdpSocket::bind("127.0.0.1:0")?;
    let address = gone.local_addr()?;
    let ours = UdpSocket::bind("127.0.0.1:0")?;
    ours.set_nonblocking(true)?;
    ours.connect(address)?;
    let mut selector = case.selector()?;
    let token = selector.register(&ours, READ, ())?;
    let mut peer = gone;
    for _ in 0..2 {
        case.did("sent a datagram to a closed port");
        drop(peer);
        ours.send(b"x")?;
        if !is_ready(&ours, READ, 1_000)? {
            return Err(case.cannot_run(
                "this system does not report the closed port of its peer to a datagram socket",
            ));
        }
        case.only(&selector.select(case.long())?, token)?;
        case.did("read SO_ERROR");
        ours.take_error()?;
        case.because(STALE, case.expect_tokens(&selector.select(NOW)?, &[]))?;
        case.did("opened the port again, and sent a datagram from it");
        peer = match UdpSocket::bind(address) {
            Ok(peer) => peer,
            Err(error) => return Err(case.cannot_run(format!("the port was taken: {error}"))),
        };
        peer.send_to(b"x", ours.local_addr()?)?;
        let event = case.because(STALE, case.only(&selector.select(case.long())?, token))?;
        let hints = event.readiness() & HINTS;
        case.because(STALE, case.expect("its hints", hints, Readiness::empty()))?;
        drain(&ours)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    Ok(())
}
