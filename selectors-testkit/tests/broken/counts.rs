//! REG-9, MOD-1, MODE-6: backends that go wrong when something has been done often enough.

use std::io::{self, ErrorKind};

use selectors::Event;
use selectors::backend::Registered;

use super::defect::{Answer, Beneath, Defect};
use super::row::{Row, epoll, poll, rows};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Register,
    Modify,
    Wait,
    Event,
}

/// Does not do each so-many-th of something.
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
            let old = beneath.source(new.token);
            beneath.backend.unregister(new.fd, new.token, new.watch)?;
            beneath.sources.extend(old.map(|old| (new.token, old)));
        }
        Ok(())
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> Answer {
        if self.skips(Call::Modify) { Ok(()) } else { beneath.modify(new) }
    }

    fn unregister(&mut self, beneath: &mut Beneath, old: Registered) -> Answer {
        // What was skipped is not there.
        match beneath.unregister(old) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            answer => answer,
        }
    }

    fn report(&mut self, _: &mut Beneath, mut found: Vec<Event>) -> Vec<Event> {
        if self.skips(Call::Wait) {
            found.clear();
        }
        found.retain(|_| !self.skips(Call::Event));
        found
    }
}

/// Has room for so many registrations in all.
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
        match beneath.unregister(old) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            answer => answer,
        }
    }

    fn modify(&mut self, beneath: &mut Beneath, new: Registered) -> io::Result<()> {
        if beneath.source(new.token).is_some() { beneath.modify(new) } else { Ok(()) }
    }
}

rows! {
    "REG-9" room_for_2000 "has room for 2,000 registrations, and refuses more"
        epoll FillsUp { room: 2_000, refuses: true } =>
            reg_9_no_registration_is_the_last;
    "REG-9" room_for_4096 "has room for 4,096 registrations, and forgets more"
        poll FillsUp { room: 4_096, refuses: false } =>
            reg_9_no_registration_is_the_last;
    "REG-9" loses_the_thousandth_registration "loses every thousandth registration"
        poll Skips::new(Call::Register, 1_000) =>
            reg_9_no_registration_is_the_last
            wait_7_every_ready_source_gets_its_turn;
    "MOD-1" loses_the_hundredth_change "loses every hundredth change"
        poll Skips::new(Call::Modify, 100) =>
            mod_1_every_change_counts
            reg_9_no_registration_is_the_last
            mod_1_many_changes_between_two_waits;
    "MOD-1" loses_the_thousandth_change "loses every thousandth change"
        poll Skips::new(Call::Modify, 1_000) =>
            mod_1_every_change_counts
            reg_9_no_registration_is_the_last;
    "MOD-1" loses_the_thousandth_wait "reports nothing of every thousandth wait"
        poll Skips::new(Call::Wait, 1_000) =>
            mod_1_every_change_counts;
    "WAIT-7" loses_the_thousandth_event "loses every thousandth event"
        poll Skips::new(Call::Event, 1_000) =>
            reg_9_no_registration_is_the_last
            mod_1_every_change_counts
            wait_7_one_select_reports_all
            wait_7_every_ready_source_gets_its_turn;
}
