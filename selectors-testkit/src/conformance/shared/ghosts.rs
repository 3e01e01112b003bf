//! SHARED-2: files that the kernel still watches although their sources were unregistered.

use std::io::Write;
use std::mem;

use selectors::{Backend, Interest, Mode};

use super::{SHORT, counted, idle, ready};
use crate::conformance::{Case, NOW, Outcome};
use crate::fixtures::{LooseDescriptor, duplicate, number_of, pair, send};

/// How many waits may pass until a ghost is noticed and removed.
const WAITS: usize = 200;

const STAYS: &str = "`rebuild` fails, or the new kernel object still watches the ghost, so that \
    each wait finds it and calls `rebuild` again";

pub(super) fn shared_2_a_ghost_is_removed<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let Some((mut selector, counts)) = counted::<B, ()>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let ((lasting, _peer), (fires, _other_peer), (quiet, mut quiet_peer)) =
        (ready()?, ready()?, idle()?);
    case.did("registered a ready source, a one-shot source, which fired, and an idle one");
    let lasting = registrar.register(lasting, Interest::READ, ())?;
    let fired = registrar.register_with(fires, Interest::READ, (), Mode::OneShot)?;
    let quiet = registrar.register(quiet, Interest::READ, ())?;
    case.expect_tokens(&selector.select(case.long())?, &[lasting.token(), fired.token()])?;
    case.did("closed a source that has a duplicate, dropped its handle, and made it ready");
    let (alive, peer) = pair()?;
    let loose = LooseDescriptor::duplicate(&alive)?;
    let ghost = registrar.register(loose.borrow(), Interest::READ, ())?;
    loose.close()?;
    drop(ghost);
    send(&peer, b"x")?;
    for _ in 0..WAITS {
        case.only(&selector.select(NOW)?, lasting.token())?;
    }
    case.did(format!("waited {WAITS} times, and as often again"));
    let before = counts.calls().rebuild;
    for _ in 0..WAITS {
        case.only(&selector.select(NOW)?, lasting.token())?;
    }
    let more = counts.calls().rebuild - before;
    case.expect_or(STAYS, more == 0, "no more calls of the backend's rebuild", more)?;
    case.did("dropped the ready source, and waited for 20 ms");
    drop(lasting);
    let before = counts.calls().wait;
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let calls = counts.calls().wait - before;
    case.expect_or(STAYS, calls <= 10, "at most 10 calls of the backend's wait", calls)?;
    let lost = "the new kernel object does not watch all registered sources, or watches a fired \
        one-shot source";
    case.did("made the idle source ready");
    quiet_peer.write_all(b"x")?;
    case.because(lost, case.only(&selector.select(case.long())?, quiet.token()))?;
    case.did("rearmed the one-shot source, and registered another one");
    fired.rearm()?;
    let other = registrar.register(duplicate(&alive)?, Interest::READ, ())?;
    let all = [quiet.token(), fired.token(), other.token()];
    case.because(lost, case.expect_tokens(&selector.select(case.long())?, &all))
}

/// How many ghosts there are, one after another, and how many sources are closed: more than the
/// descriptors that a backend and its changer have.
const GHOSTS: usize = 6;

/// Closes sources while they are registered, so that new descriptors of the selector get their numbers.
fn haunt_beside_closed<B: Backend + Send + 'static>(case: &Case<'_, B>) -> Outcome {
    let (quiet, _quiet_peer) = idle()?;
    let mut closed = Vec::new();
    for _ in 0..GHOSTS {
        let lowest = duplicate(&quiet)?;
        closed.push(LooseDescriptor::at(number_of(&lowest), &lowest)?);
        mem::forget(lowest);
    }
    // Its descriptors have higher numbers, and those of what it creates later get the lowest.
    let Some((mut selector, counts)) = counted::<B, ()>(case)? else { return Ok(()) };
    let registrar = selector.registrar();
    let register = |it: &LooseDescriptor| registrar.register(it.borrow(), Interest::READ, ());
    let _registered: Vec<_> = closed.iter().map(register).collect::<Result<_, _>>()?;
    closed.iter().try_for_each(LooseDescriptor::close)?;
    // Their numbers become the selector's.
    mem::forget(closed);
    let (alive, peer) = pair()?;
    send(&peer, b"x")?;
    for _ in 0..GHOSTS {
        let loose = LooseDescriptor::duplicate(&alive)?;
        let ghost = registrar.register(loose.borrow(), Interest::READ, ())?;
        loose.close()?;
        drop(ghost);
        for _ in 0..WAITS {
            selector.select(NOW)?;
        }
        let before = counts.calls().rebuild;
        for _ in 0..WAITS {
            selector.select(NOW)?;
        }
        let more = counts.calls().rebuild - before;
        case.expect("more calls of the backend's rebuild", more, 0)?;
    }
    Ok(())
}

pub(super) fn shared_2_a_ghost_is_removed_beside_closed_sources<B: Backend + Send + 'static>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.did(format!(
        "in a forked child: closed {GHOSTS} registered sources, and left as many ghosts behind"
    ));
    case.because(
        "`rebuild` fails because of a closed source, whose number is free or is that of one of the \
         backend's own descriptors",
        case.alone_in_forked_child(|| haunt_beside_closed(case)),
    )
}
