//! WAIT-11: a wait without events uses no processor time.

use std::io;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use selectors::backend::BorrowedSource;
use selectors::{Backend, Interest, Mode};

use super::{Case, Counting, NOW, Outcome, Stop, Subject};
use crate::fixtures::{
    LooseDescriptor, borrow, drain, fill, if_any, out_of_band, pair, processor_time, regular_file,
    send, sleeps, tcp_pair,
};

// Each alone: where many turn at once, none of them gets much of the processor.

/// How long to wait for nothing.
const IDLE: Duration = Duration::from_millis(40);

/// How long a wait lasts that could last for hours.
const SOON: Duration = Duration::from_millis(15);

/// What that may take: a wait that is right needs a fiftieth of it, and one that turns inside
/// itself most of [`IDLE`].
const LITTLE: Duration = Duration::from_millis(3);

const AS_ZERO: &str = "the timeout does not fit into the kernel's type, or becomes zero, and the \
                       wait looks again and again";

const TURNS: &str = "the kernel reports again and again what is masked away: watch for less, or \
                     silence the source in the kernel";

/// How often the thread had slept at a moment, where that is counted. On a busy machine a wait that loops
/// internally does not get much of the processor, but never sleeps.
pub(super) struct Sleeps(Option<u64>);

impl Sleeps {
    pub(super) fn begin() -> io::Result<Self> {
        Ok(Self(if_any(sleeps())?))
    }

    /// Whether it has slept since, or that is not counted.
    pub(super) fn slept(&self) -> io::Result<bool> {
        self.0.map_or(Ok(true), |before| Ok(sleeps()? > before))
    }
}

/// What a thread has done since a moment.
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

/// Waits, again if a wait took more of the processor although it slept: on a busy machine interrupts are
/// charged to the thread that they interrupt. Returns what the last wait took.
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

/// Checks that a wait brings nothing and takes no time of the processor.
fn idle<B: Backend>(case: &Case<'_, B>, selector: &mut Sources<'_, B>) -> Outcome {
    let (spent, slept) = least(|| {
        let waits = selector.backend().calls().wait;
        let events = selector.select(Some(IDLE))?;
        case.expect_tokens(&events, &[])?;
        let waits = selector.backend().calls().wait - waits;
        case.expect_or(TURNS, waits <= 10, "at most 10 calls of the backend's wait", waits)
    })?;
    let what = format!("less than {LITTLE:?} of the processor in {IDLE:?}, and a sleep");
    case.expect_or(TURNS, spent < LITTLE && slept, &what, (spent, slept))
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
    case.did("… ones that were watched for more, modified, or parked meanwhile");
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
    case.did(format!("waited for {IDLE:?}"));
    idle(case, &mut selector)
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
    let what = format!("less than {LITTLE:?} of the processor in {IDLE:?}, and a sleep");
    case.expect_or(
        "the wait looks again and again instead of having the kernel wait",
        spent < LITTLE && slept,
        &what,
        (spent, slept),
    )
}

pub(super) fn wait_11_a_long_wait_is_not_split<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    // What milliseconds in 32 bits, and jiffies, cannot hold; and no end at all.
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    for timeout in [minutes(36), minutes(60 * 24 * 60), None] {
        let (ours, theirs) = pair()?;
        let mut selector = case.counting()?;
        let mode = Mode::OneShot;
        let token = selector.register_with(borrow(&ours), Interest::READ, (), mode)?;
        case.did(format!("waited for {timeout:?}, until another thread wrote after {SOON:?}"));
        // On a busy machine the other thread may come first: then there is nothing to wait for, and no
        // sleep. And see `least`.
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
        let what = format!("less than {LITTLE:?} of the processor in {SOON:?}, and a sleep");
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
            // Reported each time, so nobody sleeps.
            continue;
        }
        selector.select(NOW)?;
        drain(&alive)?;
        case.did(format!("waited for {IDLE:?}"));
        let again = "a closed source is reported, or found, by each wait: nothing has disarmed it when it \
                     was reported first";
        case.because(again, idle(case, &mut selector))?;
    }
    Ok(())
}
