//! CLOSE: backends that do not notice that a descriptor was closed, or that its number was reused.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc::{dev_t, ino_t};
use nix::sys::stat::SFlag;
use selectors::backend::{RawSource, Registered};
use selectors::{Event, Events, Interest, Mode, Readiness, Token, Watch};

use super::defect::{Answer, Beneath, Defect, Sources, Timeout};
use super::row::{Row, epoll, poll, rows};
use super::variants::{FilesBeside, Reports, file, is_closed, kind};

/// Returns the kernel's error when it unregisters a closed descriptor.
struct RefusesToForgetClosed;

impl Defect for RefusesToForgetClosed {
    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if beneath.is_closed(old.token) {
            return Err(Errno::EBADF.into());
        }
        beneath.unregister(old)
    }
}

/// Leaves an entry behind if its number was reused.
#[derive(Default)]
struct LeavesTheReplaced(BTreeMap<Token, Option<(dev_t, ino_t)>>);

impl Defect for LeavesTheReplaced {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        self.0.insert(new.token, file(new.fd));
        beneath.register(new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        let now = file(old.fd);
        if now.is_some() && self.0.get(&old.token).is_some_and(|&then| then != now) {
            return Ok(());
        }
        beneath.unregister(old)
    }
}

/// Adds to the interest that a number had when it was closed.
#[derive(Default)]
struct InheritsInterests(BTreeMap<RawSource, Interest>);

impl Defect for InheritsInterests {
    fn register(&mut self, beneath: &mut Beneath, mut new: Registered) -> Answer {
        new.watch.interest |= self.0.remove(&new.fd).unwrap_or(Interest::empty());
        beneath.register(new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if beneath.is_closed(old.token) {
            self.0.insert(old.fd, beneath.watch(old.token)?.interest);
        }
        beneath.unregister(old)
    }
}

/// Keeps the kernel object when the kernel reports a ghost.
struct KeepsGhosts;

impl Defect for KeepsGhosts {
    fn rebuild(&mut self, _: &mut Beneath, _: Sources<'_>, _: &mut Events) -> Answer {
        Ok(())
    }
}

/// Recreates the kernel object without some of the sources.
struct RebuildsWithout(Mode);

impl Defect for RebuildsWithout {
    fn rebuild(&mut self, beneath: &mut Beneath, sources: Sources<'_>, _: &mut Events) -> Answer {
        let mut others = sources.filter(|source| source.watch.mode != self.0);
        beneath.backend.rebuild(&mut others, &mut Events::new())
    }
}

/// Recreates the kernel object so that other programs inherit it.
struct RebuildsInheritable;

impl Defect for RebuildsInheritable {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        beneath.backend.rebuild(sources, events)?;
        if let Some(own) = beneath.backend.descriptor() {
            fcntl(own, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    }
}

/// Stores the number in the kernel, and reports the token that this number has now.
#[derive(Default)]
struct KnowsByNumber {
    cookies: BTreeMap<Token, RawSource>,
    current: BTreeMap<RawSource, Token>,
}

impl Defect for KnowsByNumber {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        self.cookies.insert(new.token, new.fd);
        self.current.insert(new.fd, new.token);
        Ok(())
    }

    fn report(&mut self, _: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let current = |event: Event| {
            let number = self.cookies.get(&event.token());
            let token = number.and_then(|number| self.current.get(number));
            Event::new(*token.unwrap_or(&event.token()), event.readiness())
        };
        found.into_iter().map(current).collect()
    }
}

/// Does not report a closed descriptor, which the kernel keeps reporting.
fn swallows_closed(readiness: Readiness, source: Registered) -> Readiness {
    if is_closed(&source) { Readiness::empty() } else { readiness }
}

/// Reports a closed descriptor as readable.
fn closed_is_readable(readiness: Readiness, source: Registered) -> Readiness {
    if is_closed(&source) { Readiness::READ } else { readiness }
}

/// Reports a descriptor that was closed since the last wait as ready, and as an ERROR only from the
/// next wait on.
#[derive(Default)]
struct ClosedIsReadyOnce(BTreeSet<Token>);

impl Defect for ClosedIsReadyOnce {
    fn report(&mut self, beneath: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let report = |event: Event| {
            let token = event.token();
            match beneath.source(token).filter(is_closed) {
                Some(source) if self.0.insert(token) => {
                    Event::new(token, source.watch.interest.into())
                }
                _ => event,
            }
        };
        found.into_iter().map(report).collect()
    }
}

/// Fails if one descriptor is closed, as select(2) does.
struct FailsForOne;

impl Defect for FailsForOne {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        if beneath.sources.values().any(is_closed) {
            return Err(Errno::EBADF.into());
        }
        beneath.wait(events, timeout)
    }
}

/// If there are closed descriptors, reports only those.
struct LooksAtClosedAlone;

impl Defect for LooksAtClosedAlone {
    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        if beneath.sources.values().any(is_closed) {
            found.retain(|event| beneath.is_closed(event.token()));
        }
        found
    }
}

/// Reports a closed descriptor in every wait, whatever its mode.
struct RepeatsClosed;

impl Defect for RepeatsClosed {
    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        for closed in beneath.sources.values().filter(|source| is_closed(source)) {
            if found.iter().all(|event| event.token() != closed.token) {
                found.push(Event::new(closed.token, Readiness::ERROR));
            }
        }
        found
    }
}

/// Recreates the kernel object without the always-ready files.
struct RebuildsWithoutFiles;

impl Defect for RebuildsWithoutFiles {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        beneath.backend.rebuild(sources, events)?;
        for file in beneath.sources.values().filter(|source| kind(source.fd) == SFlag::S_IFREG) {
            let _ = beneath.backend.unregister(file.fd, file.token, file.watch);
        }
        Ok(())
    }
}

/// Recreates the kernel object with fired one-shot sources armed.
#[derive(Default)]
struct RebuildsArmed(BTreeSet<Token>);

impl Defect for RebuildsArmed {
    fn asks(&mut self, new: Registered) -> Watch {
        self.0.remove(&new.token);
        new.watch
    }

    fn report(&mut self, beneath: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let tokens = found.iter().map(Event::token);
        let one_shot = |token: &Token| beneath.watch(*token).is_ok_and(|w| w.mode == Mode::OneShot);
        self.0.extend(tokens.filter(one_shot));
        found
    }

    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        beneath.backend.rebuild(sources, events)?;
        let fired: Vec<_> = self.0.iter().filter_map(|&token| beneath.source(token)).collect();
        for source in fired {
            let _ = beneath.register(source);
        }
        Ok(())
    }
}

rows! {
    "CLOSE-1" closed_not_forgotten "answers EBADF when a closed source is unregistered"
        poll RefusesToForgetClosed =>
            reg_8_closed_descriptors_are_not_its_own
            close_4_a_new_kernel_object_skips_closed_sources
            close_3_a_reused_number_has_not_fired
            mod_4_map_and_kernel_agree_after_a_close
            close_1_unregister_after_close
            close_3_a_reused_number_inherits_no_interest
            close_3_a_number_is_reused_between_two_waits
            close_4_a_duplicate_leaves_no_ghost
            close_4_other_sources_keep_their_state
            close_4_a_ghost_does_not_make_it_spin
            close_4_a_forked_child_leaves_no_ghost
            close_5_a_closed_descriptor_does_not_make_it_spin
            reg_12_no_call_leaks
            close_4_a_new_kernel_object_keeps_all_state
            wait_12_sources_are_served_without_free_descriptors
            close_5_random_programs_that_close
            close_4_a_new_kernel_object_watches_every_source;
    "CLOSE-2" replaced_left "leaves an entry whose number was reused"
        poll LeavesTheReplaced::default() =>
            close_2_unregister_after_the_number_was_reused;
    "CLOSE-3" interest_inherited "adds to the interest of a closed number"
        poll InheritsInterests::default() =>
            close_3_a_reused_number_inherits_no_interest;
    "CLOSE-4" ghosts "does not remove ghosts"
        epoll KeepsGhosts =>
            ready_13_a_selector_can_be_watched_after_a_rebuild
            close_4_a_new_kernel_object_skips_closed_sources
            close_4_a_ghost_does_not_make_it_spin
            close_4_a_new_kernel_object_watches_every_source;
    "CLOSE-4" known_by_number "lets the kernel carry the number"
        epoll KnowsByNumber::default() =>
            close_3_a_reused_number_has_not_fired
            close_4_a_forked_child_leaves_no_ghost;
    "CLOSE-4" edges_forgotten "recreates the kernel object without edge-triggered sources"
        epoll RebuildsWithout(Mode::Edge) =>
            close_4_a_duplicate_leaves_no_ghost
            close_4_a_new_kernel_object_keeps_all_state
            close_5_random_programs_that_close
            close_4_a_new_kernel_object_keeps_the_edges
            close_4_a_new_kernel_object_watches_every_source;
    "CLOSE-4" level_forgotten "recreates the kernel object without level-triggered sources"
        epoll RebuildsWithout(Mode::Level) =>
            ready_13_a_selector_can_be_watched_after_a_rebuild
            close_4_a_new_kernel_object_skips_closed_sources
            close_4_a_duplicate_leaves_no_ghost
            close_5_random_programs_that_close
            wait_9_a_failed_rebuild_loses_nothing
            close_4_a_new_kernel_object_keeps_the_edges
            close_4_a_new_kernel_object_watches_every_source;
    "CLOSE-4" rebuilt_inheritable "recreates the kernel object so that other programs inherit it"
        epoll RebuildsInheritable =>
            close_4_a_new_kernel_object_keeps_all_state;
    "CLOSE-4" files_forgotten "recreates the kernel object without regular files"
        epoll RebuildsWithoutFiles =>
            close_4_a_new_kernel_object_keeps_all_state;
    "CLOSE-4" fired_armed "recreates the kernel object with fired sources armed"
        epoll RebuildsArmed::default() =>
            close_4_a_new_kernel_object_keeps_all_state
            wait_9_a_failed_rebuild_loses_nothing;
    "CLOSE-5" closed_swallowed "swallows POLLNVAL"
        poll Reports(swallows_closed) =>
            close_4_a_new_kernel_object_skips_closed_sources
            close_5_a_closed_descriptor_does_not_make_it_spin
            wait_11_waits_with_closed_sources_sleep;
    "CLOSE-5" closed_readable "reports POLLNVAL as READ"
        poll Reports(closed_is_readable) =>
            close_5_other_sources_are_still_reported
            close_5_a_closed_descriptor_does_not_make_it_spin
            close_5_another_thread_closes_during_waits
            close_5_a_source_closed_during_a_wait_is_not_ready;
    "CLOSE-5" closed_ready_once "reports a source closed during a wait as ready"
        poll ClosedIsReadyOnce::default() =>
            close_5_other_sources_are_still_reported
            close_5_a_closed_descriptor_does_not_make_it_spin
            close_5_another_thread_closes_during_waits
            close_5_a_source_closed_during_a_wait_is_not_ready;
    "CLOSE-5" fails_for_one "fails the whole wait because of one closed descriptor"
        poll FailsForOne =>
            close_4_a_new_kernel_object_skips_closed_sources
            mode_2_a_fired_one_shot_that_is_closed_stays_silent
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            close_5_other_sources_are_still_reported
            close_5_a_closed_descriptor_does_not_make_it_spin
            close_5_a_closed_one_shot_is_reported_once
            wait_11_waits_with_closed_sources_sleep
            close_5_another_thread_closes_during_waits
            close_5_random_programs_that_close;
    "CLOSE-5" closed_alone "reports no other source if a descriptor is closed"
        poll LooksAtClosedAlone =>
            close_4_a_new_kernel_object_skips_closed_sources
            close_5_other_sources_are_still_reported
            close_5_another_thread_closes_during_waits
            close_5_a_source_closed_during_a_wait_is_not_ready
            close_5_random_programs_that_close;
    "CLOSE-5" closed_repeated "reports a closed one-shot source each time"
        poll RepeatsClosed =>
            mode_2_a_fired_one_shot_that_is_closed_stays_silent
            close_5_a_closed_one_shot_is_reported_once
            wait_11_waits_with_closed_sources_sleep;
    "CLOSE-5" files_by_number "tracks files by number, without noticing that it was reused"
        poll FilesBeside::new(&[SFlag::S_IFREG], true) =>
            close_5_a_reused_number_does_not_report_the_old_file;
}
