//! Random programs in which random calls fail. A model without a kernel defines what each wait must
//! report.
//!
//! `SELECTORS_RANDOM_SEED` is the first program, and `SELECTORS_RANDOM_PROGRAMS` how many are run.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use selectors::backend::{Epoll, Poll, Select};
use selectors::{Backend, Error, Events, Interest, Mode, Readiness, Selector, Token};
use selectors_testkit::fixtures::{LooseDescriptor, drain, regular_file};

use crate::NOW;
use crate::injection::{Call, FOR_EVER, Fault, calls, failing, within};
use crate::model::{Dice, File, Shared, Subject, Watched};

const STEPS: usize = 60;

const ERRORS: [Errno; 3] = [Errno::ENOMEM, Errno::ENOSPC, Errno::EMFILE];

const INTERESTS: [Interest; 4] =
    [Interest::empty(), Interest::READ, Interest::WRITE, Interest::READ.union(Interest::WRITE)];

/// How the programs go.
struct Options<'a> {
    modes: &'a [Mode],
    /// The calls that may fail.
    calls: &'a [Call],
    /// Whether a wait may fail because another call does.
    waits_fail: bool,
}

struct Program<'a, S> {
    options: &'a Options<'a>,
    dice: Dice,
    selector: S,
    files: Vec<File>,
    /// The sources that were closed while registered, with their numbers.
    closed: Vec<(RawFd, Token)>,
    log: Vec<String>,
}

impl<S: Subject> Program<'_, S> {
    fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{what}, after\n{}", self.log.join("\n"));
    }

    fn fault(&mut self) -> Option<Fault> {
        if self.dice.roll(2) == 0 {
            return None;
        }
        let fault = Fault::new(self.dice.pick(self.options.calls), self.dice.pick(&ERRORS));
        let skip = u32::try_from(self.dice.roll(4)).unwrap();
        Some(fault.after(skip).times(self.dice.pick(&[1, 1, 2, 3, FOR_EVER])))
    }

    /// Makes a change in which calls may fail. Returns its result if it succeeds.
    fn make<R>(&mut self, what: &str, act: impl FnOnce(&mut S) -> Result<R, Error>) -> Option<R> {
        let fault = self.fault();
        let (result, failed) = failing(fault, || act(&mut self.selector));
        let outcome = result.as_ref().map(drop);
        self.log.push(format!("{what}: {outcome:?}, {failed} of {fault:?}"));
        // The sources that were closed can always fail, and their numbers are taken.
        let excused = failed > 0 || !self.closed.is_empty();
        self.check(result.is_ok() || excused, "it fails though no call did");
        result.ok()
    }

    fn change(&mut self, at: usize) {
        let (interest, mode) = (self.dice.pick(&INTERESTS), self.dice.pick(self.options.modes));
        let new = format!("file {at} for {interest:?}, {mode:?}");
        let watched = |token| Watched { token, interest, mode, armed: true, edge: true };
        let Some(source) = self.files[at].source else {
            // SAFETY: it is open. This tests that closing it while it is borrowed does no harm.
            let fd = unsafe { BorrowedFd::borrow_raw(self.files[at].fd.as_raw_fd()) };
            let made = self
                .make(&format!("register {new}"), |selector| selector.register(fd, interest, mode));
            self.files[at].source = made.map(watched);
            return;
        };
        let token = source.token;
        let now = match self.dice.roll(4) {
            0 => self
                .make(&format!("unregister file {at}"), |it| it.unregister(token))
                .map(|()| None),
            1 => self
                .make(&format!("rearm file {at}"), |it| it.rearm(token))
                .map(|()| Some(Watched { armed: true, edge: true, ..source })),
            _ => self.make(&format!("modify {new}"), |it| it.modify(token, interest, mode)).map(
                |()| {
                    let same = source.armed && (source.interest, source.mode) == (interest, mode);
                    Some(if same { source } else { watched(token) })
                },
            ),
        };
        self.files[at].source = now.unwrap_or(self.files[at].source);
    }

    /// Closes a source behind the selector's back, and puts another file in its place.
    fn close(&mut self, at: usize) -> io::Result<()> {
        let Some(source) = self.files[at].source else { return Ok(()) };
        let old = mem::replace(&mut self.files[at], File::idle()?);
        self.closed.push((old.fd.as_raw_fd(), source.token));
        self.log.push(format!("close file {at}"));
        Ok(())
    }

    fn change_closed(&mut self) {
        if self.closed.is_empty() {
            return;
        }
        let nth = self.dice.roll(self.closed.len());
        let (fd, token) = self.closed[nth];
        let (interest, mode) = (self.dice.pick(&INTERESTS), self.dice.pick(self.options.modes));
        if self.dice.roll(2) == 0 {
            let modify = format!("modify {fd}, closed, for {interest:?}, {mode:?}");
            self.make(&modify, |selector| selector.modify(token, interest, mode));
        } else if self
            .make(&format!("unregister {fd}, closed"), |selector| selector.unregister(token))
            .is_some()
        {
            self.closed.swap_remove(nth);
        }
    }

    /// Leaves a ghost, if the kernel watches open files.
    fn ghost(&mut self) -> io::Result<()> {
        let file = File::idle()?;
        let loose = LooseDescriptor::duplicate(&file.fd)?;
        let ghost = self.selector.register(loose.borrow(), Interest::READ, Mode::Level)?;
        loose.close()?;
        self.selector.unregister(ghost)?;
        self.files.push(file);
        self.log.push("made a ghost".into());
        self.send(self.files.len() - 1)
    }

    fn send(&mut self, at: usize) -> io::Result<()> {
        let file = &mut self.files[at];
        if let Some(peer) = &mut file.peer {
            peer.write_all(b"x")?;
            file.readable = true;
            if let Some(source) = &mut file.source {
                source.edge |= source.interest.contains(Interest::READ);
            }
            self.log.push(format!("send to file {at}"));
        }
        Ok(())
    }

    fn drain(&mut self, at: usize) -> io::Result<()> {
        let file = &mut self.files[at];
        if file.peer.is_some() {
            drain(&file.fd)?;
            file.readable = false;
            self.log.push(format!("drain file {at}"));
        }
        Ok(())
    }

    fn select(&mut self, fault: Option<Fault>) {
        let (events, failed) = failing(fault, || self.selector.select(NOW));
        self.log.push(format!("select: {events:?}, {failed} of {fault:?}"));
        match events {
            Ok(events) => self.expect(&events, fault.map(|fault| fault.call), failed),
            Err(_) => self.check(self.options.waits_fail && failed > 0, "the wait fails"),
        }
    }

    /// Compares what a wait has reported with the model.
    fn expect(&mut self, events: &Events, call: Option<Call>, failed: u32) {
        let mut seen = BTreeMap::new();
        for event in events {
            let before = seen.insert(event.token(), event.readiness());
            self.check(before.is_none(), "a source is reported twice");
        }
        // A second call of a wait has failed: the next wait makes it.
        let excused = failed > 0
            && (call == Some(Call::EpollWait)
                || call == Some(Call::Select) && !self.closed.is_empty());
        for at in 0..self.files.len() {
            let file = &self.files[at];
            let (must, ready) = (file.must_be_reported(), file.readiness());
            let Some(source) = file.source else { continue };
            let reported = seen.remove(&source.token);
            let is_due = source.armed && !source.interest.is_empty();
            if let Some(readiness) = reported {
                let is_error = readiness.contains(Readiness::ERROR);
                self.check(is_due, &format!("file {at} is not to be reported"));
                let expected = if is_error { failed > 0 } else { readiness == ready };
                self.check(expected, &format!("file {at} is {ready:?}"));
            } else {
                self.check(!must || excused, &format!("file {at} is missing"));
                if excused {
                    continue;
                }
            }
            if let Some(source) = &mut self.files[at].source {
                source.armed &= source.mode != Mode::OneShot || reported.is_none();
                source.edge = false;
            }
        }
        seen.retain(|token, _| !self.closed.iter().any(|(_, closed)| closed == token));
        self.check(seen.is_empty(), "tokens of nothing");
    }

    fn step(&mut self) -> io::Result<()> {
        let at = self.dice.roll(self.files.len());
        match self.dice.roll(14) {
            0 => self.send(at),
            1 => self.drain(at),
            2 if self.files.len() < 8 => self.ghost(),
            3 => self.selector.is_ready().map(drop),
            4 => self.close(at),
            5 => {
                self.change_closed();
                Ok(())
            }
            6..=8 => {
                let mut fault = self.fault();
                // The first is the wait itself.
                if let Some(fault) = &mut fault {
                    fault.skip += u32::from(fault.call == Call::EpollWait);
                }
                self.select(fault);
                Ok(())
            }
            _ => {
                self.change(at);
                Ok(())
            }
        }
    }

    /// No call fails any more: everything is as it should be, and nothing is left behind.
    fn end(&mut self) -> io::Result<()> {
        for (_, token) in mem::take(&mut self.closed) {
            self.selector.unregister(token)?;
        }
        for _ in 0..40 {
            self.select(None);
        }
        let must = self.files.iter().any(File::must_be_reported);
        let ready = self.selector.is_ready()?;
        self.check(ready.is_none_or(|ready| ready == must), "another selector sees the contrary");
        self.unregister(File::must_be_reported)?;
        let before = calls();
        let events = within(|| self.selector.select(Some(Duration::from_millis(3))));
        self.check(events?.is_empty(), "a wait that must find nothing reports an event");
        self.check(calls() - before < 20, "a wait turns");
        self.unregister(|_| true)?;
        let events = self.selector.select(NOW)?;
        self.check(events.is_empty(), "something is left behind");
        let ready = self.selector.is_ready()?;
        self.check(ready != Some(true), "something is left behind");
        Ok(())
    }

    fn unregister(&mut self, which: impl Fn(&File) -> bool) -> io::Result<()> {
        for file in self.files.iter_mut().filter(|file| which(file)) {
            if let Some(source) = file.source.take() {
                self.selector.unregister(source.token)?;
            }
        }
        Ok(())
    }
}

fn run<S: Subject>(new: impl Fn() -> io::Result<S>, options: &Options<'_>) -> io::Result<()> {
    let setting = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first: u64 = setting("SELECTORS_RANDOM_SEED").unwrap_or(1);
    for seed in first..first + setting("SELECTORS_RANDOM_PROGRAMS").unwrap_or(200) {
        let mut files: Vec<_> = (0..4).map(|_| File::idle()).collect::<Result<_, _>>()?;
        let fd = regular_file()?.into();
        files.push(File { fd, peer: None, readable: true, source: None });
        let mut program = Program {
            options,
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            selector: new()?,
            files,
            closed: Vec::new(),
            log: vec![format!("SELECTORS_RANDOM_SEED={seed}")],
        };
        for _ in 0..STEPS {
            program.step()?;
        }
        program.end()?;
    }
    Ok(())
}

fn over<B: Backend>(new: impl Fn() -> io::Result<B>, options: &Options<'_>) -> io::Result<()> {
    run(|| new().map(Selector::with_backend), options)
}

const EPOLL: Options<'_> = Options {
    modes: &[Mode::Level, Mode::OneShot, Mode::Edge, Mode::Exclusive],
    calls: &[
        Call::EpollCreate,
        Call::EpollAdd,
        Call::EpollModify,
        Call::EpollDelete,
        Call::EpollWait,
        Call::Eventfd,
        Call::Fstat,
    ],
    waits_fail: false,
};

const POLL: Options<'_> = Options {
    modes: &[Mode::Level, Mode::OneShot],
    calls: &[Call::Poll, Call::Select, Call::GetStatus],
    waits_fail: true,
};

#[test]
fn wait_12_random_programs_whose_calls_fail_over_epoll() -> io::Result<()> {
    over(Epoll::new, &EPOLL)
}

#[test]
fn wait_12_random_programs_whose_calls_fail_over_poll() -> io::Result<()> {
    over(Poll::new, &POLL)
}

#[test]
fn wait_12_random_programs_whose_calls_fail_over_select() -> io::Result<()> {
    over(Select::new, &POLL)
}

#[test]
fn wait_12_random_programs_whose_calls_fail_over_shared_epoll() -> io::Result<()> {
    run(|| Shared::new(Epoll::new()?), &EPOLL)
}

#[test]
fn wait_12_random_programs_whose_calls_fail_over_shared_poll() -> io::Result<()> {
    run(|| Shared::new(Poll::new()?), &POLL)
}

#[cfg(feature = "kqueue")]
mod kqueue {
    use selectors::backend::Kqueue;
    use selectors_testkit::emulated_faults::Step;

    use super::*;
    use crate::injection::ask_for_emulated_faults;

    const KQUEUE: Options<'_> = Options {
        modes: &[Mode::Level, Mode::OneShot, Mode::Edge],
        calls: &[Call::Emulated(Step::Add), Call::Emulated(Step::QueueWait), Call::Fstat],
        waits_fail: true,
    };

    #[test]
    fn wait_12_random_programs_whose_calls_fail() -> io::Result<()> {
        ask_for_emulated_faults();
        over(Kqueue::new, &KQUEUE)
    }

    #[test]
    fn wait_12_random_programs_whose_calls_fail_shared() -> io::Result<()> {
        ask_for_emulated_faults();
        run(|| Shared::new(Kqueue::new()?), &KQUEUE)
    }
}

#[cfg(feature = "devpoll")]
#[test]
fn wait_12_random_programs_whose_calls_fail_over_devpoll() -> io::Result<()> {
    use selectors_testkit::emulated_faults::Step;

    crate::injection::ask_for_emulated_faults();
    let options = Options {
        modes: &[Mode::Level, Mode::OneShot],
        calls: &[Call::Emulated(Step::Write), Call::Emulated(Step::DeviceWait), Call::GetStatus],
        waits_fail: true,
    };
    over(selectors::backend::Devpoll::new, &options)
}
