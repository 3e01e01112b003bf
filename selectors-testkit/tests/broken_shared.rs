//! Shared selectors over backends with broken changers: a case of the broken rule rejects each.
#![cfg(target_os = "linux")]

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::{
    AnyChanger, Backend, BorrowedSource, Capabilities, Changer, Epoll, RawSource, Registered,
    Trigger,
};
use selectors::{Events, Interest, Mode, Token, Watch};
use selectors_testkit::conformance::{SHARED_CASES, check_shared_patiently, run_shared};
use selectors_testkit::fixtures::{is_open, pipe, receive, with_raw};

/// A defect of a changer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// It returns success for a refused change.
    HidesRefusals,
    /// It watches for READ, whatever the interest is.
    ForgetsInterest,
    /// It modifies nothing.
    DoesNotModify,
    /// It unregisters nothing, and rebuilding does not help.
    DoesNotUnregister,
    /// It does not rearm fired sources.
    DoesNotRearm,
    /// It does not leave always-ready sources to the backend.
    KeepsFiles,
    /// It modifies when the next wait begins.
    ModifiesLater,
    /// It registers only when a wait begins.
    WaitsForTheWaiter,
    /// It registers everything level-triggered.
    ForgetsModes,
    /// It uses the parent's kernel object in a child.
    StaysTheParents,
    /// It refuses a number that another source had in the parent.
    RemembersNumbers,
    /// It adds the new interest to the old one.
    AddsInterests,
    /// It keeps the mode that a source has.
    KeepsModes,
    /// It also unregisters a duplicate of an unregistered source.
    RemovesTwins,
    /// It stores only eight bits of a token's slot.
    CutsSlots,
    /// It does not watch for PRIORITY.
    ForgetsPriority,
    /// It refuses exclusive wake-up.
    RefusesExclusive,
    /// It reads a byte from an unregistered source.
    Reads,
    /// It holds a duplicate of each source.
    HoldsFiles,
    /// It leaks a descriptor when it modifies.
    Leaks,
    /// Its backend opens a descriptor for each wait.
    NeedsADescriptor,
    /// It forgets every thousandth change.
    ForgetsTheThousandth,
    /// It supports only 2,000 registrations in total.
    FillsUp,
    /// Its backend resumes a wait after a signal.
    WaitsOn,
    /// Its backend's waker does nothing.
    DoesNotWake,
    /// Its backend cannot be rebuilt.
    FailsToRebuild,
    /// Its backend watches the first half of all sources once it was rebuilt.
    RebuildsHalf,
    /// Its backend cannot be rebuilt while a source is closed.
    NeedsOpenSources,
}

/// A change that is made too late.
type Late = (RawSource, Token, Watch, Watch);

/// State that the backend and its changer share.
#[derive(Default)]
struct Shared {
    late: Mutex<Vec<Late>>,
    /// The token of each number.
    owners: Mutex<HashMap<RawSource, Token>>,
    waiting: AtomicBool,
}

struct Broken {
    epoll: Epoll,
    defect: Defect,
    shared: Arc<Shared>,
}

impl Broken {
    fn new(defect: Defect) -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new()?, defect, shared: Arc::default() })
    }
}

impl Backend for Broken {
    fn capabilities(&self) -> Capabilities {
        self.epoll.capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.epoll.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.epoll.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.epoll.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        for (fd, token, old, new) in self.shared.late.lock().unwrap().drain(..) {
            self.epoll.modify(fd, token, old, new)?;
        }
        let _helper = match self.defect {
            Defect::NeedsADescriptor => Some(pipe()?),
            _ => None,
        };
        self.shared.waiting.store(true, Ordering::Release);
        let mut waited = self.epoll.wait(events, timeout);
        if self.defect == Defect::WaitsOn && waited.is_err() {
            waited = Ok(());
        }
        self.shared.waiting.store(false, Ordering::Release);
        waited
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        match self.defect {
            Defect::DoesNotWake => Ok(Some(Box::new(|| Ok(())))),
            _ => self.epoll.waker(token),
        }
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        let changer = self.epoll.changer()?;
        let shared = Arc::clone(&self.shared);
        Ok(changer.map(|changer| {
            let (changes, registered, watched) = (0, 0, Vec::new());
            let defect = self.defect;
            let broken = BrokenChanger { changer, defect, shared, changes, registered, watched };
            AnyChanger::new(broken)
        }))
    }

    fn after_fork(&mut self) -> io::Result<()> {
        if self.defect == Defect::StaysTheParents { Ok(()) } else { self.epoll.after_fork() }
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        match self.defect {
            Defect::DoesNotUnregister => Ok(()),
            Defect::FailsToRebuild => Err(io::ErrorKind::OutOfMemory.into()),
            Defect::NeedsOpenSources => {
                let all: Vec<_> = sources.collect();
                if all.iter().any(|source| !is_open(source.fd)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                self.epoll.rebuild(&mut all.into_iter(), events)
            }
            Defect::RebuildsHalf => {
                let all: Vec<_> = sources.collect();
                let half = all.len() / 2;
                self.epoll.rebuild(&mut all.into_iter().take(half), events)
            }
            _ => self.epoll.rebuild(sources, events),
        }
    }
}

struct BrokenChanger {
    changer: AnyChanger,
    defect: Defect,
    shared: Arc<Shared>,
    changes: usize,
    registered: usize,
    watched: Vec<(RawSource, Token, Watch)>,
}

/// The file of a descriptor.
fn file(fd: RawSource) -> Option<nix::libc::ino_t> {
    with_raw(fd, nix::sys::stat::fstat).ok().map(|status| status.st_ino)
}

impl Changer for BrokenChanger {
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        mut token: Token,
        mut watch: Watch,
    ) -> io::Result<bool> {
        self.watched.push((source.as_raw_fd(), token, watch));
        self.registered += 1;
        if self.defect == Defect::HoldsFiles {
            LEAKED.lock().unwrap().push(source.try_clone_to_owned()?);
        }
        match self.defect {
            Defect::CutsSlots => token = Token::from_bits(token.to_bits() & 0xff_ffff_ffff),
            Defect::FillsUp if self.registered > 2_000 => {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            Defect::ForgetsPriority => watch.interest -= Interest::PRIORITY,
            Defect::RefusesExclusive if watch.mode == Mode::Exclusive => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Defect::RemembersNumbers => {
                let mut owners = self.shared.owners.lock().unwrap();
                if *owners.entry(source.as_raw_fd()).or_insert(token) != token {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
            }
            Defect::ForgetsInterest => watch.interest = Interest::PRIORITY,
            Defect::ForgetsModes => watch.mode = Mode::Level,
            Defect::WaitsForTheWaiter => {
                // No case waits longer than a second.
                let start = Instant::now();
                let waiting = || self.shared.waiting.load(Ordering::Acquire);
                while !waiting() && start.elapsed() < Duration::from_secs(1) {
                    thread::yield_now();
                }
            }
            _ => {}
        }
        match self.changer.register(source, token, watch) {
            Err(_) if self.defect == Defect::HidesRefusals => Ok(true),
            Ok(false) if self.defect == Defect::KeepsFiles => Ok(true),
            answer => answer,
        }
    }

    fn modify(
        &mut self,
        fd: RawSource,
        token: Token,
        old: Watch,
        mut new: Watch,
    ) -> io::Result<()> {
        self.changes += 1;
        match self.defect {
            Defect::AddsInterests => new.interest |= old.interest,
            Defect::KeepsModes => new.mode = old.mode,
            Defect::Leaks => LEAKED.lock().unwrap().push(pipe()?.0),
            _ => {}
        }
        match self.defect {
            Defect::DoesNotModify => Ok(()),
            Defect::ForgetsTheThousandth if self.changes % 1000 == 0 => Ok(()),
            Defect::ModifiesLater => {
                self.shared.late.lock().unwrap().push((fd, token, old, new));
                Ok(())
            }
            Defect::DoesNotRearm if old == new => Ok(()),
            _ => self.changer.modify(fd, token, old, new),
        }
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.watched.retain(|(_, other, _)| *other != token);
        self.shared.owners.lock().unwrap().remove(&fd);
        if self.defect == Defect::RemovesTwins {
            let this = file(fd);
            let is_twin = |it: &&(RawSource, _, _)| this.is_some() && file(it.0) == this;
            if let Some(&(fd, token, watch)) = self.watched.iter().find(is_twin) {
                let _ = self.changer.unregister(fd, token, watch);
            }
        }
        if self.defect == Defect::Reads {
            let _ = with_raw(fd, |fd| receive(&fd, &mut [0]));
        }
        match self.defect {
            Defect::DoesNotUnregister => Ok(()),
            _ => self.changer.unregister(fd, token, watch),
        }
    }
}

/// The leaked descriptors, until the case has ended.
static LEAKED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Returns true if a case rejects a changer with this defect. On a busy machine a spinning wait may
/// not run within the time of the case, so that several attempts may be needed.
fn catches(case: &'static str, defect: Defect) -> bool {
    // A longer patience delays the failures.
    let patience = Duration::from_millis(200);
    (0..3).any(|_| {
        let check = || check_shared_patiently(case, move || Broken::new(defect), patience);
        let rejected = catch_unwind(check);
        LEAKED.lock().unwrap().clear();
        let Err(panic) = rejected else { return false };
        let message = panic.downcast_ref::<String>().map_or("", String::as_str);
        assert!(message.starts_with(case), "{message:?} is none of {case}");
        true
    })
}

#[test]
fn without_a_defect_no_case_complains() {
    let report = run_shared(|| Broken::new(Defect::None), Duration::from_secs(20));
    assert!(report.failed.is_empty(), "{report}");
}

/// What no backend can break: tokens and data are the selector's own, as are the wakes that users
/// have asked for, which alone end a `select`; and handles ask nobody in a forked child, or when their
/// selector is gone.
const OF_THE_SELECTOR: [&str; 6] = [
    "shared_5_changes_do_not_end_the_select",
    "shared_3_a_token_finds_its_own_data_or_none",
    "shared_3_data_is_dropped_in_the_next_wait",
    "shared_6_a_panic_leaves_the_selector_usable",
    "shared_6_handles_outlive_the_selector",
    "shared_6_a_forked_child_changes_nothing",
];

/// Every defect, and a case that it is caught by.
const CAUGHT: &[(Defect, &str)] = &[
    (Defect::HidesRefusals, "shared_1_a_refusal_is_returned_to_the_caller"),
    (Defect::ForgetsInterest, "shared_1_registering_is_effective_in_the_wait"),
    (Defect::DoesNotModify, "shared_1_modifying_is_effective_in_the_wait"),
    (Defect::ForgetsInterest, "shared_1_parking_and_unregistering_are_effective_in_the_wait"),
    (Defect::DoesNotUnregister, "shared_2_an_unregistered_source_does_not_end_waits"),
    (Defect::Reads, "shared_2_an_unregistered_source_is_not_reported"),
    (Defect::HoldsFiles, "shared_2_the_file_is_closed_at_once"),
    (Defect::DoesNotWake, "shared_3_data_does_not_accumulate_during_a_wait"),
    (Defect::DoesNotModify, "shared_4_no_arming_is_lost"),
    (Defect::DoesNotRearm, "shared_4_a_one_shot_is_reported_once_for_each_arming"),
    (Defect::ModifiesLater, "shared_1_modifying_is_effective_in_the_wait"),
    (Defect::DoesNotModify, "shared_1_a_token_modifies_only_its_own_source"),
    (Defect::ForgetsModes, "shared_4_a_one_shot_that_fired_does_not_end_waits"),
    (Defect::WaitsForTheWaiter, "shared_5_changes_do_not_wait_for_a_busy_waiter"),
    (Defect::ForgetsModes, "shared_6_files_and_edges_work"),
    (Defect::StaysTheParents, "shared_6_after_fork_works"),
    (Defect::RemembersNumbers, "shared_6_a_forked_child_forgets_what_it_drops"),
    (Defect::KeepsFiles, "shared_6_files_and_edges_work"),
    (Defect::AddsInterests, "shared_6_random_programs_as_with_one_thread"),
    (Defect::KeepsModes, "shared_6_random_programs_as_with_one_thread"),
    (Defect::RemovesTwins, "shared_6_random_programs_as_with_one_thread"),
    (Defect::CutsSlots, "shared_6_one_select_reports_all"),
    (Defect::ForgetsTheThousandth, "shared_6_every_change_counts"),
    (Defect::FillsUp, "shared_6_every_change_counts"),
    (Defect::WaitsOn, "shared_6_a_signal_ends_a_wait_on_request"),
    (Defect::FailsToRebuild, "shared_2_a_ghost_is_removed"),
    (Defect::RebuildsHalf, "shared_2_a_ghost_is_removed"),
    (Defect::NeedsOpenSources, "shared_2_a_ghost_is_removed_beside_closed_sources"),
    (Defect::ForgetsPriority, "shared_6_priority_and_exclusive_wake_up"),
    (Defect::RefusesExclusive, "shared_6_priority_and_exclusive_wake_up"),
    (Defect::Leaks, "shared_6_changes_leak_nothing"),
    (Defect::NeedsADescriptor, "shared_6_changes_need_no_descriptor"),
];

#[test]
fn every_case_catches_something() {
    let caught = CAUGHT.iter().map(|(_, case)| *case);
    let caught: BTreeSet<_> = caught.chain(OF_THE_SELECTOR).collect();
    assert_eq!(caught, SHARED_CASES.iter().copied().collect());
}

#[test]
fn every_broken_changer_is_caught() {
    for &(defect, case) in CAUGHT {
        assert!(catches(case, defect), "{defect:?} is not caught by {case}");
    }
}
