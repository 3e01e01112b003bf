//! Shared selectors over backends whose changers are broken: each is caught by a case of the rule
//! that it breaks.
#![cfg(target_os = "linux")]

use std::io;
use std::time::Duration;

use selectors::backend::{
    Backend, BorrowedSource, Capabilities, Changer, Epoll, RawSource, Registered,
};
use selectors::{Events, Interest, Token, Watch};
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
}

struct Broken(Epoll, Defect);

impl Backend for Broken {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.0.register(source, token, watch)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.0.modify(fd, token, old, new)
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.0.unregister(fd, token, watch)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.0.wait(events, timeout)
    }

    fn changer(&self) -> io::Result<Option<Box<dyn Changer>>> {
        let changer = self.0.changer()?;
        Ok(changer.map(|changer| -> Box<dyn Changer> {
            Box::new(BrokenChanger { changer, defect: self.1 })
        }))
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.0.after_fork()
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        match self.1 {
            Defect::DoesNotUnregister => Ok(()),
            _ => self.0.rebuild(sources, events),
        }
    }
}

struct BrokenChanger {
    changer: Box<dyn Changer>,
    defect: Defect,
}

impl Changer for BrokenChanger {
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        mut watch: Watch,
    ) -> io::Result<bool> {
        if self.defect == Defect::ForgetsInterest {
            watch.interest = Interest::PRIORITY;
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
    let report = run_shared(|| Ok(Broken(Epoll::new()?, defect)), patience);
    report.failed.iter().map(|(case, _)| *case).collect()
}

#[test]
fn without_a_defect_no_case_complains() {
    assert_eq!(caught(Defect::None), <[&str; 0]>::default());
}

#[test]
fn every_broken_changer_is_caught() {
    for (defect, case) in [
        (Defect::HidesRefusals, "shared_1_a_refusal_is_returned_to_the_caller"),
        (Defect::ForgetsInterest, "shared_1_registering_is_effective_in_the_wait"),
        (Defect::DoesNotModify, "shared_1_modifying_is_effective_in_the_wait"),
        (Defect::DoesNotUnregister, "shared_2_what_was_unregistered_does_not_end_waits"),
        (Defect::DoesNotModify, "shared_4_no_arming_is_lost"),
        (Defect::DoesNotRearm, "shared_4_a_one_shot_is_reported_once_for_each_arming"),
        (Defect::KeepsFiles, "shared_6_files_and_edges_are_as_ever"),
    ] {
        let cases = caught(defect);
        println!("{defect:?}: {cases:?}");
        assert!(cases.contains(&case), "{defect:?} is not caught by {case}, but by {cases:?}");
    }
}
