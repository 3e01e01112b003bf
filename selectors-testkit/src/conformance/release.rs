//! REG-9, REG-12: what the kernel, and what the process, still holds.

use std::io::ErrorKind;
use std::time::Duration;

use selectors::backend::BorrowedSource;
use selectors::{Backend, Interest, Mode, Token, Watch};

use super::as_of_now::modes;
use super::streams::byte_pairs;
use super::{Case, NOW, Outcome};
use crate::fixtures::{
    LooseDescriptor, OwnedSource, borrow, drain, duplicate, flags, if_any, is_ready,
    open_descriptors, pair, pipe, receive, regular_file, send, with_raw,
};

const BOTH: Interest = Interest::READ.union(Interest::WRITE);

const HELD: &str = "the kernel, or a duplicate that the backend made, keeps the open file: a request \
                    that is under way has to be cancelled, and its end awaited, before `unregister` \
                    returns";

pub(super) fn reg_9_its_peer_sees_the_end_at_once<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let patience =
        case.long().map_or(u16::MAX, |long| u16::try_from(long.as_millis()).unwrap_or(u16::MAX));
    let other = |interest| if interest == BOTH { Interest::READ } else { BOTH };
    for mode in modes(case)? {
        for what in [
            "at once",
            "after a wait",
            "right after it was modified",
            "after it was modified",
            "after it was reported",
        ] {
            for (name, ours, theirs) in byte_pairs()? {
                let mut selector = case.selector()?;
                case.did(format!("registered a {name} ({mode:?}), and unregistered it {what}"));
                // A pipe's reader that is registered; its writer sees the end as an error.
                let token = selector.register_with(ours, Interest::READ, (), mode)?;
                match what {
                    "after a wait" => drop(selector.select(NOW)?),
                    "right after it was modified" => {
                        selector.select(NOW)?;
                        selector.modify(token, other(Interest::READ))?;
                    }
                    "after it was modified" => {
                        selector.select(NOW)?;
                        selector.modify(token, other(Interest::READ))?;
                        selector.modify(token, Interest::READ)?;
                        selector.select(NOW)?;
                    }
                    "after it was reported" => {
                        send(&theirs, b"x")?;
                        case.only(&selector.select(case.long())?, token)?;
                        if let Some(key) = selector.get(token) {
                            drain(key.fileobj)?;
                        }
                    }
                    _ => {}
                }
                case.did("dropped what came back");
                drop(selector.unregister(token)?);
                if name == "pipe" {
                    let answer = send(&theirs, b"x").map_err(|error| error.kind());
                    case.expect_or(
                        HELD,
                        answer == Err(ErrorKind::BrokenPipe),
                        "BrokenPipe for who writes into the pipe",
                        answer,
                    )?;
                    continue;
                }
                let ready = is_ready(&theirs, Interest::READ, patience)?;
                case.expect_or(HELD, ready, "the peer to become readable", ready)?;
                let end = receive(&theirs, &mut [0]).map_err(|error| error.kind());
                case.expect_or(HELD, end == Ok(0), "the peer to read an end-of-file", end)?;
            }
        }
    }
    Ok(())
}

pub(super) fn reg_9_flags_are_as_they_were<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    for blocking in [true, false] {
        for mode in modes(case)? {
            let (ours, theirs) = pair()?;
            ours.set_nonblocking(!blocking)?;
            let before = flags(&ours)?;
            let mut selector = case.selector()?;
            case.did(format!("registered a socket, {mode:?}, non-blocking: {}", !blocking));
            let token = selector.register_with(&ours, BOTH, (), mode)?;
            case.expect("its flags", flags(&ours)?, before)?;
            send(&theirs, b"x")?;
            case.only(&selector.select(case.long())?, token)?;
            selector.modify(token, Interest::READ)?;
            case.expect("its flags after a wait and a modify", flags(&ours)?, before)?;
            selector.unregister(token)?;
            case.expect("its flags after it was unregistered", flags(&ours)?, before)?;
            drop(selector);
            case.expect("its flags after the selector was dropped", flags(&ours)?, before)?;
        }
    }
    Ok(())
}

/// How often each is done: threads of other tests open some meanwhile.
const TIMES: usize = 120;

pub(super) fn reg_12_no_call_leaks<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (ours, _theirs) = pair()?;
    let (alive, peer) = pair()?;
    let file = if_any(regular_file())?;
    let mut selector = case.selector::<BorrowedSource<'_>, ()>()?;
    let number = crate::fixtures::closed_number()?;
    for what in ["refused calls", "modifications", "timed waits", "files", "ghosts"] {
        case.did(format!("made {TIMES} {what}"));
        let before = open_descriptors();
        for _ in 0..TIMES {
            match what {
                "refused calls" => {
                    // Accepted where changes are deferred.
                    let answer = with_raw(number, |fd| selector.register(fd, BOTH, ()));
                    if let Ok(token) = answer {
                        selector.select(NOW)?;
                        selector.unregister(token)?;
                    }
                    let mut backend = case.backend()?;
                    let watch = Watch::new(Interest::PRIORITY, Mode::Exclusive);
                    let token = Token::from_bits(1);
                    if backend.register(borrow(&ours), token, watch).is_ok() {
                        backend.unregister(crate::fixtures::number_of(&ours), token, watch)?;
                    }
                }
                "modifications" => {
                    let token = selector.register(borrow(&ours), Interest::READ, ())?;
                    selector.modify(token, BOTH)?;
                    selector.select(NOW)?;
                    selector.modify_with(token, Interest::WRITE, Mode::OneShot)?;
                    selector.select(NOW)?;
                    selector.unregister(token)?;
                }
                "timed waits" => drop(selector.select(Some(Duration::from_micros(200)))?),
                "files" => {
                    if let Some(file) = &file {
                        let mode = Mode::OneShot;
                        let token = selector.register_with(borrow(file), BOTH, (), mode)?;
                        selector.select(NOW)?;
                        selector.modify(token, BOTH)?;
                        selector.select(NOW)?;
                        selector.unregister(token)?;
                    }
                }
                _ => {
                    let loose = LooseDescriptor::duplicate(&alive)?;
                    let token = selector.register(loose.borrow(), Interest::READ, ())?;
                    selector.select(NOW)?;
                    loose.close()?;
                    selector.unregister(token)?;
                    send(&peer, b"x")?;
                    selector.select(NOW)?;
                    drain(&alive)?;
                }
            }
        }
        let more = open_descriptors().saturating_sub(before);
        case.expect_that(more < TIMES / 2, "about as many open descriptors as before", more)?;
    }
    Ok(())
}

/// Occupies the numbers that are free, so that who closes a number twice closes one of these.
struct Canaries(Vec<OwnedSource>);

impl Canaries {
    fn new(like: &impl selectors::backend::AsSource, many: usize) -> std::io::Result<Self> {
        Ok(Self((0..many).map(|_| duplicate(like)).collect::<Result<_, _>>()?))
    }

    /// How many are gone, which are forgotten: their numbers may be others' by now.
    fn gone(self) -> usize {
        let is_gone = |canary: &OwnedSource| flags(canary).is_err();
        let (gone, alive): (Vec<_>, Vec<_>) = self.0.into_iter().partition(is_gone);
        drop(alive);
        let count = gone.len();
        gone.into_iter().for_each(std::mem::forget);
        count
    }
}

pub(super) fn reg_12_nothing_is_closed_twice<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (like, _peer) = pair()?;
    let mut selector = case.selector()?;
    case.did("used a selector with a waker, a socket, a pipe and a file");
    let _waker = selector.waker();
    let (ours, _theirs) = pair()?;
    let mut tokens = vec![selector.register(OwnedSource::from(ours), BOTH, ())?];
    let pipe = if_any(pipe())?;
    if let Some((reader, _)) = &pipe {
        tokens.push(selector.register(duplicate(reader)?, Interest::READ, ())?);
    }
    if let Some(file) = if_any(regular_file())? {
        tokens.push(selector.register(duplicate(&file)?, Interest::READ, ())?);
    }
    selector.select(NOW)?;
    case.did("unregistered all, put other files into the free numbers, and dropped the selector");
    for token in tokens {
        selector.modify(token, BOTH)?;
        selector.unregister(token)?;
    }
    let canaries = Canaries::new(&like, 48)?;
    selector.select(NOW)?;
    drop(selector);
    case.expect("the number of those that it closed", canaries.gone(), 0)
}
