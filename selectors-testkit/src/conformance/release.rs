//! REG-9, REG-12, REG-13: resources that the kernel, the process and its children must no longer hold.

use std::io::{ErrorKind, Read, Write};

use selectors::{Backend, Interest, Mode};

use super::stale_readiness::modes;
use super::streams::byte_pairs;
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{
    OwnedSource, PairStream, borrow, drain, duplicate, flags, if_any, inheritable_descriptors,
    is_close_on_exec, is_ready, open_descriptors, pair, pipe, receive, regular_file, send,
};

const HELD: &str = "the kernel, or a duplicate that the backend made, refers to the open file: \
    cancel pending requests, and wait until they have ended, before `unregister` returns";

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
                // The reader of a pipe is registered; its writer sees the close as an error.
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
                case.did("dropped the returned file object");
                drop(selector.unregister(token)?);
                if name == "pipe" {
                    let answer = send(&theirs, b"x").map_err(|error| error.kind());
                    case.expect_or(
                        HELD,
                        answer == Err(ErrorKind::BrokenPipe),
                        "BrokenPipe for the writer of the pipe",
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

pub(super) fn reg_9_flags_do_not_change<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
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

/// Occupies the free numbers, so that closing a number twice closes one of these.
struct Canaries(Vec<OwnedSource>);

impl Canaries {
    fn new(like: &impl selectors::backend::AsSource, many: usize) -> std::io::Result<Self> {
        Ok(Self((0..many).map(|_| duplicate(like)).collect::<Result<_, _>>()?))
    }

    /// The number of those that were closed. They are forgotten, because their numbers may have
    /// been reused.
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
    case.expect("the number of files that it closed", canaries.gone(), 0)
}

pub(super) fn reg_12_closing_returns_everything<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let mut selector = case.selector()?;
    let mut peers = Vec::new();
    case.did(
        "registered five sockets, unregistered one, parked one, let one fire, closed the selector",
    );
    let mut tokens = Vec::new();
    for number in 0..5 {
        let (ours, theirs) = pair()?;
        tokens.push(selector.register(ours, Interest::READ, number)?);
        peers.push(theirs);
    }
    selector.unregister(tokens[2])?;
    selector.modify(tokens[3], Interest::empty())?;
    selector.modify_with(tokens[4], Interest::WRITE, Mode::OneShot)?;
    case.only(&selector.select(case.long())?, tokens[4])?;
    let mut back: Vec<(PairStream, i32)> = selector.close();
    back.sort_by_key(|(_, number)| *number);
    let numbers: Vec<_> = back.iter().map(|(_, number)| *number).collect();
    case.expect("the returned data", numbers, vec![0, 1, 3, 4])?;
    for (ours, number) in &mut back {
        ours.write_all(b"x")?;
        let index = usize::try_from(*number).unwrap_or(0);
        let mut byte = [0];
        peers[index].read_exact(&mut byte)?;
    }
    Ok(())
}

pub(super) fn reg_12_dropping_closes_everything<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    case.did("registered a socket, waited without blocking, and dropped the selector");
    selector.register(ours, Interest::READ, ())?;
    selector.select(NOW)?;
    drop(selector);
    // A program that another thread has just started may hold a copy for a moment.
    let mut witness = case.selector()?;
    witness.register(theirs.try_clone()?, Interest::READ, ())?;
    case.expect("the number of events at the peer", witness.select(case.long())?.len(), 1)?;
    let end = theirs.read(&mut [0]).map_err(|error| error.kind());
    case.expect("what the peer reads", end, Ok::<_, ErrorKind>(0))
}

const ROUNDS: usize = 200;

pub(super) fn reg_12_no_descriptor_is_leaked<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (ours, _theirs) = pair()?;
    let file = if_any(regular_file())?;
    case.did(format!("created, used, and dropped or closed {ROUNDS} selectors with a waker"));
    let before = open_descriptors();
    for round in 0..ROUNDS {
        let mut selector = case.selector()?;
        selector.register(borrow(&ours), Interest::WRITE, ())?;
        if let Some(file) = &file {
            let file = selector.register(borrow(file), Interest::READ, ())?;
            selector.select(NOW)?;
            selector.unregister(file)?;
        }
        let _waker = selector.waker();
        selector.select(NOW)?;
        if round % 2 == 0 {
            selector.close();
        }
    }
    case.expect_descriptors(before, ROUNDS)
}

pub(super) fn reg_13_descriptors_are_close_on_exec<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let mut leaked = Vec::new();
    case.did("created a selector with a waker, a regular file and a socket");
    // Threads of other tests may have such a descriptor for a moment: only descriptors that are
    // present every time count.
    for _ in 0..5 {
        let before = inheritable_descriptors();
        let (ours, _theirs) = pair()?;
        let mut selector = case.selector()?;
        let _waker = selector.waker();
        selector.register(OwnedSource::from(ours), Interest::READ, ())?;
        if let Some(file) = if_any(regular_file())? {
            selector.register(duplicate(&file)?, Interest::READ, ())?;
        }
        let pipe = if_any(pipe())?;
        if let Some((reader, _)) = &pipe {
            selector.register(duplicate(reader)?, Interest::READ, ())?;
        }
        selector.select(NOW)?;
        if let Some(own) = selector.backend().descriptor() {
            case.expect("whether its descriptor is close-on-exec", is_close_on_exec(own)?, true)?;
        }
        let after = inheritable_descriptors();
        leaked = after.into_iter().filter(|fd| !before.contains(fd)).collect();
        if leaked.is_empty() {
            return Ok(());
        }
    }
    case.expect("the descriptors that another program would inherit", leaked, Vec::new())
}
