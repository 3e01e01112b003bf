//! READY-4, READY-12: a file of each kind, compared with poll(2).

use std::net::UdpSocket;
use std::time::Duration;

use selectors::{Backend, Interest, Mode, Readiness};

use super::streams::{REQUESTABLE, truth};
use super::{Case, NOW, Outcome};
use crate::fixtures::{Kind, borrow, every_kind, is_ready};

pub(super) fn ready_4_an_error_of_a_datagram_socket_wakes<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    // Somewhere to send to where nobody is.
    let gone = UdpSocket::bind("127.0.0.1:0")?;
    let ours = UdpSocket::bind("127.0.0.1:0")?;
    ours.set_nonblocking(true)?;
    ours.connect(gone.local_addr()?)?;
    drop(gone);
    case.did("sent a datagram to a port that nobody listens at");
    ours.send(b"x")?;
    if !is_ready(&ours, Interest::READ, 1_000)? {
        return Err(case.cannot_run("this system does not tell a socket that its peer is gone"));
    }
    for interest in [Interest::READ, Interest::READ | Interest::WRITE] {
        case.did(format!("registered the socket for {interest:?}"));
        let mut selector = case.selector()?;
        let token = selector.register(&ours, interest, ())?;
        let event = case.only(&selector.select(case.long())?, token)?;
        let what = "READ, for whoever waits for it";
        case.expect_that(event.is_readable(), what, event.readiness())?;
    }
    Ok(())
}

pub(super) fn ready_12_every_kind_of_file_behaves_as_with_poll<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for Kind { name, source, .. } in every_kind()? {
        for interest in [Interest::READ, Interest::WRITE, Interest::READ | Interest::WRITE] {
            let truth = truth(interest, |one| is_ready(&source, one, 0))?;
            case.did(format!("registered {name} for {interest:?}; poll(2) says {truth:?}"));
            let mut selector = case.selector()?;
            for mode in [Mode::Level, Mode::OneShot] {
                let token = selector.register_with(borrow(&source), interest, (), mode)?;
                let timeout = if truth.is_empty() { Some(Duration::from_micros(50)) } else { NOW };
                let events = selector.select(timeout)?;
                let seen = events.iter().fold(Readiness::empty(), |all, e| all | e.readiness());
                case.expect(&format!("the readiness of {name}"), seen & REQUESTABLE, truth)?;
                selector.unregister(token)?;
            }
        }
    }
    Ok(())
}
