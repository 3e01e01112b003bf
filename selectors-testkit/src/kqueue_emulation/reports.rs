//! The events that a queue reports.

use std::os::fd::RawFd;
use std::time::Instant;

use nix::libc;
use selectors_sys::kqueue::{EVFILT_READ, EVFILT_TIMER, EVFILT_USER, EVFILT_WRITE, Filter, kevent};

use super::Flavor;
use super::descriptor::Kind;
use super::epoll::{BEACON, beacon, control, to_bits};
use super::filters::Filters;
use super::knote::{After, Knote};
use super::watch::{Timer, Watch};

impl Filters {
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let enabled = |timer: &&Timer| timer.knote.as_ref().is_some_and(Knote::is_enabled);
        self.timers.values().filter(enabled).map(|timer| timer.next).min()
    }

    /// The ready filters that epoll does not watch.
    pub(super) fn ready_outside_epoll(&self) -> Vec<(usize, Filter)> {
        let mut ready = Vec::new();
        for (&ident, user) in &self.users {
            if user.knote.as_ref().is_some_and(|knote| knote.wants(user.state(), false)) {
                ready.push((ident, EVFILT_USER));
            }
        }
        let now = Instant::now();
        for (&ident, timer) in &self.timers {
            if timer.knote.as_ref().is_some_and(|knote| knote.wants(timer.state(now), false)) {
                ready.push((ident, EVFILT_TIMER));
            }
        }
        for (&fd, watch) in &self.watches {
            for filter in [EVFILT_READ, EVFILT_WRITE] {
                let Some(knote) = watch.knote(filter) else { continue };
                let file = watch.identity.is_some();
                let pipe = matches!(watch.kind, Kind::Pipe | Kind::Fifo);
                let pipe = pipe && filter == EVFILT_READ && knote.clears();
                if !(file || pipe) {
                    continue;
                }
                let state = watch.state(fd, filter);
                let read_in_part =
                    knote.last.is_some_and(|last| 0 < state.data && state.data < last.data);
                if (file || read_in_part) && knote.wants(state, true) {
                    ready.push((ident(fd), filter));
                }
            }
        }
        ready
    }

    fn knote(&mut self, fd: RawFd, filter: Filter) -> Option<&mut Knote> {
        let watch = self.watches.get_mut(&fd)?;
        if filter == EVFILT_READ { watch.read.as_mut() } else { watch.write.as_mut() }
    }

    /// Empties the kernel's queue. Returns the filters that are reported without being checked.
    fn dequeue(&mut self) -> Vec<(RawFd, Filter)> {
        let mut unchecked = Vec::new();
        for (&fd, watch) in &mut self.watches {
            for (filter, knote) in
                [(EVFILT_READ, &mut watch.read), (EVFILT_WRITE, &mut watch.write)]
            {
                if knote.as_mut().is_some_and(|knote| knote.dequeue(Flavor::current())) {
                    unchecked.push((fd, filter));
                }
            }
        }
        unchecked
    }

    /// Reports ready filters, at most `room`.
    pub(super) fn collect(&mut self, epoll: RawFd, room: usize, report: &mut impl FnMut(kevent)) {
        let mut left = room;
        self.set_beacon(epoll, false);
        let unchecked = self.dequeue();
        while let Some((fd, filter)) = self.overflow.pop_front() {
            if left == 0 {
                self.overflow.push_front((fd, filter));
                break;
            }
            self.report(epoll, ident(fd), filter, true, &mut left, report);
        }
        self.turn = self.turn.wrapping_add(1);
        let epoll_first = self.turn % 2 == 0;
        if epoll_first {
            self.collect_from_epoll(epoll, &mut left, report);
        }
        for (fd, filter) in unchecked {
            if left > 0 {
                self.report(epoll, ident(fd), filter, false, &mut left, report);
            } else if let Some(knote) = self.knote(fd, filter) {
                knote.queue();
            }
        }
        let mut own = self.ready_outside_epoll();
        if !own.is_empty() {
            let first = self.turn / 2 % own.len();
            own.rotate_left(first);
        }
        for (ident, filter) in own {
            if left > 0 {
                self.report(epoll, ident, filter, true, &mut left, report);
            }
        }
        if !epoll_first {
            self.collect_from_epoll(epoll, &mut left, report);
        }
        self.update_beacon(epoll);
    }

    fn collect_from_epoll(
        &mut self,
        epoll: RawFd,
        left: &mut usize,
        report: &mut impl FnMut(kevent),
    ) {
        let mut buffer = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // Level-triggered filters are queued again at once, but must be reported once.
        let mut seen = std::collections::HashSet::new();
        while *left > 0 {
            let room = i32::try_from(buffer.len().min(*left)).unwrap_or(1);
            // SAFETY: `buffer` is writable, and at least `room` long.
            let count = unsafe { libc::epoll_wait(epoll, buffer.as_mut_ptr(), room, 0) };
            let count = usize::try_from(count).unwrap_or(0);
            if count == 0 {
                return;
            }
            let mut again = Vec::new();
            for event in &buffer[..count] {
                let user_data = event.u64;
                let fd = RawFd::try_from(user_data & u64::from(u32::MAX)).unwrap_or(-1);
                let ours =
                    self.watches.get(&fd).is_some_and(|watch| watch.user_data(fd) == user_data);
                if !ours {
                    continue;
                }
                if !self.is_current(epoll, fd) {
                    self.watches.remove(&fd);
                    continue;
                }
                if !seen.insert(fd) {
                    again.push(fd);
                    continue;
                }
                self.collect_descriptor(epoll, fd, left, report);
            }
            if !again.is_empty() {
                for fd in again {
                    self.update_epoll(epoll, fd);
                }
                return;
            }
        }
    }

    /// Reports the ready filters of a descriptor for which epoll has returned an event.
    fn collect_descriptor(
        &mut self,
        epoll: RawFd,
        fd: RawFd,
        left: &mut usize,
        report: &mut impl FnMut(kevent),
    ) {
        let Some(watch) = self.watches.get_mut(&fd) else { return };
        let forced = std::mem::take(&mut watch.forced);
        for filter in [EVFILT_READ, EVFILT_WRITE] {
            let Some(watch) = self.watches.get(&fd) else { return };
            let Some(knote) = watch.knote(filter) else { continue };
            if !knote.wants(watch.state(fd, filter), forced) {
                continue;
            }
            if *left == 0 {
                self.overflow.push_back((fd, filter));
                continue;
            }
            self.report(epoll, ident(fd), filter, true, left, report);
        }
    }

    /// Reports a filter if it still exists and, if it is to be checked, is ready.
    fn report(
        &mut self,
        epoll: RawFd,
        ident: usize,
        filter: Filter,
        check: bool,
        left: &mut usize,
        report: &mut impl FnMut(kevent),
    ) {
        let flavor = Flavor::current();
        if filter == EVFILT_USER {
            let Some(user) = self.users.get_mut(&ident) else { return };
            let state = user.state();
            let Some(knote) = &mut user.knote else { return };
            let (event, after) = knote.report(state, flavor);
            if knote.clears() {
                (user.triggered, user.fflags) = (false, 0);
            }
            if after == After::Gone {
                self.users.remove(&ident);
            }
            report(event);
        } else if filter == EVFILT_TIMER {
            let now = Instant::now();
            let Some(timer) = self.timers.get_mut(&ident) else { return };
            let state = timer.state(now);
            let Some(knote) = &mut timer.knote else { return };
            let (event, after) = knote.report(state, flavor);
            let passed = u32::try_from(state.data).unwrap_or(u32::MAX);
            timer.next += timer.period * passed;
            if after == After::Gone {
                self.timers.remove(&ident);
            }
            report(event);
        } else {
            let Ok(fd) = RawFd::try_from(ident) else { return };
            if !self.is_current(epoll, fd) {
                self.watches.remove(&fd);
                return;
            }
            let Some(watch) = self.watches.get_mut(&fd) else { return };
            let state = watch.state(fd, filter);
            let slot = if filter == EVFILT_READ { &mut watch.read } else { &mut watch.write };
            let reported = |knote: &&mut Knote| knote.is_enabled() && (state.ready || !check);
            let Some(knote) = slot.as_mut().filter(reported) else { return };
            let (event, after) = knote.report(state, flavor);
            if after == After::Gone {
                *slot = None;
            }
            if after != After::Wait {
                self.update_epoll(epoll, fd);
            }
            report(event);
        }
        *left -= 1;
    }

    /// Watches the beacon for reading if a filter that epoll does not report is to be reported.
    pub(super) fn update_beacon(&mut self, epoll: RawFd) {
        let queued = self.watches.values().any(Watch::is_queued);
        let on = queued || !self.overflow.is_empty() || !self.ready_outside_epoll().is_empty();
        self.set_beacon(epoll, on);
    }

    pub(super) fn set_beacon(&mut self, epoll: RawFd, on: bool) {
        let events = if on { to_bits(libc::EPOLLIN) } else { 0 };
        if self.beacon != on {
            self.beacon = on;
            let _ = control(epoll, libc::EPOLL_CTL_MOD, beacon(), events, BEACON);
        }
    }
}

fn ident(fd: RawFd) -> usize {
    usize::try_from(fd).unwrap_or(usize::MAX)
}
