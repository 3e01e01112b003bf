//! The conformance suite over backends of which a call fails.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
#[cfg(feature = "devpoll")]
use selectors::backend::Devpoll;
#[cfg(feature = "kqueue")]
use selectors::backend::Kqueue;
use selectors::backend::{
    AnyChanger, Backend, BorrowedSource, Capabilities, Change, Changer, Deferred, Epoll, Poll,
    RawSource, Registered, Select, Trigger,
};
use selectors::{Events, Token, Watch};
use selectors_testkit::conformance;
#[cfg(any(feature = "devpoll", feature = "kqueue"))]
use selectors_testkit::emulated_faults::Step;

#[cfg(any(feature = "devpoll", feature = "kqueue"))]
use crate::injection::ask_for_emulated_faults;
use crate::injection::{
    Call, Fault, fails_for_ever, injected, injected_anywhere, last_injected, set, within,
};
use crate::processes;
use crate::repetitive::REPETITIVE;

/// A backend that repeats what has failed because of the fault, unless that is for ever: it has to
/// be as if that had not been tried.
pub(crate) struct Faulty<B>(B);

/// Repeats an operation as long as it fails because of the fault, and not because a signal arrived
/// whose handler has met it.
fn repeat<R>(mut act: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    let is_injected = |error: &io::Error| {
        error.kind() != io::ErrorKind::Interrupted || last_injected() == Some(Errno::EINTR)
    };
    loop {
        let before = injected();
        match within(&mut act) {
            Err(error) if injected() > before && is_injected(&error) && !fails_for_ever() => {}
            result => return result,
        }
    }
}

impl<B: Backend> Faulty<B> {
    fn again<R>(&mut self, mut act: impl FnMut(&mut B) -> io::Result<R>) -> io::Result<R> {
        repeat(|| act(&mut self.0))
    }
}

impl<B: Backend> Backend for Faulty<B> {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.again(|backend| backend.register(source, token, watch))
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.again(|backend| backend.modify(fd, token, old, new))
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.again(|backend| backend.unregister(fd, token, watch))
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let first = events.len();
        self.again(|backend| {
            assert_eq!(events.len(), first, "what failed appends nothing");
            backend.wait(events, timeout)
        })
    }

    fn change_and_wait(
        &mut self,
        changes: &mut [Change],
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        within(|| self.0.change_and_wait(changes, events, timeout))
    }

    fn descriptor(&self) -> Option<BorrowedSource<'_>> {
        self.0.descriptor()
    }

    fn owns(&self, fd: RawSource) -> bool {
        self.0.owns(fd)
    }

    fn waker(&self, token: Token) -> io::Result<Option<Trigger>> {
        repeat(|| self.0.waker(token))
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn rebuild(
        &mut self,
        sources: &mut dyn Iterator<Item = Registered>,
        events: &mut Events,
    ) -> io::Result<()> {
        // That it is tried again is up to the selector.
        within(|| self.0.rebuild(sources, events))
    }

    fn changer(&self) -> io::Result<Option<AnyChanger>> {
        let changer = self.0.changer()?;
        Ok(changer.map(|changer| AnyChanger::new(FaultyChanger(changer))))
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.again(B::after_fork)
    }
}

/// As [`Faulty`], for what other threads make changes with.
struct FaultyChanger(AnyChanger);

impl FaultyChanger {
    fn again<R>(&mut self, mut act: impl FnMut(&mut AnyChanger) -> io::Result<R>) -> io::Result<R> {
        repeat(|| act(&mut self.0))
    }
}

impl Changer for FaultyChanger {
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<bool> {
        self.again(|changer| changer.register(source, token, watch))
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        self.again(|changer| changer.modify(fd, token, old, new))
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        self.again(|changer| changer.unregister(fd, token, watch))
    }
}

/// How many calls pass before how many fail. By itself each call fails in `man_pages`, and that for
/// an epoll instance in `rebuilding`.
const A_FEW: &[(u32, u32)] = &[(1, 1), (0, 3)];

/// Each of the first calls, and three in a row.
const EACH: &[(u32, u32)] = &[(0, 1), (1, 1), (2, 1), (0, 3)];

/// Runs a suite for each of `faults`, `when` that many calls have passed and for as many as fail.
/// Every backend that a case makes has its fault. `except` are the cases that may fail: they expect
/// of one wait what comes in the next one.
pub(crate) fn run_each(
    faults: &[(Call, Errno)],
    when: &[(u32, u32)],
    except: &[&str],
    suite: impl Fn(Fault) -> conformance::Report,
) {
    let of = |&(call, errno)| {
        when.iter().map(move |&(skip, times)| Fault::new(call, errno).after(skip).times(times))
    };
    let all: Vec<_> = faults.iter().flat_map(of).collect();
    let Some(outcomes) = processes::each_in_its_own(&all, |fault| run_one(fault, except, &suite))
    else {
        return;
    };
    let why = |(outcome, fault): (&Result<u32, String>, &Fault)| {
        outcome.as_ref().err().map(|why| format!("{fault:?}: {why}"))
    };
    let failed: Vec<_> = outcomes.iter().zip(&all).filter_map(why).collect();
    for (outcomes, (call, errno)) in outcomes.chunks(when.len()).zip(faults) {
        let total: u32 = outcomes.iter().flatten().sum();
        assert!(total > 0 || !failed.is_empty(), "{call:?} is never made");
        println!("{call:?} has failed {total} times with {errno}");
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Runs a suite. Returns how many calls have failed in it, or which cases.
fn run_one(
    fault: Fault,
    except: &[&str],
    suite: impl Fn(Fault) -> conformance::Report,
) -> Result<u32, String> {
    let before = injected_anywhere();
    let mut report = suite(fault);
    set(None);
    // Processor time is measured where fewer others run.
    let excepted = |name: &str| except.contains(&name) || name.starts_with("wait_11_");
    report.failed.retain(|(name, _)| !excepted(name));
    if report.failed.is_empty() {
        Ok(injected_anywhere() - before)
    } else {
        Err(report.to_string())
    }
}

/// A backend that has its fault.
pub(crate) fn faulty<B: Backend>(
    new: impl Fn() -> io::Result<B> + Sync,
    fault: Fault,
) -> io::Result<Faulty<B>> {
    set(None);
    let backend = new()?;
    set(Some(fault));
    Ok(Faulty(backend))
}

/// How long a case waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The suite over a backend with a fault, which comes within the first few calls.
pub(crate) fn suite<B: Backend + Send>(
    new: impl Fn() -> io::Result<B> + Sync,
    fault: Fault,
) -> conformance::Report {
    let mut cases = conformance::CASES.to_vec();
    cases.retain(|case| !REPETITIVE.contains(case));
    assert_eq!(cases.len(), conformance::CASES.len() - REPETITIVE.len());
    conformance::run_side_by_side(|| faulty(&new, fault), PATIENCE, None, &cases)
}

fn run<B: Backend + Send>(
    new: impl Fn() -> io::Result<B> + Sync,
    faults: &[(Call, Errno)],
    except: &[&str],
) {
    run_each(faults, A_FEW, except, |fault| suite(&new, fault));
}

/// As [`run`], with the suite for shared selectors.
fn run_shared<B: Backend + Send + 'static>(
    new: impl Fn() -> io::Result<B> + Sync,
    faults: &[(Call, Errno)],
) {
    let suite = |fault| conformance::run_shared(|| faulty(&new, fault), PATIENCE);
    // What a full list has left is reported by the next wait.
    run_each(faults, A_FEW, &["shared_6_one_select_reports_all"], suite);
}

/// What a full list has left is reported by the next wait.
const REST: [&str; 8] = [
    "wait_1_every_timeout_reports_the_same",
    "wait_7_thousands_are_ready_at_once",
    "wait_7_one_select_reports_all",
    "close_4_a_new_kernel_object_watches_every_kind",
    "proc_4_after_fork_watches_every_kind",
    "proc_6_a_thread_registers_every_kind",
    "mod_1_many_changes_between_two_waits",
    "reg_9_many_are_unregistered_between_two_waits",
];

/// Without a second instance, others watch the one that has a ghost; as long as that one cannot be
/// removed from the second, they do so as well.
const WATCHED: &str = "ready_13_a_selector_can_be_watched_after_a_rebuild";

/// What is closed is reported at once, and the call that failed shows in the next wait.
const CLOSED: [&str; 4] = [
    "reg_7_a_refusal_undoes_no_other_change",
    "close_5_other_sources_are_still_reported",
    "close_5_another_thread_closes_during_waits",
    "close_5_random_programs_that_close",
];

/// Likewise a deferred change that is refused, and the others with it.
const REFUSED: &str = "reg_7_a_refusal_undoes_no_other_change";

#[test]
fn epoll_ctl_fails() {
    let faults = [
        (Call::EpollAdd, Errno::ENOMEM),
        (Call::EpollAdd, Errno::ENOSPC),
        (Call::EpollModify, Errno::ENOMEM),
    ];
    run(Epoll::new, &faults, &[]);
    run(Epoll::new, &[(Call::EpollDelete, Errno::ENOMEM)], &[WATCHED]);
}

#[test]
fn epoll_wait_fails() {
    run(Epoll::new, &[(Call::EpollWait, Errno::EINTR)], &[]);
    run(Epoll::new, &[(Call::EpollWait, Errno::ENOMEM)], &REST);
}

#[test]
fn helpers_of_epoll_fail() {
    run(Epoll::new, &[(Call::EpollCreate, Errno::EMFILE)], &[WATCHED]);
    run(Epoll::new, &[(Call::Eventfd, Errno::ENFILE), (Call::Select, Errno::ENOMEM)], &[]);
    // A wait in which fstat(2) fails assumes that an open number refers to the same file.
    let unknown = ["close_5_a_reused_number_does_not_report_the_old_file"];
    run(Epoll::new, &[(Call::Fstat, Errno::ENOMEM)], &unknown);
}

#[test]
fn deferred_changes_of_epoll_fail() {
    let new = || Epoll::new().map(Deferred::new);
    run(new, &[(Call::EpollCreate, Errno::EMFILE)], &[WATCHED]);
    run(new, &[(Call::EpollWait, Errno::EINTR)], &[&CLOSED[..], &[REFUSED]].concat());
    // A change that was refused is reported as an ERROR, and not repeated.
    let refused = [
        WATCHED,
        "close_4_a_new_kernel_object_watches_every_source",
        "mode_4_exclusive_can_be_modified",
        "mod_1_every_mode_changes_to_every_other",
        "ready_12_every_kind_of_file_behaves_as_with_poll",
        "ready_1_random_programs",
        "mode_5_random_programs_of_all_modes",
        "close_5_random_programs_that_close",
        "proc_4_random_programs_that_fork",
        "wait_12_random_programs_without_descriptors",
    ];
    run(new, &[(Call::EpollDelete, Errno::ENOMEM)], &refused);
}

#[test]
fn poll_fails() {
    let faults = [
        (Call::Poll, Errno::EINTR),
        (Call::Poll, Errno::ENOMEM),
        (Call::Select, Errno::EINTR),
        (Call::Select, Errno::ENOMEM),
        (Call::GetStatus, Errno::EBADF),
    ];
    run(Poll::new, &faults, &[]);
}

#[test]
fn select_fails() {
    run(Select::new, &[(Call::Select, Errno::EBADF)], &[]);
    run(Select::new, &[(Call::Select, Errno::EINTR), (Call::Select, Errno::ENOMEM)], &[]);
    // Not EBADF, with which an open descriptor would be reported as closed. poll(2) is called
    // instead.
    run(Select::new, &[(Call::GetStatus, Errno::ENOMEM)], &[]);
    let faults = [(Call::GetFlags, Errno::ENOMEM)];
    run_each(&faults, EACH, &[], |fault| suite(Select::new, fault));
}

#[test]
fn calls_of_shared_selectors_fail() {
    let faults = [
        (Call::EpollAdd, Errno::ENOSPC),
        (Call::EpollModify, Errno::ENOMEM),
        (Call::EpollWait, Errno::EINTR),
    ];
    run_shared(Epoll::new, &faults);
    run_shared(Poll::new, &[(Call::Poll, Errno::EINTR), (Call::GetStatus, Errno::EBADF)]);
    run_shared(Select::new, &[(Call::Select, Errno::EINTR), (Call::GetStatus, Errno::ENOMEM)]);
}

#[cfg(feature = "kqueue")]
#[test]
fn kqueue_fails() {
    ask_for_emulated_faults();
    let wait = Call::Emulated(Step::QueueWait);
    let add = [(Call::Emulated(Step::Add), Errno::ENOMEM)];
    let waits = [(wait, Errno::EINTR), (wait, Errno::ENOMEM)];
    let helpers = [(Call::Fstat, Errno::ENOMEM), (Call::Eventfd, Errno::EMFILE)];
    run(Kqueue::new, &add, &[]);
    run(Kqueue::new, &helpers, &[]);
    // Not EBADF, with which an open descriptor would be refused as closed. poll(2) is called
    // instead.
    run(Kqueue::new, &[(Call::GetStatus, Errno::ENOMEM)], &[]);
    run(Kqueue::new, &waits[..1], &[]);
    run(Kqueue::new, &waits[1..], &REST);
    // A deferred change that is refused is an ERROR, which no case expects: waits fail only.
    run(|| Kqueue::new().map(Deferred::new), &waits, &[&CLOSED[..], &REST, &[REFUSED]].concat());
    run_shared(Kqueue::new, &[&add[..], &waits].concat());
}

#[cfg(feature = "devpoll")]
#[test]
fn devpoll_fails() {
    ask_for_emulated_faults();
    let write = Call::Emulated(Step::Write);
    let wait = Call::Emulated(Step::DeviceWait);
    let writes = [(write, Errno::EINTR), (write, Errno::ENOMEM)];
    let waits = [(wait, Errno::EINTR), (wait, Errno::ENOMEM)];
    run(Devpoll::new, &writes, &[]);
    run(Devpoll::new, &[waits[0], (Call::GetStatus, Errno::EBADF)], &[]);
    run(Devpoll::new, &waits[1..], &REST);
    // A deferred change that is refused is an ERROR, which no case expects: waits fail only.
    run(|| Devpoll::new().map(Deferred::new), &waits, &[&CLOSED[..], &REST, &[REFUSED]].concat());
    run_shared(Devpoll::new, &[writes, waits].concat());
}
