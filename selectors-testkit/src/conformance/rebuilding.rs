//! CLOSE-4: edges that occur while the kernel object is recreated, and ghosts that remain.

use std::io::{self, ErrorKind};
use std::time::Duration;

use selectors::backend::{BorrowedSource, Registered};
use selectors::{Backend, Events, Interest, Mode, Readiness, Token, Watch};

use super::processor::Sleeps;
use super::stale_readiness::modes;
use super::streams::{PATIENTLY, REQUESTABLE, at_most};
use super::{BOTH, Case, Counting, NOW, Outcome, Subject};
use crate::fixtures::{
    LooseDescriptor, OwnedSource, PairStream, borrow, drain, duplicate, fill, if_any, is_ready,
    number_of, pair, regular_file, send, tcp_pair,
};

const EDGES: &str = "a pending edge of the old kernel object is lost, or the new one reports an \
    edge again: see `Backend::rebuild`";

pub(super) fn close_4_a_new_kernel_object_keeps_the_edges<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let watch = Watch::new(Interest::READ, Mode::Edge);
    for again in [false, true] {
        let mut backend = case.backend()?;
        if !backend.capabilities().edge {
            return Ok(());
        }
        let ends = [pair()?, pair()?];
        let tokens = [Token::from_bits(1), Token::from_bits(2)];
        let mut sources = Vec::new();
        for ((ours, theirs), token) in ends.iter().zip(tokens) {
            backend.register(borrow(ours), token, watch)?;
            sources.push(Registered::new(number_of(ours), token, watch));
            send(theirs, b"x")?;
        }
        let mut events = Events::new();
        backend.wait(&mut events, case.long())?;
        case.expect_tokens(&events, &tokens)?;
        case.did(format!(
            "two edges were reported; there was another one: {again}; recreated the kernel object"
        ));
        if again {
            send(&ends[1].1, b"x")?;
        }
        let mut pending = Events::new();
        if !rebuild(&mut backend, &sources, &mut pending)? {
            return Ok(());
        }
        let mut events = Events::new();
        backend.wait(&mut events, NOW)?;
        events.extend(pending);
        let expected = if again { &tokens[1..] } else { &[] };
        case.because(EDGES, case.expect_tokens(&events, expected))?;
    }
    Ok(())
}

/// How often recreating the kernel object is tried again.
const TRIES: usize = 3;

/// Has the backend recreate the kernel object, and retries after a failure, as a selector does. Returns
/// false if the backend does not support it.
pub(super) fn rebuild<B: Backend>(
    backend: &mut B,
    sources: &[Registered],
    pending: &mut Events,
) -> io::Result<bool> {
    let mut rebuild = || backend.rebuild(&mut sources.iter().copied(), pending);
    let is_failure = |error: &io::Error| error.kind() != ErrorKind::Unsupported;
    let mut rebuilt = rebuild();
    for _ in 0..TRIES {
        if rebuilt.as_ref().is_err_and(is_failure) {
            rebuilt = rebuild();
        }
    }
    match rebuilt {
        Err(error) if !is_failure(&error) => Ok(false),
        rebuilt => rebuilt.map(|()| true),
    }
}

/// How long a ghost exists.
const SHORT: Duration = Duration::from_millis(20);

pub(super) fn close_4_a_ghost_that_stays_does_not_make_it_spin<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let pairs: Vec<_> = (0..10).map(|_| pair()).collect::<Result<_, _>>()?;
    let mut selector = case.with_ghost::<BorrowedSource<'_>, ()>(usize::MAX)?;
    for (ours, _) in &pairs {
        selector.register(borrow(ours), Interest::READ, ())?;
    }
    case.did(format!("made the backend report a permanent ghost, and waited for {SHORT:?}"));
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let calls = selector.backend().calls();
    let cause = "each wait finds the ghost and polls again at once, or tries to recreate the \
        kernel object";
    case.expect_or(cause, calls.wait <= 50, "at most 50 calls of the backend's wait", calls.wait)?;
    let most = "at most 6 calls of the backend's rebuild";
    case.expect_or(cause, calls.rebuild <= 6, most, calls.rebuild)?;
    case.did("made a source ready");
    send(&pairs[0].1, b"x")?;
    case.expect("the number of events", selector.select(case.long())?.len(), 1)
}

/// More than a batch, than a byte can count, and than fit into a first table.
const MANY: usize = 300;

const FORGOTTEN: &str = "the new kernel object lacks some sources, interests or modes, or the \
    kernel object is recreated only once";

/// Creates a ready ghost: a file that the kernel still watches although its source was closed and
/// unregistered.
pub(super) fn leave_a_ghost<B: Backend>(
    selector: &mut Subject<BorrowedSource<'_>, (), B>,
    (alive, peer): &(PairStream, PairStream),
) -> Outcome {
    let loose = LooseDescriptor::duplicate(alive)?;
    let token = selector.register(loose.borrow(), Interest::READ, ())?;
    selector.select(NOW)?;
    loose.close()?;
    selector.unregister(token)?;
    send(peer, b"x")?;
    Ok(())
}

/// Creates a ghost, and waits until it was removed.
fn haunt<B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Subject<BorrowedSource<'_>, (), Counting<B>>,
    ends: &(PairStream, PairStream),
) -> Outcome {
    leave_a_ghost(selector, ends)?;
    waits_in_vain(case, selector)?;
    drain(&ends.0)?;
    Ok(())
}

/// Checks that a wait without events does not poll repeatedly.
fn waits_in_vain<B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Subject<BorrowedSource<'_>, (), Counting<B>>,
) -> Outcome {
    let mut seen = (false, 0);
    // On a busy machine the time may be over before it can sleep.
    for _ in 0..5 {
        let before = selector.backend().calls().wait;
        let sleeps = Sleeps::begin()?;
        let events = selector.select(Some(SHORT))?;
        let slept = sleeps.slept()?;
        case.because(FORGOTTEN, case.expect_tokens(&events, &[]))?;
        seen = (slept, selector.backend().calls().wait - before);
        if slept || seen.1 > 50 {
            break;
        }
    }
    // A ghost that cannot be removed costs a poll every millisecond.
    let what = "a sleep, and at most 50 calls of the backend's wait";
    case.expect_or(FORGOTTEN, seen.0 && seen.1 <= 50, what, seen)
}

/// A socket without unread data, one with a full buffer, and their peers.
struct Idle {
    readable: (OwnedSource, OwnedSource),
    writable: (OwnedSource, OwnedSource),
}

impl Idle {
    fn new() -> io::Result<Self> {
        let ((ours, theirs), (full, full_peer)) = (tcp_pair()?, pair()?);
        fill(&full)?;
        let readable = (ours.into(), theirs.into());
        Ok(Self { readable, writable: (full.into(), full_peer.into()) })
    }

    fn source(&self, interest: Interest) -> &OwnedSource {
        let writes = interest.contains(Interest::WRITE);
        if writes { &self.writable.0 } else { &self.readable.0 }
    }

    fn make_ready(&self, priority: bool) -> io::Result<()> {
        let ((ours, theirs), (_, full_peer)) = (&self.readable, &self.writable);
        send(full_peer, b"x")?;
        drain(full_peer)?;
        send(theirs, b"x")?;
        is_ready(ours, Interest::READ, PATIENTLY)?;
        if priority {
            socket2::SockRef::from(theirs).send_out_of_band(b"!")?;
            is_ready(ours, Interest::PRIORITY, PATIENTLY)?;
        }
        Ok(())
    }

    /// Urgent data stays.
    fn make_idle(&self) -> io::Result<()> {
        drain(&self.readable.0)?;
        drain(&self.writable.0)?;
        fill(&self.writable.0).map(drop)
    }
}

/// Checks that a source that is ready when the kernel object is recreated is reported by the next wait,
/// and not only to whoever looks at the new object before.
fn reports_what_is_ready<B: Backend>(case: &Case<'_, B>) -> Outcome {
    const LOOKED_AT: &str = "the new kernel object is asked for its pending edges, and disarms the \
        one-shot sources that it reports then: arm them again";
    for mode in [Mode::Level, Mode::OneShot] {
        let (mut backend, (ours, theirs), (idle, _peer)) = (case.backend()?, pair()?, pair()?);
        let watch = Watch::new(Interest::READ, mode);
        let mut sources = Vec::new();
        for (source, token) in [(&ours, 1), (&idle, 2)] {
            let token = Token::from_bits(token);
            backend.register(borrow(source), token, watch)?;
            sources.push(Registered::new(number_of(source), token, watch));
        }
        case.did(format!("made a source ready ({mode:?}), and recreated the kernel object"));
        send(&theirs, b"x")?;
        // Whatever is pending for these modes, a selector ignores.
        if !rebuild(&mut backend, &sources, &mut Events::new())? {
            return Ok(());
        }
        let mut events = Events::new();
        backend.wait(&mut events, case.long())?;
        let reported = case.expect_tokens(&events, &[sources[0].token]);
        case.because(LOOKED_AT, reported)?;
    }
    Ok(())
}

pub(super) fn close_4_a_new_kernel_object_watches_every_source<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    reports_what_is_ready(case)?;
    let (lasting, once, alive) = (Idle::new()?, Idle::new()?, pair()?);
    let lasts = |mode| matches!(mode, Mode::Level | Mode::Exclusive);
    let mut selector = case.counting::<BorrowedSource<'_>, ()>()?;
    let priority = selector.capabilities().priority;
    let mut kinds = Vec::new();
    for mode in modes(case)? {
        kinds.extend([Interest::READ, Interest::WRITE, BOTH].map(|interest| (interest, mode)));
        if priority && mode != Mode::Exclusive {
            let urgent = [Interest::PRIORITY, Interest::READ | Interest::PRIORITY];
            kinds.extend(urgent.map(|interest| (interest, mode)));
        }
    }
    let many = at_most(MANY, 8)?;
    case.did(format!("registered {many} idle sources for everything, in every mode"));
    let mut sources = Vec::new();
    for &(interest, mode) in kinds.iter().cycle().take(many) {
        let idle = if lasts(mode) { &lasting } else { &once };
        sources.push((duplicate(idle.source(interest))?, interest, mode));
    }
    let mut tokens = Vec::new();
    for (source, interest, mode) in &sources {
        tokens.push(selector.register_with(borrow(source), *interest, (), *mode)?);
    }
    for times in 1..=3 {
        case.did(format!("left a ghost behind and waited, for the {times}th time"));
        haunt(case, &mut selector, &alive)?;
    }
    case.did("made all ready");
    [&lasting, &once].into_iter().try_for_each(|idle| idle.make_ready(priority))?;
    let events = selector.select(case.long())?;
    case.because(FORGOTTEN, case.expect_tokens(&events, &tokens))?;
    for ((_, interest, mode), token) in sources.iter().zip(&tokens) {
        let of_it = events.iter().find(|event| event.token() == *token);
        let seen = of_it.map(|event| event.readiness() & REQUESTABLE);
        let what = format!("the readiness of what was registered for {interest:?}, {mode:?}");
        let expected = Some(Readiness::from(*interest));
        case.because(FORGOTTEN, case.expect(&what, seen, expected))?;
    }
    case.did("made the level-triggered ones idle, and waited");
    lasting.make_idle()?;
    for ((_, interest, mode), &token) in sources.iter().zip(&tokens) {
        if lasts(*mode) && interest.contains(Interest::PRIORITY) {
            selector.unregister(token)?;
        }
    }
    waits_in_vain(case, &mut selector)
}

pub(super) fn close_4_a_new_kernel_object_skips_closed_sources<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    skip_the_closed(case, None)?;
    let file = if_any(regular_file())?;
    file.as_ref().map_or(Ok(()), |file| skip_the_closed(case, Some(borrow(file))))
}

/// Leaves a ghost beside a closed source, whose number may be `taken` by a file that never blocks.
fn skip_the_closed<B: Backend>(case: &Case<'_, B>, taken: Option<BorrowedSource<'_>>) -> Outcome {
    const FAILS: &str = "a source whose descriptor was closed cannot be added to the new kernel object, \
                         and those after it are forgotten, or the old one is kept";
    const NOT_REPORTED: &str = "a closed source ends every wait, but no event reports it: report it \
                                as ERROR, or disarm it";
    let (alive, pairs) = (pair()?, [pair()?, pair()?, pair()?]);
    let mut selector = case.counting::<BorrowedSource<'_>, ()>()?;
    case.did("registered three sources, left a ghost behind, and closed a fourth one");
    let mut live = vec![selector.register(borrow(&pairs[0].0), Interest::READ, ())?];
    let closed = LooseDescriptor::duplicate(&pairs[1].0)?;
    let gone = selector.register(closed.borrow(), Interest::READ, ())?;
    for (ours, _) in &pairs[1..] {
        live.push(selector.register(borrow(ours), Interest::READ, ())?);
    }
    leave_a_ghost(&mut selector, &alive)?;
    if let Some(file) = taken {
        case.did("opened a regular file with its number");
        closed.replace(file)?;
    } else {
        closed.close()?;
    }
    case.did(format!("waited twice for {SHORT:?}"));
    let mut before = 0;
    for _ in 0..2 {
        before = selector.backend().calls().wait;
        let events = selector.select(Some(SHORT))?;
        let reported = if events.is_empty() { &[][..] } else { &[gone] };
        case.expect_tokens(&events, reported)?;
    }
    let waits = selector.backend().calls().wait - before;
    let cause = if selector.backend().calls().rebuild == 0 { NOT_REPORTED } else { FAILS };
    case.expect_or(cause, waits <= 4, "at most 4 calls of the backend's wait", waits)?;
    case.did("made the three ready");
    pairs.iter().try_for_each(|(_, theirs)| send(theirs, b"x").map(drop))?;
    let events = selector.select(case.long())?;
    if events.iter().any(|event| event.token() == gone) {
        live.push(gone);
    }
    case.because(FAILS, case.expect_tokens(&events, &live))?;
    if taken.is_some() { Ok(closed.close()?) } else { Ok(()) }
}

pub(super) fn ready_13_a_selector_can_be_watched_after_a_rebuild<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let (ends, (ours, theirs)) = (pair()?, pair()?);
    let (mut inner, mut outer) = (case.selector()?, case.selector()?);
    let Some(own) = inner.backend().descriptor().map(|own| duplicate(&own)).transpose()? else {
        return Ok(());
    };
    case.did("watched a selector that recreated its kernel object because of a ghost");
    let token = outer.register(own, Interest::READ, ())?;
    let source = inner.register(borrow(&ours), Interest::READ, ())?;
    leave_a_ghost(&mut inner, &ends)?;
    case.expect_tokens(&inner.select(NOW)?, &[])?;
    let other = "others watch the kernel object itself, which is replaced";
    case.because(other, case.expect_tokens(&outer.select(NOW)?, &[]))?;
    for _ in 0..2 {
        case.did("made a source of it ready");
        send(&theirs, b"x")?;
        case.because(other, case.only(&outer.select(case.long())?, token))?;
        case.only(&inner.select(case.long())?, source)?;
        drain(&ours)?;
        case.expect_tokens(&inner.select(NOW)?, &[])?;
        case.because(other, case.expect_tokens(&outer.select(NOW)?, &[]))?;
    }
    Ok(())
}
