//! REG: backends that lose track of sources, or keep files open.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::SFlag;
use selectors::backend::{BorrowedSource, RawSource, Registered};
use selectors::{Event, Events, Readiness, Token};
use selectors_testkit::fixtures::{is_open, pipe, with_raw};
use socket2::SockRef;

use super::defect::{Answer, Beneath, Defect, Timeout};
use super::row::{FILES, RANDOM, Row, deferred, epoll, poll, rows};
use super::variants::{Declares, KeepsBits, Reports, Takes, file, kind};

/// Takes sources for the same when they are the same open file.
struct KnowsFilesByInode;

impl Defect for KnowsFilesByInode {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        // Only sockets have an inode each.
        let this = file(new.fd).filter(|_| kind(new.fd) == SFlag::S_IFSOCK);
        if this.is_some() && beneath.sources.values().any(|other| file(other.fd) == this) {
            return Err(Errno::EEXIST.into());
        }
        beneath.register(new)
    }
}

thread_local! {
    /// Who watches a descriptor, of all backends of a thread.
    static WATCHED: RefCell<BTreeMap<RawSource, usize>> = const { RefCell::new(BTreeMap::new()) };
}

/// Has one table for all backends.
struct SharesItsTable(usize);

impl SharesItsTable {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Defect for SharesItsTable {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let holder = WATCHED.with_borrow(|watched| watched.get(&new.fd).copied());
        if holder.is_some_and(|holder| holder != self.0) {
            return Err(Errno::EEXIST.into());
        }
        beneath.register(new)?;
        WATCHED.with_borrow_mut(|watched| watched.insert(new.fd, self.0));
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        WATCHED.with_borrow_mut(|watched| watched.remove(&old.fd));
        beneath.unregister(old)
    }

    fn close(&mut self, _: &mut Beneath) {
        WATCHED.with_borrow_mut(|watched| watched.retain(|_, holder| *holder != self.0));
    }
}

/// Changes every duplicate of what is modified.
struct ChangesTwins;

impl Defect for ChangesTwins {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.modify(new)?;
        let Some(this) = file(new.fd) else { return Ok(()) };
        let is_twin = |other: &Registered| {
            other.token != new.token
                && other.watch.mode == new.watch.mode
                && file(other.fd) == Some(this)
        };
        let twins: Vec<_> = beneath.sources.values().copied().filter(is_twin).collect();
        twins
            .into_iter()
            .try_for_each(|twin| beneath.modify(Registered::new(twin.fd, twin.token, new.watch)))
    }
}

/// Takes 0 for no descriptor when it looks for what has moved.
struct LosesZero;

impl Defect for LosesZero {
    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        let zero = beneath.sources.values().copied().find(|other| other.fd == 0);
        if let Some(zero) = zero.filter(|zero| zero.token != old.token) {
            beneath.unregister(zero)?;
        }
        beneath.unregister(old)
    }
}

/// As poll(2) does.
fn closed(_: Registered, error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EBADF as i32)
}

/// What is open, and cannot be watched.
fn names(source: Registered, _: &io::Error) -> bool {
    is_open(source.fd)
}

/// Keeps watching for one direction of what it refused to watch.
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

/// Removes from the middle of its array, and leaves the place of what moved there as it was.
#[derive(Default)]
struct LosesItsPlace {
    array: Vec<Registered>,
    places: BTreeMap<RawSource, usize>,
}

impl Defect for LosesItsPlace {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        self.places.insert(new.fd, self.array.len());
        self.array.push(new);
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        let place = self.places.remove(&old.fd).filter(|&place| place < self.array.len());
        place.map_or(Ok(()), |place| beneath.unregister(self.array.swap_remove(place)))
    }
}

/// Goes on watching what was unregistered, and says nothing of it.
#[derive(Default)]
struct HidesTheUnregistered(BTreeMap<RawSource, Registered>);

impl HidesTheUnregistered {
    fn give_up(&mut self, beneath: &mut Beneath, given_up: impl Fn(RawSource) -> bool) {
        self.0.retain(|&fd, &mut old| !given_up(fd) || beneath.unregister(old).is_err());
    }
}

impl Defect for HidesTheUnregistered {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        self.give_up(beneath, |fd| fd == new.fd);
        beneath.register(new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        // As long as it is open, and the same file.
        if !is_open(old.fd) {
            return beneath.unregister(old);
        }
        self.0.insert(old.fd, old);
        Ok(())
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.give_up(beneath, |fd| !is_open(fd));
        let mut found = beneath.found(timeout)?;
        found.retain(|event| self.0.values().all(|hidden| hidden.token != event.token()));
        events.extend(found);
        Ok(())
    }
}

/// Holds the open file until the next wait.
#[derive(Default)]
struct HoldsTheUnregistered {
    held: BTreeMap<Token, OwnedFd>,
    gone: Vec<OwnedFd>,
}

impl Defect for HoldsTheUnregistered {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        self.held.insert(new.token, duplicate(new)?);
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        beneath.unregister(old)?;
        self.gone.extend(self.held.remove(&old.token));
        Ok(())
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.gone.clear();
        beneath.wait(events, timeout)
    }
}

/// Makes what it watches non-blocking.
struct SetsNonblocking;

impl Defect for SetsNonblocking {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        with_raw(new.fd, |source| {
            let flags = OFlag::from_bits_retain(fcntl(source, FcntlArg::F_GETFL)?);
            fcntl(source, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
        })?;
        Ok(())
    }
}

/// Reports the token with which a descriptor was registered first.
#[derive(Default)]
struct ReportsOldTokens(BTreeMap<RawSource, Token>);

impl Defect for ReportsOldTokens {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        self.0.entry(new.fd).or_insert(new.token);
        Ok(())
    }

    fn report(&mut self, beneath: &mut Beneath, found: Vec<Event>) -> Vec<Event> {
        let first = |event: Event| {
            let source = beneath.source(event.token());
            let first = source.and_then(|source| self.0.get(&source.fd).copied());
            Event::new(first.unwrap_or(event.token()), event.readiness())
        };
        found.into_iter().map(first).collect()
    }
}

pub(crate) fn duplicate(source: Registered) -> io::Result<OwnedFd> {
    with_raw(source.fd, |source| source.try_clone_to_owned())
}

/// Closes a descriptor of its own when the last source leaves, and again when it is dropped. Only
/// where a file, a pipe and a socket were watched at once: it could be anybody's by then.
#[derive(Default)]
struct ClosesTwice {
    own: Option<RawFd>,
    registered: usize,
}

impl Defect for ClosesTwice {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        let kinds: BTreeSet<_> = beneath.sources.values().map(|source| kind(source.fd)).collect();
        let all = [SFlag::S_IFREG, SFlag::S_IFIFO, SFlag::S_IFSOCK];
        self.registered += 1;
        if self.registered == 4 && all.iter().all(|kind| kinds.contains(kind)) {
            self.own = Some(pipe()?.0.into_raw_fd());
        }
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        beneath.unregister(old)?;
        // What is left is the waker, and nothing else was ever there.
        if beneath.sources.len() == 1 && self.registered == 4 {
            self.own.iter().try_for_each(|&own| nix::unistd::close(own))?;
        }
        Ok(())
    }

    fn close(&mut self, _: &mut Beneath) {
        let _ = self.own.map(nix::unistd::close);
    }
}

/// Shuts down what it watches when it is dropped.
struct ShutsDown;

impl Defect for ShutsDown {
    fn close(&mut self, beneath: &mut Beneath) {
        for source in beneath.sources.values() {
            let _ = with_raw(source.fd, |fd| SockRef::from(&fd).shutdown(Shutdown::Both));
        }
    }
}

/// Lets other programs inherit a descriptor.
fn let_inherit(fd: Option<BorrowedSource<'_>>) {
    let _ = fd.map(|fd| fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())));
}

/// Opens a descriptor that other programs inherit.
struct Inheritable(#[expect(dead_code, reason = "it is open")] Option<OwnedFd>);

impl Inheritable {
    fn new() -> Self {
        let own = pipe().ok().map(|(reader, _)| reader);
        let_inherit(own.as_ref().map(AsFd::as_fd));
        Self(own)
    }
}

impl Defect for Inheritable {}

/// Makes its own descriptor one that other programs inherit.
struct InheritableItself;

impl Defect for InheritableItself {
    fn descriptor<'a>(&'a self, beneath: &'a Beneath) -> Option<BorrowedSource<'a>> {
        let own = beneath.backend.descriptor();
        let_inherit(own);
        own
    }
}

/// Has no descriptor, although it declares that it can be watched.
struct HasNoDescriptor;

impl Defect for HasNoDescriptor {
    fn descriptor<'a>(&'a self, _: &'a Beneath) -> Option<BorrowedSource<'a>> {
        None
    }
}

/// Unregisters every duplicate of what is unregistered.
struct RemovesTwins;

impl Defect for RemovesTwins {
    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        let this = file(old.fd).filter(|_| kind(old.fd) == SFlag::S_IFSOCK);
        beneath.unregister(old)?;
        let is_twin = |other: &&Registered| this.is_some() && file(other.fd) == this;
        for twin in beneath.sources.values().filter(is_twin) {
            let _ = beneath.backend.unregister(twin.fd, twin.token, twin.watch);
        }
        Ok(())
    }
}

/// Holds an open file from a change until the next wait.
#[derive(Default)]
struct HoldsTheModified(Vec<OwnedFd>);

impl Defect for HoldsTheModified {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.modify(new)?;
        self.0.extend(duplicate(new));
        Ok(())
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        self.0.clear();
        beneath.wait(events, timeout)
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
        // It may be undone.
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

rows! {
    "REG-5" duplicate_refused "takes a duplicate for the file it knows"
        poll KnowsFilesByInode =>
            reg_5_a_duplicate_is_a_source_of_its_own
            reg_5_a_duplicate_changes_without_its_twin
            wait_7_one_select_reports_all
            close_5_another_thread_closes_during_waits
            wait_7_every_ready_source_gets_its_turn
            reg_12_no_wait_leaks
            proc_2_no_wake_is_lost_beside_anything
            mod_1_every_change_counts
            reg_9_many_leave_between_two_waits
            mod_1_many_changes_between_two_waits
            wait_7_however_little_room_there_is
            mode_6_no_arming_is_the_last
            close_4_a_new_kernel_object_watches_every_source
            ready_1_no_wait_is_the_one_that_reports_idle_sources
            [RANDOM];
    "REG-5" twins "changes duplicates together"
        poll ChangesTwins =>
            reg_5_a_duplicate_changes_without_its_twin
            mode_6_no_arming_is_the_last
            [RANDOM];
    "REG-5" table_shared "has one table for all backends"
        poll SharesItsTable::new() =>
            reg_5_one_file_in_two_selectors
            mode_2_one_shot_is_silent_about_errors_too
            wait_1_zero_does_not_sleep
            wait_4_no_longer_than_was_asked
            wait_6_on_request_a_signal_ends_it
            reg_12_the_process_is_as_it_was
            wait_6_a_blocked_signal_stays_blocked
            reg_5_one_file_in_many_selectors
            wait_1_who_has_something_to_report_does_not_sleep;
    "REG-5" twins_removed "unregisters duplicates together"
        poll RemovesTwins =>
            reg_5_a_duplicate_is_a_source_of_its_own
            reg_5_a_duplicate_changes_without_its_twin
            reg_9_many_leave_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
    "REG-6" closed_taken "takes a closed descriptor in"
        poll Takes::what(closed) =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_file_object_and_data_come_back
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_what_only_names_a_file_is_refused
            reg_7_a_refusal_undoes_no_other_change;
    "REG-6" deferral_declared "declares deferred changes, and makes them at once"
        poll Declares(|c| c.deferred = true) =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_file_object_and_data_come_back
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_what_only_names_a_file_is_refused;
    "REG-6" deferral_undeclared "defers its changes, and does not say so"
        deferred Declares(|c| c.deferred = false) =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_file_object_and_data_come_back
            reg_7_a_refusal_leaves_nothing_behind
            reg_6_what_only_names_a_file_is_refused;
    "REG-6" deferred_refusal_lost "defers its changes, and loses refusals"
        deferred Reports(|r, _| r - Readiness::ERROR) =>
            reg_6_a_closed_descriptor_is_refused
            reg_7_file_object_and_data_come_back
            reg_7_a_refusal_leaves_nothing_behind
            close_5_a_closed_descriptor_does_not_make_it_spin
            ready_5_a_refused_connect_wakes
            ready_6_a_reset_peer
            ready_7_pipe_reader_gone_wakes_full_writer
            wait_11_nor_who_has_closed_sources
            reg_6_what_only_names_a_file_is_refused
            ready_4_an_error_of_a_datagram_socket_wakes
            reg_7_a_refusal_undoes_no_other_change
            [RANDOM];
    "REG-6" names_taken "takes a descriptor in that only names a file"
        poll Takes::what(names) =>
            reg_6_what_only_names_a_file_is_refused;
    "REG-7" undoes "drops the changes since the last wait when one is refused"
        poll UndoesWithARefusal::default() =>
            reg_7_a_refusal_undoes_no_other_change;
    "REG-7" half_left "leaves half of what it refused"
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
    "REG-9" zero_lost "loses descriptor 0 when another source leaves"
        poll LosesZero =>
            reg_9_descriptor_zero_stays_when_another_leaves
            wait_8_the_lowest_numbers;
    "REG-9" place_lost "forgets the wrong source after a removal"
        poll LosesItsPlace::default() =>
            reg_9_the_backend_forgets_what_was_unregistered
            reg_9_what_came_and_went_between_two_waits
            wait_8_the_lowest_numbers
            reg_9_many_leave_between_two_waits
            [RANDOM];
    "REG-9" unregistered_hidden "hides what was unregistered, and lets it end waits"
        poll HidesTheUnregistered::default() =>
            reg_9_what_was_unregistered_does_not_make_it_spin
            wait_11_who_has_nothing_to_report_sleeps
            reg_2_the_kernel_does_not_watch_what_is_parked
            [FILES];
    "REG-9" held "holds the open file until the next wait"
        poll HoldsTheUnregistered::default() =>
            reg_9_its_peer_sees_the_end_at_once;
    "REG-9" held_modified "holds an open file that is modified until the next wait"
        poll HoldsTheModified::default() =>
            reg_9_its_peer_sees_the_end_at_once;
    "REG-9" nonblocking "makes its sources non-blocking"
        poll SetsNonblocking =>
            reg_9_flags_are_as_they_were
            reg_9_files_are_as_they_were;
    "REG-10" old_token "reports the token that a descriptor had first"
        poll ReportsOldTokens::default() =>
            reg_9_what_came_and_went_between_two_waits
            reg_10_no_token_comes_twice
            close_3_a_reused_number_inherits_no_interest
            close_3_a_number_changes_hands_between_two_waits
            close_4_a_duplicate_keeps_no_ghost
            mode_2_a_fired_one_shot_can_be_unregistered
            proc_2_a_wake_hides_no_event
            wait_10_an_unregistered_source_has_no_key
            reg_10_every_bit_of_a_token_counts
            wait_8_the_lowest_numbers
            ready_12_every_kind_of_file_behaves_as_with_poll
            proc_2_no_wake_is_lost_beside_anything
            reg_9_no_registration_is_the_last
            ready_4_every_state_of_a_socket
            reg_9_many_leave_between_two_waits
            [FILES RANDOM];
    "REG-10" eight_bits "keeps eight bits of a generation"
        poll KeepsBits(0xffff_ffff_0000_00ff) =>
            reg_10_no_token_comes_twice
            reg_10_every_bit_of_a_token_counts
            reg_9_no_registration_is_the_last;
    "REG-12" shut_down "shuts its sources down when it is dropped"
        poll ShutsDown =>
            reg_12_closing_hands_everything_back
            ready_4_only_what_was_asked_for
            ready_6_a_half_closed_peer
            wait_2_without_a_timeout_a_signal_ends_it
            proc_4_a_child_is_told_that_it_is_one
            proc_4_a_child_goes_on_by_itself
            proc_4_a_forked_copy_changes_nothing
            wait_8_the_lowest_numbers
            ready_4_every_state_of_a_socket;
    "REG-12" closes_twice "closes a descriptor twice"
        poll ClosesTwice::default() =>
            reg_12_nothing_is_closed_twice;
    "REG-13" inheritable "opens a descriptor that is not close-on-exec"
        poll Inheritable::new() =>
            reg_13_descriptors_are_close_on_exec;
    "REG-13" inheritable_itself "its own descriptor is not close-on-exec"
        epoll InheritableItself =>
            reg_13_descriptors_are_close_on_exec
            close_4_a_new_kernel_object_watches_all_as_before;
}
