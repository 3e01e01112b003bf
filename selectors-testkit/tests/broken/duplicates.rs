//! REG-5: backends that mix up duplicates, or selectors that watch the same file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use selectors::backend::{RawSource, Registered};

use super::defect::{Answer, Beneath, Defect};
use super::row::{RANDOM, Row, poll, rows};
use super::variants::{file, kind};

/// Treats duplicates of one open file as the same source.
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
    /// Which backend of this thread watches a descriptor.
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

/// Modifies every duplicate of a modified source.
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

/// Unregisters every duplicate of an unregistered source.
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

rows! {
    "REG-5" duplicate_refused "treats a duplicate as the file that it already watches"
        poll KnowsFilesByInode =>
            reg_8_closed_descriptors_are_not_its_own
            close_4_a_new_kernel_object_skips_closed_sources
            wait_1_every_timeout_reports_the_same
            reg_5_a_duplicate_is_a_source_of_its_own
            reg_5_a_duplicate_changes_without_its_twin
            wait_7_one_select_reports_all
            close_5_another_thread_closes_during_waits
            wait_7_every_ready_source_gets_its_turn
            reg_12_no_wait_leaks
            proc_2_no_wake_is_lost_beside_events
            mod_1_every_change_counts
            reg_9_many_are_unregistered_between_two_waits
            mod_1_many_changes_between_two_waits
            wait_7_a_list_with_little_capacity
            mode_6_arming_never_stops_working
            close_4_a_new_kernel_object_watches_every_source
            ready_1_no_wait_of_many_reports_idle_sources
            [RANDOM];
    "REG-5" twins "changes duplicates together"
        poll ChangesTwins =>
            wait_1_every_timeout_reports_the_same
            reg_5_a_duplicate_changes_without_its_twin
            mode_6_arming_never_stops_working
            [RANDOM];
    "REG-5" table_shared "has one table for all backends"
        poll SharesItsTable::new() =>
            proc_6_a_selector_outlives_its_thread
            reg_5_one_file_in_two_selectors
            mode_2_one_shot_is_silent_about_errors_too
            wait_1_zero_does_not_sleep
            wait_4_waits_are_not_too_long
            wait_6_on_request_a_signal_ends_it
            reg_12_process_settings_do_not_change
            wait_6_a_blocked_signal_stays_blocked
            reg_5_one_file_in_many_selectors
            wait_1_a_wait_with_a_ready_source_does_not_sleep;
    "REG-5" twins_removed "unregisters duplicates together"
        poll RemovesTwins =>
            reg_8_closed_descriptors_are_not_its_own
            reg_5_a_duplicate_is_a_source_of_its_own
            reg_5_a_duplicate_changes_without_its_twin
            reg_9_many_are_unregistered_between_two_waits
            close_4_a_new_kernel_object_watches_every_source;
}
