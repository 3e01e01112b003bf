//! PROC: backends that are wrong with other threads, signal handlers or children.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use selectors::backend::{RawSource, Registered, Trigger};
use selectors::{Event, Events, Interest, Mode, Token, Watch};
use selectors_testkit::fixtures::unix_pair;

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::row::{RANDOM, Row, epoll, poll, rows, select};

/// A waker of its own, with a defect.
#[derive(Clone, Copy)]
enum Wakes {
    /// Another thread's wake is an error.
    OnItsOwnThread,
    /// Waking a dropped selector is an error.
    WhileItLives,
    /// The second wake, the fourth and so on do nothing.
    EverySecondTime,
    /// The second wake, the fourth and so on are errors.
    FailsEverySecondTime,
    /// A wake by the thread that waits, in the handler of a signal, does nothing.
    NotWhereItWaits,
    /// Its channel can be registered, and unregistered.
    Disowned,
}

struct Channel {
    reader: UnixStream,
    token: Token,
    is_watched: bool,
}

struct HasAWaker {
    defect: Wakes,
    channel: RefCell<Option<Channel>>,
    /// The waiting thread. Not behind a lock, which a signal handler could find locked.
    waits: Arc<AtomicU64>,
}

/// A number for the calling thread.
fn this_thread() -> u64 {
    thread_local! {
        static NUMBER: u64 = {
            static NEXT: AtomicU64 = AtomicU64::new(1);
            NEXT.fetch_add(1, Ordering::Relaxed)
        };
    }
    NUMBER.with(|number| *number)
}

impl HasAWaker {
    fn new(defect: Wakes) -> Self {
        Self { defect, channel: RefCell::default(), waits: Arc::default() }
    }

    fn empty(channel: &Channel) {
        let mut bytes = [0; 64];
        while matches!((&channel.reader).read(&mut bytes), Ok(count) if count > 0) {}
    }
}

impl Defect for HasAWaker {
    fn owns(&self, beneath: &Beneath, fd: RawSource) -> bool {
        let channel = self.channel.borrow();
        let channel = channel.as_ref().filter(|_| !matches!(self.defect, Wakes::Disowned));
        channel.is_some_and(|channel| channel.reader.as_raw_fd() == fd) || beneath.backend.owns(fd)
    }

    fn waker(&self, _: &Beneath, token: Token) -> io::Result<Option<Trigger>> {
        let (reader, writer) = unix_pair()?;
        // The reading end stays open, so that waking a dropped selector is harmless.
        let alive = match self.defect {
            Wakes::WhileItLives => None,
            _ => Some(reader.try_clone()?),
        };
        *self.channel.borrow_mut() = Some(Channel { reader, token, is_watched: false });
        let (home, defect) = (thread::current().id(), self.defect);
        let wakes = AtomicUsize::new(0);
        let waits = Arc::clone(&self.waits);
        Ok(Some(Box::new(move || {
            let second = wakes.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            if matches!(defect, Wakes::EverySecondTime) && second {
                return Ok(());
            }
            if matches!(defect, Wakes::FailsEverySecondTime) && second {
                return Err(ErrorKind::WouldBlock.into());
            }
            if matches!(defect, Wakes::OnItsOwnThread) && thread::current().id() != home {
                return Err(ErrorKind::PermissionDenied.into());
            }
            let in_handler = waits.load(Ordering::Relaxed) == this_thread();
            if matches!(defect, Wakes::NotWhereItWaits) && in_handler {
                return Ok(());
            }
            let _alive = &alive;
            (&writer).write_all(b"!")
        })))
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let before = events.len();
        if let Some(channel) = self.channel.get_mut().as_mut().filter(|new| !new.is_watched) {
            let watch = Watch::new(Interest::READ, Mode::Level);
            let fd = channel.reader.as_raw_fd();
            beneath.register(Registered::new(fd, channel.token, watch))?;
            channel.is_watched = true;
        }
        self.waits.store(this_thread(), Ordering::Relaxed);
        let answer = beneath.wait(events, timeout);
        self.waits.store(0, Ordering::Relaxed);
        answer?;
        let is_wake = |channel: &&mut Channel| {
            events.iter().skip(before).any(|event| event.token() == channel.token)
        };
        if let Some(channel) = self.channel.get_mut().as_mut().filter(is_wake) {
            Self::empty(channel);
        }
        Ok(())
    }
}

/// The token of the waker is the highest.
pub(crate) fn is_wake(event: &Event) -> bool {
    event.token().to_bits() >> 32 == u64::from(u32::MAX)
}

/// Reports a wake, and drops events that come with it.
struct DropsBesideAWake;

impl Defect for DropsBesideAWake {
    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        if found.iter().any(is_wake) {
            found.retain(is_wake);
        }
        found
    }
}

/// Reports no wake if the wait must not block.
struct WakesWhoBlocks;

impl Defect for WakesWhoBlocks {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let all = timeout != NOW;
        events.extend(beneath.found(timeout)?.into_iter().filter(|event| all || !is_wake(event)));
        Ok(())
    }
}

/// Works only on the thread that filled it.
#[derive(Default)]
struct KnowsItsThread(BTreeMap<Token, ThreadId>);

impl Defect for KnowsItsThread {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        self.0.insert(new.token, thread::current().id());
        Ok(())
    }

    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        let here = thread::current().id();
        found.retain(|event| self.0.get(&event.token()).is_none_or(|home| *home == here));
        found
    }
}

/// Continues to use the parent's kernel object after fork(2).
struct KeepsTheObject;

impl Defect for KeepsTheObject {
    fn after_fork(&mut self, beneath: &mut Beneath) -> Answer {
        for source in std::mem::take(&mut beneath.sources).into_values() {
            beneath.backend.unregister(source.fd, source.token, source.watch)?;
        }
        Ok(())
    }
}

/// Unregisters one by one when it is dropped, also in a forked child, which shares the kernel's
/// table.
struct UnregistersWhenDropped;

impl Defect for UnregistersWhenDropped {
    fn close(&mut self, beneath: &mut Beneath) {
        let sources: Vec<_> = beneath.sources.values().copied().collect();
        for source in sources {
            let _ = beneath.unregister(source);
        }
    }
}

/// Whose waits are handed to a thread of the process that created it.
struct WaitsElsewhere {
    process: u32,
}

impl Defect for WaitsElsewhere {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let before = events.len();
        beneath.wait(events, NOW)?;
        if events.len() > before || timeout == NOW {
            return Ok(());
        }
        if self.process != std::process::id() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        beneath.wait(events, timeout)
    }
}

/// Watches edge-triggered sources as level-triggered in a child.
#[derive(Default)]
struct ForgetsEdgesWhenForked {
    is_child: bool,
}

impl Defect for ForgetsEdgesWhenForked {
    fn asks(&mut self, new: Registered) -> Watch {
        let forgets = self.is_child && new.watch.mode == Mode::Edge;
        Watch::new(new.watch.interest, if forgets { Mode::Level } else { new.watch.mode })
    }

    fn after_fork(&mut self, beneath: &mut Beneath) -> Answer {
        self.is_child = true;
        beneath.after_fork()
    }
}

/// Reports sources that wait for WRITE alone only on the thread that has created it.
struct WritesAtHome(ThreadId);

impl Defect for WritesAtHome {
    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        let away = thread::current().id() != self.0;
        let writes = |source: Registered| source.watch.interest == Interest::WRITE;
        found.retain(|event| !away || !beneath.source(event.token()).is_some_and(writes));
        found
    }
}

rows! {
    "PROC-4" edges_unforked "watches edge-triggered sources as level-triggered in a child"
        epoll ForgetsEdgesWhenForked::default() =>
            proc_4_after_fork_watches_every_kind;
    "PROC-6" writes_at_home "reports no WRITE on another thread"
        poll WritesAtHome(thread::current().id()) =>
            proc_6_a_thread_registers_every_kind;
    "REG-8" disowned "watches its own descriptors if they are registered"
        select HasAWaker::new(Wakes::Disowned) =>
            reg_8_what_it_opened_for_itself_stays_its_own;
    "PROC-1" waker_gone "returns an error from waking a dropped selector"
        poll HasAWaker::new(Wakes::WhileItLives) =>
            proc_1_no_wake_raises_a_signal
            proc_1_a_waker_outlives_its_selector;
    "PROC-1" no_look_at_wakes "reports no wake in a wait that must not block"
        poll WakesWhoBlocks =>
            wait_6_no_event_is_lost
            proc_1_a_zero_timeout_sees_a_wake
            proc_7_a_signal_handler_may_wake
            wait_9_a_failed_rebuild_loses_nothing
            proc_2_no_wake_is_lost_beside_events
            [RANDOM];
    "PROC-2" lost_wakes "loses every second wake"
        poll HasAWaker::new(Wakes::EverySecondTime) =>
            wait_6_no_event_is_lost
            proc_2_a_wake_is_for_one_selector
            reg_8_what_it_opened_for_itself_stays_its_own
            wait_2_without_a_timeout_a_source_ends_it
            proc_1_a_zero_timeout_sees_a_wake
            proc_2_a_wake_hides_no_event
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_12_sources_are_served_without_free_descriptors
            proc_7_a_signal_handler_may_wake
            proc_1_a_wake_ends_a_wait
            proc_2_many_wakes_are_one
            proc_2_no_wake_is_lost
            reg_12_no_wait_leaks
            proc_2_no_wake_is_lost_beside_events
            reg_12_process_settings_do_not_change
            proc_1_every_waker_wakes
            wait_1_a_wait_with_a_ready_source_does_not_sleep
            wait_1_an_event_ends_the_wait_soon
            [RANDOM];
    "PROC-2" failing_wakes "fails to wake every second time"
        poll HasAWaker::new(Wakes::FailsEverySecondTime) =>
            wait_6_no_event_is_lost
            proc_2_a_wake_is_for_one_selector
            proc_1_no_wake_raises_a_signal
            reg_8_what_it_opened_for_itself_stays_its_own
            proc_2_no_wake_is_lost
            wait_2_without_a_timeout_a_source_ends_it
            proc_1_a_zero_timeout_sees_a_wake
            wait_1_zero_does_not_sleep
            proc_2_a_wake_hides_no_event
            proc_2_a_reused_list_does_not_keep_the_wake
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_12_sources_are_served_without_free_descriptors
            proc_7_a_signal_handler_may_wake
            proc_1_a_wake_ends_a_wait
            proc_2_many_wakes_are_one
            reg_12_no_wait_leaks
            proc_2_no_wake_is_lost_beside_events
            reg_12_process_settings_do_not_change
            proc_1_every_waker_wakes
            wait_1_zero_does_not_sleep
            wait_1_a_wait_with_a_ready_source_does_not_sleep
            wait_1_an_event_ends_the_wait_soon;
    "PROC-2" beside_a_wake "drops events that come with a wake"
        poll DropsBesideAWake =>
            reg_8_what_it_opened_for_itself_stays_its_own
            proc_2_a_wake_hides_no_event
            wait_12_sources_are_served_without_free_descriptors
            wait_9_a_failed_rebuild_loses_nothing
            proc_2_no_wake_is_lost_beside_events
            [RANDOM];
    "PROC-3" own_thread "can be woken only from its own thread"
        poll HasAWaker::new(Wakes::OnItsOwnThread) =>
            wait_2_without_a_timeout_a_source_ends_it
            proc_6_a_selector_changes_threads
            wait_2_without_sources_a_waker_ends_it
            proc_1_a_wake_ends_a_wait
            proc_2_no_wake_is_lost
            proc_3_wakers_tokens_and_events_cross_threads
            wait_1_an_event_ends_the_wait_soon;
    "PROC-4" object_kept "continues to use the parent's kernel object after fork(2)"
        epoll KeepsTheObject =>
            proc_4_after_fork_works
            proc_4_random_programs_that_fork;
    "PROC-4" no_thread "waits with a helper thread, which a child of fork(2) lacks"
        epoll WaitsElsewhere { process: std::process::id() } =>
            proc_4_after_fork_works;
    "PROC-4" unregisters "unregisters one by one when it is dropped"
        epoll UnregistersWhenDropped =>
            proc_4_calls_fail_in_a_child
            proc_4_a_forked_copy_changes_nothing;
    "PROC-6" one_thread "works only on the thread that filled it"
        poll KnowsItsThread::default() =>
            proc_6_a_selector_changes_threads
            proc_6_waits_do_not_block_each_other;
    "PROC-7" not_in_handlers "does not wake in the handler of a signal"
        poll HasAWaker::new(Wakes::NotWhereItWaits) =>
            proc_7_a_signal_handler_may_wake;
}
