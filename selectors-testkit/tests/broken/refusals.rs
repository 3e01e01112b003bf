//! REG-6, REG-7, REG-8: backends that accept what they must refuse, or refuse it incorrectly.

use std::collections::BTreeSet;
use std::io;

use nix::errno::Errno;
use selectors::backend::{BorrowedSource, Registered};
use selectors::{Event, Events, Readiness, Token};
use selectors_testkit::fixtures::is_open;

use super::defect::{Answer, Beneath, Defect, Timeout};
use super::row::{RANDOM, Row, deferred, epoll, poll, rows};
use super::variants::{Declares, Reports, Takes, is_closed};

/// As poll(2) does.
fn closed(_: Registered, error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EBADF as i32)
}

/// An open descriptor that cannot be watched.
fn names(source: Registered, _: &io::Error) -> bool {
    is_open(source.fd)
}

/// Keeps watching for one direction of a refused registration.
#[derive(Default)]
struct LeavesHalf(Vec<Registered>);

impl Defect for LeavesHalf {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new).inspect_err(|_| self.0.push(new))
    }

    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        let open = self.0.iter().filter(|left| is_open(left.fd));
        found.extend(open.map(|left| Event::new(left.token, Readiness::WRITE)));
        found
    }
}

/// Has no descriptor, although it declares that it can be watched.
struct HasNoDescriptor;

impl Defect for HasNoDescriptor {
    fn descriptor<'a>(&'a self, _: &'a Beneath) -> Option<BorrowedSource<'a>> {
        None
    }
}

/// Drops the changes since the last wait when one is refused.
#[derive(Default)]
struct UndoesWithARefusal(Vec<(Registered, Option<Registered>)>);

impl Defect for UndoesWithARefusal {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let answer = beneath.register(new);
        if answer.is_ok() {
            self.0.push((new, None));
            return answer;
        }
        for (new, old) in self.0.drain(..).rev() {
            let _ = match old {
                Some(old) => beneath.modify(old),
                None => beneath.backend.unregister(new.fd, new.token, new.watch),
            };
        }
        answer
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let old = beneath.source(new.token);
        beneath.modify(new)?;
        self.0.push((new, old));
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        self.0.retain(|(new, _)| new.token != old.token);
        // The registration may have been undone.
        match beneath.unregister(old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            answer => answer,
        }
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.0.clear();
        beneath.wait(events, timeout)
    }
}

/// Reports a closed source once.
#[derive(Default)]
struct RefusesOnce(BTreeSet<Token>);

impl Defect for RefusesOnce {
    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        found.retain(|event| {
            let closed = beneath.source(event.token()).is_some_and(|source| is_closed(&source));
            !closed || self.0.insert(event.token())
        });
        found
    }
}

rows! {
    "REG-6" closed_taken "accepts a closed descriptor"
        poll Takes::what(closed) =>
            wait_11_idle_waits_sleep
            reg_6_a_closed_descriptor_is_refused
            reg_7_a_refusal_returns_file_object_and_data
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_an_o_path_descriptor_is_refused
            reg_7_a_refusal_undoes_no_other_change;
    "REG-6" deferral_declared "declares deferred changes, and applies them at once"
        poll Declares(|c| c.deferred = true) =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_a_refusal_returns_file_object_and_data
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_an_o_path_descriptor_is_refused;
    "REG-6" deferral_undeclared "defers its changes without declaring it"
        deferred Declares(|c| c.deferred = false) =>
            wait_11_idle_waits_sleep
            reg_6_a_closed_descriptor_is_refused
            reg_7_a_refusal_returns_file_object_and_data
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_an_o_path_descriptor_is_refused;
    "REG-6" deferred_refusal_once "defers its changes, and reports a refusal once"
        deferred RefusesOnce::default() =>
            close_4_a_new_kernel_object_skips_closed_sources
            reg_6_a_closed_descriptor_is_refused;
    "REG-6" deferred_refusal_lost "defers its changes, and loses refusals"
        deferred Reports(|r, _| r - Readiness::ERROR) =>
            ready_1_a_datagram_socket_recovers
            close_4_a_new_kernel_object_skips_closed_sources
            reg_6_a_closed_descriptor_is_refused
            reg_7_a_refusal_returns_file_object_and_data
            reg_7_a_refusal_leaves_nothing_behind
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer
            ready_7_pipe_reader_gone_wakes_full_writer
            wait_11_waits_with_closed_sources_sleep
            reg_6_an_o_path_descriptor_is_refused
            ready_4_an_error_of_a_datagram_socket_wakes
            reg_7_a_refusal_undoes_no_other_change
            [RANDOM];
    "REG-6" names_taken "accepts a descriptor opened with O_PATH"
        poll Takes::what(names) =>
            reg_6_an_o_path_descriptor_is_refused;
    "REG-7" undoes "drops the changes since the last wait when one is refused"
        poll UndoesWithARefusal::default() =>
            reg_7_a_refusal_undoes_no_other_change;
    "REG-7" half_left "keeps one direction of a refused registration"
        poll LeavesHalf::default() =>
            reg_7_a_refusal_leaves_nothing_behind;
    "REG-8" nesting_undeclared "has a descriptor, and does not declare nesting"
        epoll Declares(|c| c.nesting = false) =>
            reg_8_a_selector_does_not_watch_itself
            ready_13_a_selector_can_be_watched;
    "REG-8" no_descriptor "declares nesting, and has no descriptor"
        epoll HasNoDescriptor =>
            reg_8_a_selector_does_not_watch_itself
            ready_13_a_selector_can_be_watched;
}
