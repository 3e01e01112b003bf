//! Shared selectors over backends whose changers are broken: each is caught by a case of the rule
//! that it breaks.
#![cfg(target_os = "linux")]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use selectors::backend::{
    Backend, BorrowedSource, Capabilities, Changer, Epoll, RawSource, Registered,
};
use selectors::{Events, Interest, Mode, Token, Watch};
use selectors_testkit::conformance::run_shared;

/// What is wrong with a changer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// It says that all went well when it was refused.
    HidesRefusals,
    /// It has the kernel watch for READ, whatever was asked for.
    ForgetsInterest,
    /// It modifies nothing.
    DoesNotModify,
    /// It unregisters nothing, and rebuilding does not help.
    DoesNotUnregister,
    /// It does not arm what has fired.
    DoesNotRearm,
    /// It keeps what always is ready to itself.
    KeepsFiles,
    /// It modifies when the next wait begins.
    ModifiesLater,
    /// It registers once somebody waits.
    WaitsForTheWaiter,
    /// It registers everything level-triggered.
    ForgetsModes,
    /// It goes on with the parent's kernel object in a child.
    StaysTheParents,
}

/// A change that is made too late.
type Late = (RawSource, Token, Watch, Watch);

/// What the backend and its changer share.
#[derive(Default)]
struct Shared {
    late: Mutex<Vec<Late>>,
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
        self.shared.waiting.store(true, Ordering::Release);
        let waited = self.epoll.wait(events, timeout);
        self.shared.waiting.store(false, Ordering::Release);
        waited
    }

    fn changer(&self) -> io::Result<Option<Box<dyn Changer>>> {
        let changer = self.epoll.changer()?;
        let shared = Arc::clone(&self.shared);
        Ok(changer.map(|changer| -> Box<dyn Changer> {
            Box::new(BrokenChanger { changer, defect: self.defect, shared })
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
            _ => self.epoll.rebuild(sources, events),
        }
    }
}

struct BrokenChanger {
    changer: Box<dyn Changer>,
    defect: Defect,
    shared: Arc<Shared>,
}

impl Changer for BrokenChanger {
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        mut watch: Watch,
    ) -> io::Result<bool> {
        match self.defect {
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

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        match self.defect {
            Defect::DoesNotModify => Ok(()),
            Defect::ModifiesLater => {
                self.shared.late.lock().unwrap().push((fd, token, old, new));
                Ok(())
            }
            Defect::DoesNotRearm if old == new => Ok(()),
            _ => self.changer.modify(fd, token, old, new),
        }
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        match self.defect {
            Defect::DoesNotUnregister => Ok(()),
            _ => self.changer.unregister(fd, token, watch),
        }
    }
}

fn caught(defect: Defect) -> Vec<&'static str> {
    // The longer, the later what is broken is found out.
    let patience = Duration::from_millis(if defect == Defect::None { 20_000 } else { 200 });
    let report = run_shared(|| Broken::new(defect), patience);
    report.failed.iter().map(|(case, _)| *case).collect()
}

#[test]
fn without_a_defect_no_case_complains() {
    assert_eq!(caught(Defect::None), <[&str; 0]>::default());
}

/// There is none for SHARED-3: tokens and data are the selector's own, and what a backend makes of
/// a token is either a registered source's or nobody's. Nor can one end a `select` by a change: the
/// selector counts the wakes that users have asked for.
#[test]
fn every_broken_changer_is_caught() {
    for (defect, case) in [
        (Defect::HidesRefusals, "shared_1_a_refusal_is_returned_to_the_caller"),
        (Defect::ForgetsInterest, "shared_1_registering_is_effective_in_the_wait"),
        (Defect::DoesNotModify, "shared_1_modifying_is_effective_in_the_wait"),
        (Defect::DoesNotUnregister, "shared_2_what_was_unregistered_does_not_end_waits"),
        (Defect::DoesNotModify, "shared_4_no_arming_is_lost"),
        (Defect::DoesNotRearm, "shared_4_a_one_shot_is_reported_once_for_each_arming"),
        (Defect::ModifiesLater, "shared_1_modifying_is_effective_in_the_wait"),
        (Defect::DoesNotModify, "shared_1_a_token_modifies_its_own_source_alone"),
        (Defect::ForgetsModes, "shared_4_a_one_shot_that_fired_does_not_end_waits"),
        (Defect::WaitsForTheWaiter, "shared_5_changes_do_not_wait_for_a_busy_waiter"),
        (Defect::ForgetsModes, "shared_6_files_and_edges_are_as_ever"),
        (Defect::StaysTheParents, "shared_6_a_forked_child_can_go_on"),
        (Defect::KeepsFiles, "shared_6_files_and_edges_are_as_ever"),
    ] {
        let cases = caught(defect);
        println!("{defect:?}: {cases:?}");
        assert!(cases.contains(&case), "{defect:?} is not caught by {case}, but by {cases:?}");
    }
}
