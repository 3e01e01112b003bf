//! REG-9, REG-10: backends that lose track of sources, or keep files open.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use selectors::backend::{RawSource, Registered};
use selectors::{Event, Events, Token};
use selectors_testkit::fixtures::{is_open, with_raw};

use super::defect::{Answer, Beneath, Defect, Timeout};
use super::row::{FILES, RANDOM, Row, poll, rows};
use super::variants::KeepsBits;

/// Treats 0 as no descriptor when it updates the index of a moved source.
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

/// Removes from the middle of its array without updating the index of the moved source.
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

/// Keeps watching unregistered sources without reporting them.
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

/// Keeps the open file until the next wait.
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

/// Makes its sources non-blocking.
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

/// Reports the token of the first registration of a descriptor.
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

/// Keeps an open file from a change until the next wait.
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

rows! {
    "REG-9" zero_lost "loses descriptor 0 when another source leaves"
        poll LosesZero =>
            reg_9_descriptor_zero_stays_registered
            wait_8_the_lowest_numbers;
    "REG-9" place_lost "forgets the wrong source after a removal"
        poll LosesItsPlace::default() =>
            reg_9_the_backend_forgets_unregistered_sources
            reg_9_sources_come_and_go_between_two_waits
            wait_8_the_lowest_numbers
            reg_9_many_are_unregistered_between_two_waits
            [RANDOM];
    "REG-9" unregistered_hidden "hides unregistered sources, and lets them end waits"
        poll HidesTheUnregistered::default() =>
            wait_6_a_signal_undoes_no_change
            reg_9_an_unregistered_source_does_not_end_waits
            wait_11_idle_waits_sleep
            reg_2_the_kernel_does_not_watch_parked_sources
            [FILES];
    "REG-9" held "keeps the open file until the next wait"
        poll HoldsTheUnregistered::default() =>
            reg_9_its_peer_sees_the_end_at_once;
    "REG-9" held_modified "holds an open file that is modified until the next wait"
        poll HoldsTheModified::default() =>
            reg_9_its_peer_sees_the_end_at_once;
    "REG-9" nonblocking "makes its sources non-blocking"
        poll SetsNonblocking =>
            reg_9_flags_do_not_change
            reg_9_files_do_not_change;
    "REG-10" old_token "reports the first token of a descriptor"
        poll ReportsOldTokens::default() =>
            close_3_a_reused_number_has_not_fired
            reg_9_sources_come_and_go_between_two_waits
            reg_10_tokens_are_unique
            close_3_a_reused_number_inherits_no_interest
            close_3_a_number_is_reused_between_two_waits
            close_4_a_duplicate_leaves_no_ghost
            mode_2_a_fired_one_shot_can_be_unregistered
            proc_2_a_wake_hides_no_event
            wait_10_an_unregistered_source_has_no_key
            reg_10_every_bit_of_a_token_counts
            wait_8_the_lowest_numbers
            proc_2_no_wake_is_lost_beside_events
            reg_9_registering_never_stops_working
            ready_4_every_state_of_a_socket
            reg_9_many_are_unregistered_between_two_waits
            [FILES RANDOM];
    "REG-10" eight_bits "stores only eight bits of a generation"
        poll KeepsBits(0xffff_ffff_0000_00ff) =>
            reg_9_many_are_unregistered_between_two_waits
            reg_10_tokens_are_unique
            reg_10_every_bit_of_a_token_counts
            reg_9_registering_never_stops_working;
}
