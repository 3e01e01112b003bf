//! MOD: changing the interest of a source.

use std::io::Write;

use selectors::{Backend, Error, Events, Interest, Mode, Readiness, Token, Watch};

use super::streams::stream_pairs;
use super::{BOTH, Case, NOW, Outcome};
use crate::fixtures::{LooseDescriptor, borrow, number_of, pair, regular_file};

pub(super) fn mod_1_the_next_select_uses_the_new_interest<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    for (name, ours, theirs) in stream_pairs()? {
        let mut selector = case.selector()?;
        case.did(format!("registered a readable and writable {name} socket for READ"));
        (&theirs).write_all(b"x")?;
        let token = selector.register(ours, Interest::READ, ())?;
        for interest in [Interest::READ, Interest::WRITE, BOTH, Interest::READ, Interest::WRITE] {
            case.did(format!("modified it to {interest:?}"));
            selector.modify(token, interest)?;
            let event = case.only(&selector.select(case.long())?, token)?;
            case.expect("its readiness", event.readiness(), Readiness::from(interest))?;
        }
        case.did("modified it to READ, with nothing left to read");
        selector.modify(token, Interest::READ)?;
        if let Some(key) = selector.get(token) {
            crate::fixtures::drain(key.fileobj)?;
        }
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    Ok(())
}

pub(super) fn mod_1_the_backend_does_not_add_to_the_old_interest<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let fd = number_of(&ours);
    let mut backend = case.backend()?;
    let token = Token::from_bits(7);
    let watch = |interest| Watch::new(interest, Mode::Level);
    case.did("registered an idle socket with the backend for READ and WRITE, then only READ");
    backend.register(borrow(&ours), token, watch(BOTH))?;
    backend.modify(fd, token, watch(BOTH), watch(Interest::READ))?;
    let mut events = Events::new();
    backend.wait(&mut events, NOW)?;
    case.expect_tokens(&events, &[])?;
    case.did("made it readable and changed it to WRITE");
    theirs.write_all(b"x")?;
    backend.modify(fd, token, watch(Interest::READ), watch(Interest::WRITE))?;
    backend.wait(&mut events, case.long())?;
    let event = case.only(&events, token)?;
    case.expect("READ in the raw readiness", event.is_readable(), false)
}

pub(super) fn mod_1_the_last_change_before_a_wait_counts<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    theirs.write_all(b"x")?;
    let mut selector = case.selector()?;
    case.did("registered a readable and writable socket for READ, and changed it at once");
    let token = selector.register(ours, Interest::READ, ())?;
    for changes in [
        &[BOTH, Interest::WRITE][..],
        &[BOTH, Interest::WRITE],
        &[Interest::READ, BOTH, Interest::READ],
        &[BOTH],
        &[Interest::READ, BOTH],
    ] {
        let mut last = BOTH;
        for &interest in changes {
            case.did(format!("modified it to {interest:?}"));
            selector.modify(token, interest)?;
            last = interest;
        }
        for _ in 0..2 {
            let event = case.only(&selector.select(case.long())?, token)?;
            case.expect("its readiness", event.readiness(), Readiness::from(last))?;
        }
    }
    Ok(())
}

pub(super) fn mod_2_changing_the_data_makes_no_call<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut selector = case.counting()?;
    let token = selector.register(ours, Interest::READ, 1)?;
    case.did("changed the data through get_mut");
    let before = selector.backend().calls();
    if let Some(key) = selector.get_mut(token) {
        *key.data = 2;
    }
    case.expect("the data", selector.get(token).map(|key| *key.data), Some(2))?;
    case.expect("the backend's calls", selector.backend().calls(), before)
}

pub(super) fn mod_3_no_change_makes_no_call<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.counting()?;
    let token = selector.register(ours, Interest::READ, ())?;
    theirs.write_all(b"x")?;
    selector.select(case.long())?;
    case.did("modified a source to its current interest and mode");
    let before = selector.backend().calls();
    selector.modify(token, Interest::READ)?;
    selector.modify_with(token, Interest::READ, Mode::Level)?;
    case.expect("the backend's calls", selector.backend().calls(), before)
}

/// The usual cause if a one-shot source is reported a second time.
const STILL_ARMED: &str = "a one-shot source that was reported is not disarmed";

pub(super) fn mod_3_modify_rearms_a_fired_one_shot<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.counting()?;
    case.did("registered a one-shot source, and modified it to the same before it fired");
    let token = selector.register_with(ours, Interest::READ, (), Mode::OneShot)?;
    selector.modify(token, Interest::READ)?;
    case.expect("calls of the backend's modify", selector.backend().calls().modify, 0)?;
    theirs.write_all(b"x")?;
    for _ in 0..3 {
        case.only(&selector.select(case.long())?, token)?;
        case.because(STILL_ARMED, case.expect_tokens(&selector.select(NOW)?, &[]))?;
        case.did("modified it to the same after it had fired");
        selector.modify(token, Interest::READ)?;
    }
    Ok(())
}

pub(super) fn mod_3_changing_the_mode_and_back_rearms_a_one_shot<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    let token = selector.register_with(ours, Interest::READ, (), Mode::OneShot)?;
    theirs.write_all(b"x")?;
    for mode in [Mode::OneShot, Mode::Level] {
        case.only(&selector.select(case.long())?, token)?;
        case.because(STILL_ARMED, case.expect_tokens(&selector.select(NOW)?, &[]))?;
        case.did(format!("a one-shot source has fired: modified it to {mode:?}, and back"));
        selector.modify_with(token, BOTH, mode)?;
        selector.modify_with(token, Interest::READ, Mode::OneShot)?;
    }
    case.only(&selector.select(case.long())?, token).map(drop)
}

pub(super) fn mod_4_a_refused_modify_changes_nothing<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, mut theirs) = pair()?;
    let mut selector = case.selector()?;
    let capabilities = selector.capabilities();
    let token = selector.register(ours, Interest::READ, ())?;
    let unknown = Interest::from_bits_retain(0x80);
    let mut refusals = vec![(unknown, Mode::Level), (unknown, Mode::OneShot)];
    if !capabilities.edge {
        refusals.push((BOTH, Mode::Edge));
    }
    if !capabilities.exclusive {
        refusals.push((BOTH, Mode::Exclusive));
    }
    if !capabilities.priority {
        refusals.push((Interest::PRIORITY, Mode::Level));
    }
    for (interest, mode) in refusals {
        case.did(format!("modified a READ source to {interest:?}, {mode:?}"));
        let refused = selector.modify_with(token, interest, mode);
        case.expect("whether it was accepted", refused.is_ok(), false)?;
        let key = selector.get(token).map(|key| (key.events, key.mode));
        case.expect("the key", key, Some((Interest::READ, Mode::Level)))?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
    }
    theirs.write_all(b"x")?;
    for _ in 0..2 {
        case.only(&selector.select(case.long())?, token)?;
    }
    Ok(())
}

pub(super) fn mod_4_the_backend_keeps_the_old_state<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let all = [BOTH, Interest::PRIORITY, Interest::READ | Interest::PRIORITY];
    for mode in [Mode::Level, Mode::OneShot, Mode::Edge, Mode::Exclusive] {
        for old_mode in [Mode::Level, Mode::Exclusive] {
            for interest in all {
                let mut backend = case.backend()?;
                if old_mode == Mode::Exclusive && !backend.capabilities().exclusive {
                    continue;
                }
                let (ours, mut theirs) = pair()?;
                let (token, fd) = (Token::from_bits(4), number_of(&ours));
                let old = Watch::new(Interest::READ, old_mode);
                case.did(format!(
                    "modified it with the backend from {old:?} to {interest:?}, {mode:?}"
                ));
                backend.register(borrow(&ours), token, old)?;
                let new = Watch::new(interest, mode);
                let current = backend.modify(fd, token, old, new).map_or(old, |()| new);
                if current == old {
                    // The backend may refuse it, and then nothing has changed.
                    let mut events = Events::new();
                    backend.wait(&mut events, NOW)?;
                    case.expect_tokens(&events, &[])?;
                    theirs.write_all(b"x")?;
                    backend.wait(&mut events, case.long())?;
                    case.only(&events, token)?;
                }
                backend.unregister(fd, token, current)?;
            }
        }
    }
    Ok(())
}

pub(super) fn mod_4_map_and_kernel_agree_after_a_close<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    let (other, mut other_peer) = pair()?;
    let loose = LooseDescriptor::duplicate(&ours)?;
    let mut selector = case.selector()?;
    let gone = selector.register(loose.borrow(), Interest::READ, ())?;
    let live = selector.register(borrow(&other), Interest::READ, ())?;
    drop(ours);
    loose.close()?;
    case.did("modified a source whose descriptor was closed to READ and WRITE");
    let answer = selector.modify(gone, BOTH);
    let expected = if answer.is_ok() { BOTH } else { Interest::READ };
    let events = selector.get(gone).map(|key| key.events);
    case.expect("the interest in the key, depending on the result", events, Some(expected))?;
    selector.unregister(gone)?;
    other_peer.write_all(b"x")?;
    case.expect_tokens(&selector.select(case.long())?, &[live])
}

pub(super) fn mod_4_a_file_keeps_its_state<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    let file = regular_file()?;
    let mut selector = case.selector()?;
    let token = selector.register(&file, Interest::READ, ())?;
    case.did("modified a regular file to unknown bits, which is refused");
    let unknown = Interest::from_bits_retain(0x80);
    case.expect("the answer", selector.modify(token, unknown).is_ok(), false)?;
    let event = case.only(&selector.select(case.long())?, token)?;
    case.expect("WRITE", event.is_writable(), false)
}

pub(super) fn mod_5_an_unknown_token_is_not_registered<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ours, _theirs) = pair()?;
    let mut selector = case.counting()?;
    let old = selector.register(ours, Interest::READ, ())?;
    selector.unregister(old)?;
    for token in [old, Token::from_bits(12345), Token::from_bits(u64::MAX)] {
        case.did(format!("modified {token:?}"));
        let refused = selector.modify(token, BOTH);
        case.expect_that(
            matches!(refused, Err(Error::NotRegistered { .. })),
            "Error::NotRegistered",
            &refused,
        )?;
    }
    case.expect("calls of the backend's modify", selector.backend().calls().modify, 0)
}
