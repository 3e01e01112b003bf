//! The set of a device, with the rules of illumos's driver. *Driver* below is `devpoll.c`, *man* is
//! poll(4D).

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use selectors_sys::devpoll::{POLLERR, POLLNVAL, POLLREMOVE, pollfd};

use super::Flavor;
use super::closing::Sockets;
use super::device::{Device, Identity, identity};
use super::files;

/// The descriptors that a device polls.
#[derive(Debug, Default)]
pub(super) struct Set {
    entries: BTreeMap<RawFd, Entry>,
    /// Where the next search begins.
    start: RawFd,
    /// Where every search ends: the highest number that was ever added.
    end: RawFd,
    /// The number of waiting threads.
    pub(super) waiting: usize,
    /// Whether the device was closed.
    pub(super) closed: bool,
    sockets: Sockets,
}

/// The entry of a number. It is never removed (driver: only the last close frees it).
#[derive(Debug, Default)]
struct Entry {
    events: i16,
    /// The file to poll, if the number was open when it was added, and was not removed since.
    file: Option<Identity>,
    /// Whether the next search polls it: not if it was idle in the last one, until that file wakes it.
    due: bool,
    /// Whether the file is a socket that [`Sockets`] knows.
    is_socket: bool,
}

/// The size of the process's table of open files, as far as known. It never shrinks.
static TABLE_SIZE: AtomicI32 = AtomicI32::new(64);

/// Grows the known size of the table to contain an open descriptor.
fn grow_table(fd: RawFd) {
    if identity(fd).is_some() {
        // The size is a power of two.
        let size = u32::try_from(fd).unwrap_or(0) + 1;
        let size = i32::try_from(size.next_power_of_two()).unwrap_or(i32::MAX);
        TABLE_SIZE.fetch_max(size, Ordering::Relaxed);
    }
}

impl Set {
    /// Applies entries in order. Driver: adding polls the file, and stops if that fails.
    pub(super) fn write(&mut self, entries: &[pollfd]) -> Result<(), Errno> {
        for entry in entries {
            grow_table(entry.fd);
            // Driver: a number beyond the process's table of open files, or a negative one, is silently
            // skipped.
            if entry.fd < 0 || entry.fd >= TABLE_SIZE.load(Ordering::Relaxed) {
                continue;
            }
            // Driver: only events equal to POLLREMOVE remove. With any other bit it is an event like
            // others.
            if entry.events == POLLREMOVE {
                self.remove(entry.fd);
            } else {
                super::check_source(entry.fd)?;
                self.add(entry.fd, entry.events);
            }
        }
        Ok(())
    }

    /// Driver: clears the events, unless the entry has no file, because the number was not open when it was
    /// added. The common driver of 2011 clears them in that case, too.
    fn remove(&mut self, fd: RawFd) {
        let clears =
            |entry: &&mut Entry| entry.file.is_some() || Flavor::current() == Flavor::Solaris;
        if let Some(entry) = self.entries.get_mut(&fd).filter(clears) {
            *entry = Entry::default();
        }
    }

    /// Man: events are OR-ed with the existing ones. Driver: a number that is not open is accepted, but has
    /// no file to poll until it is added again. Closing does not clear the events, so a number inherits
    /// those of an earlier file that was not removed.
    fn add(&mut self, fd: RawFd, events: i16) {
        self.end = self.end.max(fd);
        let entry = self.entries.entry(fd).or_default();
        let file = identity(fd);
        // Driver: nothing changes. The common one of 2011 does not compare the file.
        let same = entry.file == file || Flavor::current() == Flavor::Solaris;
        if entry.file.is_some() && file.is_some() && same && entry.events == events {
            return;
        }
        entry.events |= events;
        entry.file = file.or(entry.file);
        entry.due = true;
        entry.is_socket = self.sockets.track(fd);
    }

    /// `DP_ISPOLLED`. Driver: the events, if the entry has a file, which may have been closed.
    pub(super) fn events_of(&self, fd: RawFd) -> Option<i16> {
        self.entries.get(&fd).filter(|entry| entry.file.is_some()).map(|entry| entry.events)
    }

    /// The entries with a file, in the order of a search.
    fn in_order(&self) -> Vec<pollfd> {
        let (first, second) = (self.entries.range(self.start..), self.entries.range(..self.start));
        let live = first.chain(second).filter(|(_, entry)| entry.file.is_some());
        live.map(|(&fd, entry)| pollfd { fd, events: entry.events, revents: 0 }).collect()
    }

    /// Returns the ready entries, at most `room`, and those to wait for if none is ready. Driver: the
    /// search is circular, and begins where the last one that filled its list stopped.
    pub(super) fn search(&mut self, room: usize) -> Result<(Vec<pollfd>, Vec<pollfd>), Errno> {
        let mut polled = self.in_order();
        // poll(2) accepts no more than RLIMIT_NOFILE.
        for chunk in polled.chunks_mut(16) {
            files::poll(chunk);
        }
        let mut ready = Vec::new();
        let mut idle = Vec::new();
        for mut polled in polled {
            let fd = polled.fd;
            let Some(entry) = self.entries.get_mut(&fd) else { continue };
            // illumos, observed: closing a socket wakes its pollers, unless it has a duplicate.
            let closed = polled.revents & POLLNVAL != 0 && entry.is_socket;
            if closed && entry.file.is_some_and(|file| self.sockets.is_gone(file)) {
                entry.due = true;
            }
            if entry.due || polled.revents != 0 {
                // Driver: an error of a source's poll routine fails the call.
                super::check_source(fd)?;
            }
            if polled.revents & POLLNVAL != 0 {
                // Man: POLLNVAL may be returned for a closed descriptor that was not removed. Driver: it
                // is if the entry is due, and `events` is not initialized.
                if Flavor::current() == Flavor::Solaris || !entry.due {
                    continue;
                }
                (polled.events, polled.revents) = (!0, POLLNVAL);
            } else {
                // Driver: an idle entry is not polled until its file wakes it: never if that was closed
                // and the number refers to another file.
                let file = identity(fd);
                if !entry.due && entry.file != file && Flavor::current() == Flavor::Illumos {
                    continue;
                }
                entry.file = file.or(entry.file);
                entry.due = polled.revents != 0;
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

    /// Driver: a search that stops at the end of its circle is complete, so the next one begins where this
    /// one began.
    fn stopped_at(&mut self, fd: RawFd) {
        if fd == self.end && self.start > 0 {
            self.start = 0;
        } else if fd != self.end && fd + 1 != self.start {
            self.start = fd + 1;
        }
    }
}
