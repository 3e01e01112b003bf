//! WAIT-11: a wait without events uses no processor time.

use std::io;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use selectors::backend::BorrowedSource;
use selectors::{Backend, Interest, Mode};

use super::{Case, Counting, NOW, Outcome, Stop, Subject};
use crate::fixtures::{
    LooseDescriptor, borrow, closed_number, drain, every_kind, fill, if_any, is_ready, out_of_band,
    pair, pipe, processor_time, regular_file, send, sleeps, tcp_pair, with_raw,
};

// Each case runs alone: if many spin at once, none uses much processor time.

/// How long an idle wait lasts.
const IDLE: Duration = Duration::from_millis(40);

/// After what time a wait with a long timeout is ended.
const SOON: Duration = Duration::from_millis(15);

/// The processor time that this may take: a correct wait needs a fiftieth of it, and one that spins
/// most of [`IDLE`].
const LITTLE: Duration = Duration::from_millis(3);

const AS_ZERO: &str = "the timeout does not fit into the kernel's type, or becomes zero, and the \
    wait polls repeatedly";

const TURNS: &str = "the kernel repeatedly reports readiness that is masked: watch for less, or \
    disarm the source in the kernel";

/// How often the thread had slept at the start, if the system counts that. On a busy machine a wait
/// that loops internally gets little processor time, but never sleeps.
pub(super) struct Sleeps(Option<u64>);

impl Sleeps {
    pub(super) fn begin() -> io::Result<Self> {
        Ok(Self(if_any(sleeps())?))
    }

    /// Returns true if it has slept since, or if that is not counted.
    pub(super) fn slept(&self) -> io::Result<bool> {
        self.0.map_or(Ok(true), |before| Ok(sleeps()? > before))
    }
}

/// The processor time and the sleeps of a thread since the start.
struct Effort {
    time: Duration,
    sleeps: Sleeps,
}

impl Effort {
    fn begin() -> io::Result<Self> {
        Ok(Self { time: processor_time()?, sleeps: Sleeps::begin()? })
    }

    /// The processor time, and whether the thread has slept.
    fn spent(&self) -> io::Result<(Duration, bool)> {
        let slept = self.sleeps.slept()?;
        Ok((processor_time()?.saturating_sub(self.time), slept))
    }
}

/// Waits, and repeats a wait that used more processor time although it slept: on a busy machine
/// interrupts are charged to the interrupted thread. Returns the processor time of the last wait.
fn least(mut wait: impl FnMut() -> Outcome) -> Result<(Duration, bool), Stop> {
    let mut taken = (Duration::MAX, false);
    for _ in 0..3 {
        let effort = Effort::begin()?;
        wait()?;
        taken = effort.spent()?;
        if taken.0 < LITTLE || !taken.1 {
            break;
        }
    }
    Ok(taken)
}

type Sources<'a, B> = Subject<BorrowedSource<'a>, (), Counting<B>>;

/// Checks that a wait reports nothing and uses almost no processor time.
fn idle<B: Backend>(
    case: &Case<'_, B>,
    selector: &mut Sources<'_, B>,
    cause: &'static str,
) -> Outcome {
    let (spent, slept) = least(|| {
        let waits = selector.backend().calls().wait;
        let events = selector.select(Some(IDLE))?;
        case.expect_tokens(&events, &[])?;
        let waits = selector.backend().calls().wait - waits;
        case.expect_or(cause, waits <= 10, "at most 10 calls of the backend's wait", waits)
    })?;
    let what = format!("less than {LITTLE:?} of processor time in {IDLE:?}, and a sleep");
    case.expect_or(cause, spent < LITTLE && slept, &what, (spent, slept))
}

pub(super) fn wait_11_idle_waits_sleep<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let capabilities = case.backend()?.capabilities();
    let changed = [pair()?, pair()?, pair()?];
    let mut selector = case.counting()?;
    case.did("registered an idle socket, and woke it once");
    let (quiet, _quiet_peer) = pair()?;
    selector.register(borrow(&quiet), Interest::READ, ())?;
    if capabilities.waker {
        selector.waker()?.wake()?;
        selector.select(case.long())?;
    }
    case.did("… one with unread data, full, half-closed by its peer, watched for WRITE alone");
    let (full, full_peer) = pair()?;
    fill(&full)?;
    send(&full_peer, b"x")?;
    socket2::SockRef::from(&full_peer).shutdown(Shutdown::Write)?;
    selector.register(borrow(&full), Interest::WRITE, ())?;
    case.did("… one-shot ones that have fired, and whose peers are gone");
    let (fired, fired_peer) = pair()?;
    let (reset, reset_peer) = tcp_pair()?;
    let both = Interest::READ | Interest::WRITE;
    selector.register_with(borrow(&fired), both, (), Mode::OneShot)?;
    selector.register_with(borrow(&reset), both, (), Mode::OneShot)?;
    let file = if_any(regular_file())?;
    if let Some(file) = &file {
        selector.register_with(borrow(file), both, (), Mode::OneShot)?;
    }
    selector.select(case.long())?;
    crate::fixtures::reset(reset_peer)?;
    drop(fired_peer);
    case.did("… one that was unregistered, and is ready");
    let (gone, gone_peer) = pair()?;
    send(&gone_peer, b"x")?;
    let token = selector.register(borrow(&gone), Interest::READ, ())?;
    selector.select(NOW)?;
    selector.unregister(token)?;
    case.did("… ones whose interest was reduced, and a parked one");
    let ways = [(Mode::Level, false), (Mode::Level, true), (Mode::OneShot, true)];
    for ((changed, _), (mode, parks)) in changed.iter().zip(ways) {
        let token = selector.register_with(borrow(changed), both, (), mode)?;
        selector.select(NOW)?;
        if parks {
            selector.modify(token, Interest::empty())?;
        }
        selector.modify_with(token, Interest::READ, Mode::Level)?;
    }
    let (edge, edge_peer) = pair()?;
    if capabilities.edge {
        case.did("… an edge-triggered one that was reported");
        send(&edge_peer, b"x")?;
        selector.register_with(borrow(&edge), Interest::READ, (), Mode::Edge)?;
        selector.select(case.long())?;
    }
    let ((urgent, urgent_peer), (other, other_peer)) = (tcp_pair()?, tcp_pair()?);
    if capabilities.priority {
        case.did("… one with data that is not urgent, watched for PRIORITY alone");
        send(&urgent_peer, b"x")?;
        selector.register(borrow(&urgent), Interest::PRIORITY, ())?;
        case.did("… one with urgent data that was watched for PRIORITY, too");
        out_of_band(&other_peer)?;
        let either = Interest::READ | Interest::PRIORITY;
        let token = selector.register(borrow(&other), either, ())?;
        selector.select(case.long())?;
        selector.modify(token, Interest::READ)?;
    }
    case.did("… one of each kind that is not ready, and a full pipe");
    let (kinds, ends) = (every_kind()?, if_any(pipe())?);
    for kind in &kinds {
        let directions = [Interest::READ, Interest::WRITE];
        for interest in directions {
            if !is_ready(&kind.source, interest, 0)? {
                selector.register(borrow(&kind.source), interest, ())?;
                break;
            }
        }
    }
    if let Some((_, writer)) = &ends {
        fill(writer)?;
        selector.register(borrow(writer), Interest::WRITE, ())?;
    }
    case.did("… ones whose peers are gone, and that were reported once");
    let (hung_up, ended) = (pair()?.0, if_any(pipe())?.map(|(reader, _)| reader));
    let edge = if capabilities.edge { Mode::Edge } else { Mode::OneShot };
    selector.register_with(borrow(&hung_up), both, (), edge)?;
    if let Some(reader) = &ended {
        selector.register_with(borrow(reader), Interest::READ, (), Mode::OneShot)?;
    }
    selector.select(case.long())?;
    if !capabilities.deferred {
        case.did("… one that was closed, and refused");
        let refused = with_raw(closed_number()?, |fd| selector.register(fd, both, ()).is_err());
        case.expect("whether it was refused", refused, true)?;
    }
    case.did(format!("waited for {IDLE:?}"));
    idle(case, &mut selector, TURNS)
}

pub(super) fn wait_11_the_backend_itself_sleeps<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (quiet, _quiet_peer) = pair()?;
    let mut backend = case.backend()?;
    let watch = selectors::Watch::new(Interest::READ, Mode::Level);
    backend.register(borrow(&quiet), selectors::Token::from_bits(1), watch)?;
    case.did(format!("had the backend wait for {IDLE:?} with an idle source"));
    let mut events = selectors::Events::new();
    let (spent, slept) = least(|| Ok(backend.wait(&mut events, Some(IDLE))?))?;
    let what = format!("less than {LITTLE:?} of processor time in {IDLE:?}, and a sleep");
    case.expect_or(
        "the wait polls repeatedly instead of blocking in the kernel",
        spent < LITTLE && slept,
        &what,
        (spent, slept),
    )
}

/// The timeout of a short wait, and how many make up for a longer one.
const SHORT: Duration = Duration::from_micros(1_300);
const WAITS: u32 = 16;

pub(super) fn wait_11_short_waits_sleep<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let (quiet, _quiet_peer) = pair()?;
    let mut backend = case.backend()?;
    let watch = selectors::Watch::new(Interest::READ, Mode::Level);
    backend.register(borrow(&quiet), selectors::Token::from_bits(1), watch)?;
    case.did(format!("had the backend wait for {SHORT:?} {WAITS} times, with an idle source"));
    let mut events = selectors::Events::new();
    // A call takes some time, also on a slow machine.
    let little = WAITS * SHORT / 4;
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let before = processor_time()?;
        (0..WAITS).try_for_each(|_| backend.wait(&mut events, Some(SHORT)))?;
        least = least.min(processor_time()?.saturating_sub(before));
        if least < little {
            break;
        }
    }
    case.expect_or(
        "a wait polls repeatedly for a while before it blocks",
        least < little,
        &format!("less than {little:?} of processor time in {:?}", WAITS * SHORT),
        least,
    )
}

pub(super) fn wait_11_a_long_wait_is_not_split<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    // Beyond the range of milliseconds in 32 bits and of jiffies, and without limit.
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    for timeout in [minutes(36), minutes(60 * 24 * 60), None] {
        let (ours, theirs) = pair()?;
        let mut selector = case.counting()?;
        let mode = Mode::OneShot;
        let token = selector.register_with(borrow(&ours), Interest::READ, (), mode)?;
        case.did(format!("waited for {timeout:?}, until another thread wrote after {SOON:?}"));
        // On a busy machine the other thread may write before the wait, which then does not sleep.
        // See also `least`.
        let mut taken = (Duration::MAX, false);
        for _ in 0..20 {
            let effort = Effort::begin()?;
            let events = thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(SOON);
                    send(&theirs, b"x")
                });
                selector.select(timeout)
            })?;
            taken = effort.spent()?;
            case.only(&events, token)?;
            if (taken.0 < LITTLE) == taken.1 {
                break;
            }
            drain(&ours)?;
            selector.rearm(token)?;
        }
        let what = format!("less than {LITTLE:?} of processor time in {SOON:?}, and a sleep");
        case.expect_or(AS_ZERO, taken.0 < LITTLE && taken.1, &what, taken)?;
    }
    Ok(())
}

pub(super) fn wait_11_waits_with_closed_sources_sleep<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    for mode in [Mode::Level, Mode::OneShot] {
        let (alive, peer) = pair()?;
        let loose = LooseDescriptor::duplicate(&alive)?;
        let alone = LooseDescriptor::duplicate(pair()?.0)?;
        let mut selector = case.counting()?;
        case.did(format!("closed two {mode:?} sources, of which one has a duplicate"));
        for source in [&loose, &alone] {
            selector.register_with(source.borrow(), Interest::READ, (), mode)?;
        }
        selector.select(NOW)?;
        loose.close()?;
        alone.close()?;
        send(&peer, b"x")?;
        let reported = !selector.select(NOW)?.is_empty();
        if reported && mode == Mode::Level {
            // Reported by every wait, so no wait sleeps.
            continue;
        }
        selector.select(NOW)?;
        drain(&alive)?;
        case.did(format!("waited for {IDLE:?}"));
        let again = "every wait reports or finds a closed source: it is not disarmed by the first \
            report";
        idle(case, &mut selector, again)?;
    }
    Ok(())
}
