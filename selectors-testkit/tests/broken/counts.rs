//! REG-9, MOD-1, MODE-6, WAIT-7: backends that fail after many repetitions of a call.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use selectors::backend::Registered;
use selectors::{Event, Events, Interest, Mode, Readiness, Token};

use super::defect::{Answer, Beneath, Defect, NOW, Timeout};
use super::row::{Row, epoll, poll, rows};

/// The counted call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Register,
    Modify,
    Unregister,
    Wait,
    Event,
}

/// Skips every nth call of one kind.
struct Skips {
    call: Call,
    each: usize,
    count: usize,
}

impl Skips {
    fn new(call: Call, each: usize) -> Self {
        Self { call, each, count: 0 }
    }

    fn skips(&mut self, call: Call) -> bool {
        self.count += usize::from(call == self.call);
        call == self.call && self.count % self.each == 0
    }
}

impl Defect for Skips {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        beneath.register(new)?;
        if self.skips(Call::Register) {
            beneath.backend.unregister(new.fd, new.token, new.watch)?;
        }
        Ok(())
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if self.skips(Call::Modify) { Ok(()) } else { beneath.modify(new) }
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        if self.skips(Call::Unregister) { Ok(()) } else { unregister_if_any(beneath, old) }
    }

    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        if self.skips(Call::Wait) {
            found.clear();
        }
        found.retain(|_| !self.skips(Call::Event));
        found
    }
}

/// A skipped registration cannot be unregistered.
fn unregister_if_any(beneath: &mut Beneath, old: Registered) -> Answer {
    match beneath.unregister(old) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        answer => answer,
    }
}

/// Counts in eight bits how often each source was armed, and does not arm it when the counter wraps
/// around.
#[derive(Default)]
struct CountsArms(BTreeMap<Token, u8>);

impl Defect for CountsArms {
    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        let count = self.0.entry(new.token).or_default();
        *count = count.wrapping_add(u8::from(new.watch.mode == Mode::OneShot));
        if *count == 0 && new.watch.mode == Mode::OneShot { Ok(()) } else { beneath.modify(new) }
    }
}

/// Reports the first source that is watched for READ in every nth wait with a zero timeout.
struct ReportsIdle {
    each: u32,
    count: u32,
}

impl Defect for ReportsIdle {
    fn wait(&mut self, beneath: &mut Beneath, events: &mut Events, timeout: Timeout) -> Answer {
        let before = events.len();
        beneath.wait(events, timeout)?;
        self.count += u32::from(timeout == NOW);
        if timeout == NOW && events.len() == before && self.count % self.each == 0 {
            let mut sources = beneath.sources.values();
            let reads = |source: &&Registered| source.watch.interest == Interest::READ;
            let event = |source: &Registered| Event::new(source.token, Readiness::READ);
            events.extend(sources.find(reads).map(event));
        }
        Ok(())
    }
}

/// Stops watching sources that were idle for this many waits.
struct ForgetsTheSilent {
    most: u32,
    silent: BTreeMap<Token, u32>,
}

impl Defect for ForgetsTheSilent {
    fn report(&mut self, beneath: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        for token in beneath.sources.keys() {
            *self.silent.entry(*token).or_default() += 1;
        }
        found.retain(|event| {
            self.silent.get(&event.token()).is_none_or(|waits| *waits <= self.most)
        });
        for event in &found {
            self.silent.remove(&event.token());
        }
        found
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        self.silent.remove(&new.token);
        beneath.modify(new)
    }
}

/// Supports only this many registrations in total.
struct FillsUp {
    room: usize,
    refuses: bool,
}

impl Defect for FillsUp {
    fn register(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if self.room == 0 {
            return if self.refuses { Err(ErrorKind::OutOfMemory.into()) } else { Ok(()) };
        }
        self.room -= 1;
        beneath.register(new)
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        unregister_if_any(beneath, old)
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> io::Result<()> {
        if beneath.source(new.token).is_some() { beneath.modify(new) } else { Ok(()) }
    }
}

rows! {
    "REG-9" room_for_2000 "refuses more than 2,000 registrations"
        epoll FillsUp { room: 2_000, refuses: true } =>
            reg_9_many_are_unregistered_between_two_waits
            reg_9_registering_never_stops_working;
    "REG-9" room_for_4096 "loses more than 4,096 registrations"
        poll FillsUp { room: 4_096, refuses: false } =>
            reg_9_many_are_unregistered_between_two_waits
            reg_9_registering_never_stops_working;
    "REG-9" loses_the_thousandth_registration "loses every thousandth registration"
        poll Skips::new(Call::Register, 1_000) =>
            reg_9_registering_never_stops_working
            wait_7_every_ready_source_gets_its_turn;
    "MOD-1" loses_the_hundredth_change "loses every hundredth change"
        poll Skips::new(Call::Modify, 100) =>
            mod_1_every_change_counts
            reg_9_registering_never_stops_working
            mod_1_many_changes_between_two_waits
            mode_6_arming_never_stops_working;
    "MOD-1" loses_the_thousandth_change "loses every thousandth change"
        poll Skips::new(Call::Modify, 1_000) =>
            mod_1_every_change_counts
            reg_9_registering_never_stops_working
            mode_6_arming_never_stops_working;
    "MOD-1" loses_the_thousandth_wait "drops the events of every thousandth wait"
        poll Skips::new(Call::Wait, 1_000) =>
            mod_1_every_change_counts
            mode_6_arming_never_stops_working;
    "READY-1" reports_idle "reports an idle source once in 1,000 waits"
        poll ReportsIdle { each: 1_000, count: 0 } =>
            ready_1_no_wait_of_many_reports_idle_sources;
    "READY-1" forgets_the_silent "forgets sources that were idle for 1,000 waits"
        poll ForgetsTheSilent { most: 1_000, silent: BTreeMap::new() } =>
            ready_1_no_wait_of_many_reports_idle_sources;
    "REG-9" leaves_the_256th "leaves every 256th source in the kernel"
        epoll Skips::new(Call::Unregister, 256) =>
            reg_9_many_are_unregistered_between_two_waits;
    "MODE-6" counts_arms "arms a source 255 times"
        epoll CountsArms::default() =>
            mode_6_arming_never_stops_working;
    "REG-9" loses_registration_65536 "loses every 65,536th registration"
        epoll Skips::new(Call::Register, 65_536) =>
            reg_9_no_number_is_used_up;
    "WAIT-7" loses_event_65536 "loses every 65,536th event"
        poll Skips::new(Call::Event, 65_536) =>
            wait_7_events_never_stop;
    "WAIT-7" loses_the_thousandth_event "loses every thousandth event"
        poll Skips::new(Call::Event, 1_000) =>
            reg_9_registering_never_stops_working
            mod_1_every_change_counts
            wait_7_one_select_reports_all
            wait_7_every_ready_source_gets_its_turn
            mode_6_arming_never_stops_working;
}
