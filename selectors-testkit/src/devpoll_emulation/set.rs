//! The set of a device: its rules, which are those of illumos's driver. *Driver* below is
//! `devpoll.c`, *man* is poll(4D).

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use selectors_sys::devpoll::{POLLERR, POLLNVAL, POLLREMOVE, pollfd};

use super::Flavor;
use super::closing::Sockets;
use super::device::{Device, Identity, identity};
use super::files;

/// What a device polls.
#[derive(Debug, Default)]
pub(super) struct Set {
    entries: BTreeMap<RawFd, Entry>,
    /// Where the next search begins.
    start: RawFd,
    /// Where every search ends: no number was ever higher.
    end: RawFd,
    /// How many wait.
    pub(super) waiting: usize,
    /// Whether the device was closed.
    pub(super) closed: bool,
    sockets: Sockets,
}

/// What is kept for a number. It is kept for good (driver: only the last close frees it).
#[derive(Debug, Default)]
struct Entry {
    events: i16,
    /// The file to be polled: there is one if it was open when it was added, and was not removed
    /// since.
    file: Option<Identity>,
    /// Whether the next search looks at it: not if it was idle when it was looked at, until the
    /// file that it was then has something to say.
    looked_at: bool,
    /// Whether the file is a socket that [`Sockets`] knows.
    is_socket: bool,
}

/// How far the table of open files reaches, as far as we have seen. It grows and does not shrink.
static TABLE: AtomicI32 = AtomicI32::new(64);

/// Takes note of how far the table reaches.
fn see(fd: RawFd) {
    if identity(fd).is_some() {
        // It doubles, as far as numbers go.
        let size = u32::try_from(fd).unwrap_or(0) + 1;
        let size = i32::try_from(size.next_power_of_two()).unwrap_or(i32::MAX);
        TABLE.fetch_max(size, Ordering::Relaxed);
    }
}

impl Set {
    /// Takes entries in, one after the other. Driver: adding polls, and what that answers ends it.
    pub(super) fn write(&mut self, entries: &[pollfd]) -> Result<(), Errno> {
        for entry in entries {
            see(entry.fd);
            // Driver: what is beyond the process's table of open files, and so what is negative, is
            // skipped without a word, and with the same success.
            if entry.fd < 0 || entry.fd >= TABLE.load(Ordering::Relaxed) {
                continue;
            }
            // Driver: to remove is to be equal to POLLREMOVE. With any other bit it is an event
            // like others.
            if entry.events == POLLREMOVE {
                self.remove(entry.fd);
            } else {
                super::check_source(entry.fd)?;
                self.add(entry.fd, entry.events);
            }
        }
        Ok(())
    }

    /// Driver: forgets the events, unless there was no file to be polled. Those of a number that was
    /// added when it was not open survive, and so they do being removed.
    /// The common driver of 2011 forgets those, too.
    fn remove(&mut self, fd: RawFd) {
        let forgets =
            |entry: &&mut Entry| entry.file.is_some() || Flavor::current() == Flavor::Solaris;
        if let Some(entry) = self.entries.get_mut(&fd).filter(forgets) {
            *entry = Entry::default();
        }
    }

    /// Man: events are OR-ed with those that are there already. Driver: a number that is not open
    /// is taken as well, but there is no file to be polled, then or later, until it is added again;
    /// and closing does not clear the events, so that a number inherits those of whoever had it
    /// before and did not remove it.
    fn add(&mut self, fd: RawFd, events: i16) {
        self.end = self.end.max(fd);
        let entry = self.entries.entry(fd).or_default();
        let file = identity(fd);
        // Driver: nothing is new. The common one of 2011 does not ask whether the file is.
        let same = entry.file == file || Flavor::current() == Flavor::Solaris;
        if entry.file.is_some() && file.is_some() && same && entry.events == events {
            return;
        }
        entry.events |= events;
        entry.file = file.or(entry.file);
        entry.looked_at = true;
        entry.is_socket = self.sockets.note(fd);
    }

    /// `DP_ISPOLLED`. Driver: the events, if there is a file to be polled; what is closed and was
    /// not removed counts.
    pub(super) fn events_of(&self, fd: RawFd) -> Option<i16> {
        self.entries.get(&fd).filter(|entry| entry.file.is_some()).map(|entry| entry.events)
    }

    /// The numbers that there is a file to be polled for, in the order of a search.
    fn in_order(&self) -> Vec<pollfd> {
        let (first, second) = (self.entries.range(self.start..), self.entries.range(..self.start));
        let live = first.chain(second).filter(|(_, entry)| entry.file.is_some());
        live.map(|(&fd, entry)| pollfd { fd, events: entry.events, revents: 0 }).collect()
    }

    /// What is ready, as far as there is room, and what to wait for if nothing is. Driver: the
    /// search goes round in a circle. It begins where the last one that filled its list stopped.
    pub(super) fn search(&mut self, room: usize) -> Result<(Vec<pollfd>, Vec<pollfd>), Errno> {
        let mut polled = self.in_order();
        // poll(2) takes no more than RLIMIT_NOFILE.
        for chunk in polled.chunks_mut(16) {
            files::poll(chunk);
        }
        let mut ready = Vec::new();
        let mut idle = Vec::new();
        for mut polled in polled {
            let fd = polled.fd;
            let Some(entry) = self.entries.get_mut(&fd) else { continue };
            // illumos, run: closing a socket wakes whoever polls it, unless a duplicate lives on.
            let closed = polled.revents & POLLNVAL != 0 && entry.is_socket;
            if closed && entry.file.is_some_and(|file| self.sockets.is_gone(file)) {
                entry.looked_at = true;
            }
            if entry.looked_at || polled.revents != 0 {
                // Driver: what a source's own poll routine answers is the answer.
                super::check_source(fd)?;
            }
            if polled.revents & POLLNVAL != 0 {
                // Man: closed and not removed: POLLNVAL may be returned. Driver: it is if the number
                // is looked at, and with it comes what the place for the events held before.
                if Flavor::current() == Flavor::Solaris || !entry.looked_at {
                    continue;
                }
                (polled.events, polled.revents) = (!0, POLLNVAL);
            } else {
                // Driver: what was idle is not looked at until its file wakes it: so not at all if
                // that was closed, and the number is another file's now.
                let file = identity(fd);
                if !entry.looked_at && entry.file != file && Flavor::current() == Flavor::Illumos {
                    continue;
                }
                entry.file = file.or(entry.file);
                entry.looked_at = polled.revents != 0;
            }
            // Man: polling a device results in POLLERR.
            if polled.revents & POLLERR != 0 && Device::find(fd).is_some() {
                polled.revents = POLLERR;
            }
            if polled.revents == 0 {
                idle.push(pollfd { events: files::to_linux(fd, polled.events), ..polled });
                continue;
            }
            ready.push(polled);
            if ready.len() == room {
                self.stopped_at(fd);
                break;
            }
        }
        Ok((ready, idle))
    }

    /// Driver: a search that ends at the very end of its circle has not stopped short of it, so
    /// the next one begins where this one began.
    fn stopped_at(&mut self, fd: RawFd) {
        if fd == self.end && self.start > 0 {
            self.start = 0;
        } else if fd != self.end && fd + 1 != self.start {
            self.start = fd + 1;
        }
    }
}
