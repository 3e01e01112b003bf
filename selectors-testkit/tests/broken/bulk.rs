//! MOD-1, REG-5, REG-9, WAIT-3, WAIT-7, WAIT-8, PROC-6: backends that fail with many sources or
//! selectors, or after a pause between waits.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use selectors::backend::Registered;
use selectors::{Event, Events, Interest, Mode, Readiness};
use selectors_testkit::fixtures::sleeps;

use super::defect::{Answer, Beneath, Defect, Timeout};
use super::row::{Row, epoll, poll, rows};

/// Makes only this many changes between two waits.
struct HasAQueue {
    room: usize,
    left: usize,
}

impl HasAQueue {
    fn of(room: usize) -> Self {
        Self { room, left: room }
    }

    fn is_full(&mut self) -> bool {
        let full = self.left == 0;
        self.left = self.left.saturating_sub(1);
        full
    }
}

impl Defect for HasAQueue {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if self.is_full() { Ok(()) } else { beneath.modify(new) }
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.left = self.room;
        beneath.wait(events, timeout)
    }
}

/// Unregisters only this many sources between two waits, and refuses more.
struct UnregistersSome(HasAQueue);

impl Defect for UnregistersSome {
    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if self.0.is_full() {
            return Err(ErrorKind::OutOfMemory.into());
        }
        beneath.unregister(old)
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.0.wait(beneath, events, timeout)
    }
}

static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// At most 64 can exist.
struct IsOneOfFew {
    number: usize,
}

impl IsOneOfFew {
    fn new() -> Self {
        Self { number: ALIVE.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Defect for IsOneOfFew {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if self.number < 64 { beneath.register(new) } else { Err(ErrorKind::OutOfMemory.into()) }
    }

    fn close(&mut self, _: &mut Beneath) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reports urgent data first, and the rest by the next wait.
struct PutsUrgentDataFirst;

impl Defect for PutsUrgentDataFirst {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        let is_urgent = |event: &Event| event.readiness().contains(Readiness::PRIORITY);
        if found.iter().any(is_urgent) {
            found.retain(is_urgent);
        }
        found
    }
}

/// Treats the capacity of the list as the number of wanted events.
struct FillsTheRoom;

impl Defect for FillsTheRoom {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let room = match events.capacity() - events.len() {
            0 => usize::MAX,
            room => room,
        };
        events.extend(beneath.found(timeout)?.into_iter().take(room));
        Ok(())
    }
}

/// Reads the clock when a wait ends.
struct KeepsTheTime(Instant);

impl Defect for KeepsTheTime {
    fn now(&self) -> Instant {
        self.0
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let answer = beneath.wait(events, timeout);
        self.0 = Instant::now();
        answer
    }
}

/// Drops events if its thread has slept for a while between two waits. (On a busy machine it may be
/// suspended for as long.)
struct FallsAsleep(Instant, u64);

impl FallsAsleep {
    fn new() -> Self {
        Self(Instant::now(), sleeps().unwrap_or(0))
    }
}

impl Defect for FallsAsleep {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let slept = sleeps().is_ok_and(|sleeps| sleeps > self.1);
        let asleep = slept && self.0.elapsed() > Duration::from_millis(30);
        let found = beneath.found(timeout)?;
        *self = Self::new();
        if !asleep {
            events.extend(found);
        }
        Ok(())
    }
}

static WAITS: Mutex<()> = Mutex::new(());

/// Waits alone.
struct WaitsAlone;

impl Defect for WaitsAlone {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let _alone = WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        beneath.wait(events, timeout)
    }
}

/// Loses some high descriptors. (Those of the fixtures for CLOSE are higher.)
struct LosesHigh(fn(Registered) -> bool);

impl Defect for LosesHigh {
    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        let lost = |source: Registered| (1024..8192).contains(&source.fd) && (self.0)(source);
        found.retain(|event| !beneath.source(event.token()).is_some_and(lost));
        found
    }
}

rows! {
    "MOD-1" queue_of_64 "drops more than 64 changes between two waits"
        poll HasAQueue::of(64) =>
            mod_1_many_changes_between_two_waits;
    "MOD-1" queue_of_256 "drops more than 256 changes between two waits"
        epoll HasAQueue::of(256) =>
            mod_1_many_changes_between_two_waits;
    "MOD-1" queue_of_4096 "drops more than 4,096 changes between two waits"
        epoll HasAQueue::of(4_096) =>
            mod_1_many_changes_between_two_waits;
    "REG-9" unregisters_64 "unregisters 64 between two waits, and refuses more"
        poll UnregistersSome(HasAQueue::of(64)) =>
            reg_9_many_are_unregistered_between_two_waits;
    "REG-5" one_of_few "supports 64 backends in a process"
        poll IsOneOfFew::new() =>
            reg_5_one_file_in_many_selectors;
    "WAIT-7" urgent_first "reports urgent data first, and the rest later"
        poll PutsUrgentDataFirst =>
            wait_1_every_timeout_reports_the_same
            wait_7_every_kind_of_readiness_at_once
            close_4_a_new_kernel_object_watches_every_source;
    "WAIT-7" fills_the_room "treats the capacity of the list as a limit"
        poll FillsTheRoom =>
            wait_7_a_list_with_little_capacity;
    "WAIT-3" keeps_the_time "reads the clock when a wait ends"
        poll KeepsTheTime(Instant::now()) =>
            wait_3_time_passes_between_waits;
    "READY-1" falls_asleep "drops events after a pause"
        poll FallsAsleep::new() =>
            ready_1_data_that_arrives_during_a_long_pause;
    "PROC-6" waits_alone "has one lock for all waits"
        poll WaitsAlone =>
            proc_6_waits_do_not_block_each_other;
    "WAIT-8" high_writers "loses high descriptors that are watched for WRITE alone"
        poll LosesHigh(|source| source.watch.interest == Interest::WRITE) =>
            wait_8_high_descriptors_in_every_mode;
    "WAIT-8" high_one_shots "loses high descriptors that are one-shot"
        poll LosesHigh(|source| source.watch.mode == Mode::OneShot) =>
            wait_8_high_descriptors_in_every_mode;
    "WAIT-8" high_edges "loses high descriptors that are edge-triggered"
        epoll LosesHigh(|source| source.watch.mode == Mode::Edge) =>
            wait_8_high_descriptors_in_every_mode;
}
