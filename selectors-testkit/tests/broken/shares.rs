//! PROC, REG-8, REG-9, REG-12: backends that share state, or change state that is not theirs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, ThreadId};

use nix::sys::wait::{WaitPidFlag, waitpid};
use selectors::backend::{RawSource, Registered, Trigger};
use selectors::{Event, Events, Interest, Mode, Token, Watch};
use selectors_testkit::fixtures::{drain, pipe, send, with_raw};
use socket2::SockRef;

use super::defect::{Answer, Beneath, Defect, Sources, Timeout};
use super::leaks::leak;
use super::row::{Row, epoll, poll, rows};

type Pipe = (OwnedFd, OwnedFd);

thread_local! {
    static PIPE: RefCell<Option<Arc<Pipe>>> = const { RefCell::new(None) };
}

/// The pipe of all selectors of this thread.
fn of_this_thread() -> io::Result<Arc<Pipe>> {
    PIPE.with_borrow_mut(|slot| match slot {
        Some(pipe) => Ok(Arc::clone(pipe)),
        None => Ok(Arc::clone(slot.insert(Arc::new(pipe()?)))),
    })
}

/// Its wakers write to a pipe.
#[derive(Default)]
struct WokenByAPipe {
    /// Whether it shares the pipe with the other selectors of its thread; otherwise a wake raises SIGPIPE
    /// once it is gone.
    shares: bool,
    reader: RefCell<Option<(Arc<Pipe>, RawSource, Token)>>,
    is_watched: bool,
}

impl Defect for WokenByAPipe {
    fn owns(&self, beneath: &Beneath, fd: RawSource) -> bool {
        let reader = self.reader.borrow();
        reader.as_ref().is_some_and(|(_, own, _)| *own == fd) || beneath.backend.owns(fd)
    }

    fn waker(&self, _: &Beneath, token: Token) -> io::Result<Option<Trigger>> {
        let (pipe, shared) = if self.shares {
            let pipe = of_this_thread()?;
            (Arc::clone(&pipe), Some(pipe))
        } else {
            (Arc::new(pipe()?), None)
        };
        let writer = pipe.1.try_clone()?;
        let number = pipe.0.as_raw_fd();
        *self.reader.borrow_mut() = Some((pipe, number, token));
        Ok(Some(Box::new(move || {
            let _alive = &shared;
            let _ = send(&writer, b"!");
            Ok(())
        })))
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let before = events.len();
        let reader = self.reader.get_mut();
        if let Some((_, number, token)) = reader.as_ref().filter(|_| !self.is_watched) {
            let watch = Watch::new(Interest::READ, Mode::Level);
            beneath.register(Registered::new(*number, *token, watch))?;
            self.is_watched = true;
        }
        beneath.wait(events, timeout)?;
        if let Some((pipe, _, token)) = reader {
            if events.iter().skip(before).any(|event| event.token() == *token) {
                drain(&pipe.0)?;
            }
        }
        Ok(())
    }

    fn after_fork(&mut self, beneath: &mut Beneath) -> Answer {
        PIPE.take();
        (*self.reader.get_mut(), self.is_watched) = (None, false);
        beneath.after_fork()
    }
}

/// Leaks a descriptor if it is dropped on another thread than it was created on.
struct FreesAtHome {
    home: ThreadId,
    own: Option<OwnedFd>,
}

impl FreesAtHome {
    fn new() -> Self {
        Self { home: thread::current().id(), own: pipe().ok().map(|(reader, _)| reader) }
    }
}

impl Defect for FreesAtHome {
    fn close(&mut self, _: &mut Beneath) {
        if thread::current().id() != self.home {
            self.own.take().into_iter().for_each(leak);
        }
    }
}

/// Calls waitpid(2) for any child.
struct Reaps;

impl Defect for Reaps {
    fn report(&mut self, _: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let _ = waitpid(None, Some(WaitPidFlag::WNOHANG));
        found
    }
}

/// Sets an option of the sockets that it watches.
struct SetsAnOption;

impl Defect for SetsAnOption {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        let _ = with_raw(new.fd, |fd| SockRef::from(&fd).set_keepalive(true));
        Ok(())
    }
}

/// Its `owns` still knows closed descriptors.
#[derive(Default)]
struct OwnsTheClosed(BTreeSet<RawSource>);

impl Defect for OwnsTheClosed {
    fn owns(&self, beneath: &Beneath, fd: RawSource) -> bool {
        self.0.contains(&fd) || beneath.backend.owns(fd)
    }

    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        self.0.extend((0..4_096).filter(|fd| beneath.backend.owns(*fd)));
        beneath.backend.rebuild(sources, events)
    }
}

/// Keeps a record of each wait.
#[derive(Default)]
struct KeepsRecords(Vec<[u8; 64]>);

impl Defect for KeepsRecords {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.0.push([1; 64]);
        beneath.wait(events, timeout)
    }
}

rows! {
    "PROC-1" raises_signals "raises SIGPIPE if a dropped selector is woken"
        poll WokenByAPipe::default() =>
            proc_1_no_wake_raises_a_signal;
    "PROC-2" wakes_shared "shares the channel of its wakers with the selectors of its thread"
        poll WokenByAPipe { shares: true, ..WokenByAPipe::default() } =>
            proc_2_a_wake_is_for_one_selector;
    "PROC-6" frees_at_home "leaks a descriptor if it is dropped on another thread"
        poll FreesAtHome::new() =>
            proc_6_a_selector_outlives_its_thread;
    "REG-12" reaps "calls waitpid(2) for any child"
        poll Reaps =>
            reg_12_child_processes_are_not_reaped;
    "REG-9" sets_an_option "sets a socket option of its sources"
        poll SetsAnOption =>
            reg_9_files_do_not_change;
    "REG-8" owns_the_closed "owns descriptors that it has closed"
        epoll OwnsTheClosed::default() =>
            reg_8_closed_descriptors_are_not_its_own;
    "REG-12" keeps_records "keeps a record of each wait"
        poll KeepsRecords::default() =>
            reg_12_no_call_leaks_memory;
}
