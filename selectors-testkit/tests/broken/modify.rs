//! MOD: backends that apply changes wrongly.

use std::collections::BTreeMap;

use nix::errno::Errno;
use selectors::backend::{BorrowedSource, Capabilities, RawSource, Registered};
use selectors::{Event, Events, Interest, Mode, Readiness, Token};

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::row::{FILES, RANDOM, Row, epoll, poll, rows};

/// Adds the new interest to the old one, as /dev/poll does.
struct AddsInterests;

impl Defect for AddsInterests {
    fn modify(&mut self, beneath: &mut Beneath, mut new: Registered) -> Answer {
        new.watch.interest |= beneath.watch(new.token)?.interest;
        beneath.modify(new)
    }
}

/// Uses the new interest only after the next wait.
#[derive(Default)]
struct ModifiesLate(Vec<Registered>);

impl Defect for ModifiesLate {
    fn modify(&mut self, _: &mut Beneath, new: Registered) -> Answer {
        self.0.push(new);
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        self.0.retain(|asked| asked.token != old.token);
        beneath.unregister(old)
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        // Without blocking if the interest has changed: only the change may make the source ready.
        beneath.wait(events, if self.0.is_empty() { timeout } else { NOW })?;
        self.0.drain(..).try_for_each(|new| beneath.modify(new))
    }
}

/// The current or the desired state of a descriptor in the kernel.
type Has = Option<Registered>;

/// Defers changes until the next wait, and skips those that it considers redundant.
pub(crate) struct Defers {
    nothing_to_do: fn(Has, Has) -> bool,
    /// The state at the last wait, and the desired one.
    asked: BTreeMap<RawSource, (Has, Has)>,
    refused: BTreeMap<Token, Mode>,
}

impl Defers {
    pub(crate) fn unless(nothing_to_do: fn(Has, Has) -> bool) -> Self {
        Self { nothing_to_do, asked: BTreeMap::new(), refused: BTreeMap::new() }
    }

    fn ask(&mut self, fd: RawSource, has: Has, wanted: Has) {
        self.asked.entry(fd).or_insert((has, None)).1 = wanted;
    }

    /// The last requested state of a source.
    fn last(&self, beneath: &Beneath, source: Registered) -> Has {
        let asked = self.asked.get(&source.fd).and_then(|&(_, wanted)| wanted);
        let watch = asked.or_else(|| beneath.source(source.token))?.watch;
        Some(Registered::new(source.fd, source.token, watch))
    }

    fn change(&mut self, beneath: &mut Beneath, has: Has, wanted: Has) -> Answer {
        if (self.nothing_to_do)(has, wanted) {
            return Ok(());
        }
        match (has, wanted) {
            (Some(old), Some(new)) if old.token == new.token => return beneath.modify(new),
            (Some(old), _) => beneath.unregister(old)?,
            _ => {}
        }
        if let Some(new) = wanted {
            if beneath.register(new).is_err() {
                self.refused.insert(new.token, new.watch.mode);
            }
        }
        Ok(())
    }
}

/// Does not notice that a one-shot or edge-triggered source has to be rearmed.
fn same_as_before(has: Has, wanted: Has) -> bool {
    has == wanted
}

/// Does not notice that a number belongs to another source.
pub(crate) fn watched_as_before(has: Has, wanted: Has) -> bool {
    let watch = |source: Registered| source.watch;
    has.map(watch) == wanted.map(watch) && wanted.is_none_or(|new| new.watch.mode == Mode::Level)
}

impl Defect for Defers {
    fn declares(&self, beneath: &Beneath) -> Capabilities {
        let mut capabilities = beneath.backend.capabilities();
        capabilities.deferred = true;
        capabilities.nesting = false;
        capabilities
    }

    fn descriptor<'a>(&'a self, _: &'a Beneath) -> Option<BorrowedSource<'a>> {
        None
    }

    fn register(&mut self, _: &mut Beneath, new: Registered) -> Answer {
        self.ask(new.fd, None, Some(new));
        Ok(())
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let old = self.last(beneath, new);
        self.ask(new.fd, old, Some(new));
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if self.refused.remove(&old.token).is_some() {
            self.asked.remove(&old.fd);
            return Ok(());
        }
        if let Some(last) = self.last(beneath, old) {
            self.ask(old.fd, Some(last), None);
        }
        Ok(())
    }

    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        for (has, wanted) in std::mem::take(&mut self.asked).into_values() {
            self.change(beneath, has, wanted)?;
        }
        beneath.wait(events, if self.refused.is_empty() { timeout } else { NOW })?;
        events.extend(self.refused.keys().map(|&token| Event::new(token, Readiness::ERROR)));
        self.refused.retain(|_, mode| *mode == Mode::Level);
        Ok(())
    }
}

/// Skips a modify to the same interest, even after a one-shot source has fired.
struct SkipsTheSame;

impl Defect for SkipsTheSame {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if beneath.watch(new.token)? == new.watch { Ok(()) } else { beneath.modify(new) }
    }
}

/// Deletes and adds instead of modifying, and does not restore the source if it cannot add.
struct DeletesAndAdds;

impl Defect for DeletesAndAdds {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.unregister(new)?;
        beneath.register(new)
    }
}

/// Refuses to watch for PRIORITY, and watches for it from then on.
struct RefusesAndChanges;

impl Defect for RefusesAndChanges {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.modify(new)?;
        let refused = new.watch.interest.contains(Interest::PRIORITY);
        if refused { Err(Errno::EINVAL.into()) } else { Ok(()) }
    }
}

rows! {
    "MOD-1" masks_added "ORs the old mask on modify"
        poll AddsInterests =>
            wait_6_a_signal_undoes_no_change
            mod_1_the_backend_does_not_add_to_the_old_interest
            ready_1_random_programs
            mode_5_random_programs_of_all_modes
            wait_11_idle_waits_sleep;
    "MOD-1" modified_late "modifies after the next wait"
        poll ModifiesLate::default() =>
            close_3_a_reused_number_has_not_fired
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_9_descriptor_zero_stays_registered
            mod_1_the_next_select_uses_the_new_interest
            mod_1_the_backend_does_not_add_to_the_old_interest
            mod_1_the_last_change_before_a_wait_counts
            reg_5_a_duplicate_changes_without_its_twin
            ready_5_a_listener_stays_ready_until_all_are_accepted
            wait_12_sources_are_served_without_free_descriptors
            proc_4_a_forked_copy_changes_nothing
            close_4_a_new_kernel_object_keeps_all_state
            ready_6_a_half_closed_peer
            wait_9_a_failed_rebuild_loses_nothing
            wait_8_the_lowest_numbers
            ready_9_priority_comes_and_goes
            mod_1_every_mode_changes_to_every_other
            reg_9_registering_never_stops_working
            mod_1_every_change_counts
            ready_4_every_state_of_a_socket
            mod_1_many_changes_between_two_waits
            wait_8_high_descriptors_in_every_mode
            reg_7_a_refusal_undoes_no_other_change
            mode_6_arming_never_stops_working
            [FILES RANDOM];
    "MOD-3" not_armed "skips a modify to the same interest, even of a fired one-shot source"
        poll SkipsTheSame =>
            ready_1_a_pipe_gets_another_writer
            close_3_a_reused_number_has_not_fired
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_5_one_file_in_two_selectors
            mod_3_modify_rearms_a_fired_one_shot
            mode_2_one_shot_reports_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_arming_with_a_new_interest
            ready_5_a_listener_stays_ready_until_all_are_accepted
            proc_6_a_selector_changes_threads
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_12_sources_are_served_without_free_descriptors
            close_4_a_new_kernel_object_keeps_all_state
            wait_9_a_failed_rebuild_loses_nothing
            ready_9_priority_in_every_mode
            reg_9_registering_never_stops_working
            wait_8_high_descriptors_in_every_mode
            mode_6_arming_never_stops_working
            [FILES RANDOM];
    "MOD-3" deferred_arming "cancels changes that arm a source"
        epoll Defers::unless(same_as_before) =>
            reg_8_closed_descriptors_are_not_its_own
            ready_1_a_pipe_gets_another_writer
            close_3_a_reused_number_has_not_fired
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_5_one_file_in_two_selectors
            mod_3_modify_rearms_a_fired_one_shot
            mod_3_changing_the_mode_and_back_rearms_a_one_shot
            close_4_a_ghost_that_cannot_be_modified_does_not_make_it_spin
            mode_2_one_shot_reports_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_3_edge_reports_again_after_two_modifies
            mode_2_arming_with_a_new_interest
            ready_5_a_listener_stays_ready_until_all_are_accepted
            proc_6_a_selector_changes_threads
            mod_3_rearming_reports_an_edge_again
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_12_sources_are_served_without_free_descriptors
            ready_9_priority_in_every_mode
            reg_9_registering_never_stops_working
            wait_8_high_descriptors_in_every_mode
            mode_6_arming_never_stops_working
            [FILES RANDOM];
    "MOD-3" edges_not_rearmed "skips a modify to the same, also of an edge-triggered source"
        epoll SkipsTheSame =>
            ready_1_a_pipe_gets_another_writer
            close_3_a_reused_number_has_not_fired
            wait_1_every_timeout_reports_the_same
            ready_12_every_kind_of_file_behaves_as_with_poll
            reg_5_one_file_in_two_selectors
            mod_3_modify_rearms_a_fired_one_shot
            mode_2_one_shot_reports_once
            mode_2_one_shot_is_silent_about_hang_ups_too
            mode_2_arming_with_a_new_interest
            ready_5_a_listener_stays_ready_until_all_are_accepted
            proc_6_a_selector_changes_threads
            mod_3_rearming_reports_an_edge_again
            mode_6_both_directions_of_a_one_shot_wait_for_arming
            proc_4_calls_fail_in_a_child
            proc_4_after_fork_works
            wait_12_sources_are_served_without_free_descriptors
            ready_9_priority_in_every_mode
            reg_9_registering_never_stops_working
            wait_8_high_descriptors_in_every_mode
            mode_6_arming_never_stops_working
            [FILES RANDOM];
    "MOD-4" no_roll_back "forgets to roll back"
        poll DeletesAndAdds =>
            mod_4_map_and_kernel_agree_after_a_close
            close_5_random_programs_that_close;
    "MOD-4" refused_and_done "refuses a modify after it was made"
        poll RefusesAndChanges =>
            mod_4_the_backend_keeps_the_old_state
            ready_9_out_of_band_data_is_priority
            ready_9_priority_in_every_mode
            ready_9_priority_comes_and_goes
            ready_4_every_state_of_a_socket;
}
