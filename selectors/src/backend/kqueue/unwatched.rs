//! Sources that the queue does not watch: always-ready ones, and those that the kernel has refused, lost or
//! dropped. The beacon ends the waits while one of them is to be reported.

use std::io::{self, IsTerminal};
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;

use super::fallback::Fallback;
use super::kind::Kind;
use super::translation::is_dropped;
use super::{BEACON, BOTH, Kqueue};
use crate::backend::descriptor::check_open;
use crate::backend::{BorrowedSource, Channel, RawSource};
use crate::{Events, Interest, Mode, Token, Watch};

impl Kqueue {
    /// Watches a lost source again. The kernel may still have one of its filters.
    pub(super) fn watch_lost(&self, fd: RawSource, token: Token, watch: Watch) -> nix::Result<()> {
        self.remove_filters(fd, token);
        self.change(fd, token, None, Some(watch))
    }

    /// Watches the lost sources again, except those that the kernel still refuses.
    #[cold]
    pub(super) fn restore(&mut self) {
        let mut lost = mem::take(&mut self.lost);
        lost.restore(|it| {
            // If the source was closed, its number may be the beacon's.
            !self.queue.is_beacon(it.fd) && self.watch_lost(it.fd, it.token, it.watch).is_ok()
        });
        self.lost = lost;
    }

    /// Watches the beacon if an always-ready source is armed, and stops watching it otherwise. If it
    /// cannot be watched, the next wait tries again, and does not block.
    pub(super) fn keep_beacon(&mut self) -> io::Result<()> {
        if self.always.is_armed() && self.beacon.is_none() {
            let beacon = Channel::new()?;
            beacon.notify()?;
            let fd = beacon.source().as_raw_fd();
            let watch = Watch::new(Interest::READ, Mode::Level);
            // Before it is watched: from then on no change may name it.
            self.queue.set_beacon(Some(fd));
            let watched = self.change(fd, BEACON, None, Some(watch));
            watched.inspect_err(|_| self.queue.set_beacon(None))?;
            self.tokens.insert(fd, BEACON);
            self.beacon = Some(beacon);
        } else if let Some(beacon) = self.beacon.take_if(|_| !self.always.is_armed()) {
            let fd = beacon.source().as_raw_fd();
            self.tokens.remove(fd);
            self.remove_filters(fd, BEACON);
            self.queue.set_beacon(None);
        }
        Ok(())
    }

    /// As [`keep_beacon`](Self::keep_beacon), but fails only if another selector may watch this
    /// queue: without a beacon its own waits do not block.
    pub(super) fn keep_beacon_if_watched(&mut self) -> io::Result<()> {
        let kept = self.keep_beacon();
        if *self.shown.get_mut() { kept } else { Ok(()) }
    }

    pub(super) fn insert_always(
        &mut self,
        fd: RawSource,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.always.insert(fd, token, watch)?;
        self.keep_beacon_if_watched().inspect_err(|_| {
            self.always.remove(fd, token);
        })
    }

    /// Watches a source by select(2).
    pub(super) fn fall_back(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        if watch.mode == Mode::Edge {
            return Err(Errno::EINVAL.into());
        }
        let fallback = match &mut self.fallback {
            Some(fallback) => fallback,
            none => none.insert(Fallback::new(self.queue.as_fd())?),
        };
        fallback.register(source, token, watch)
    }

    /// Watches a source that the kernel has refused with an error, if possible.
    pub(super) fn watch_refused(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
        refused: Errno,
    ) -> io::Result<()> {
        check_open(source)?;
        let fd = source.as_raw_fd();
        match (refused, Kind::of(source)?) {
            // WRITE on a pipe without a reader: EPIPE on FreeBSD and DragonFly, EBADF on NetBSD and
            // old FreeBSDs. A write would not block.
            (Errno::EPIPE | Errno::EBADF, Kind::Pipe) => self.insert_always(fd, token, watch),
            // A device without filters: EINVAL on macOS, as for /dev/tty and /dev/null (libuv uses
            // select(2) for these, too), ENODEV on FreeBSD, EOPNOTSUPP on OpenBSD. A terminal may
            // block; other devices without filters do not.
            (Errno::EINVAL | Errno::ENODEV | Errno::EOPNOTSUPP, Kind::Device)
                if source.is_terminal() =>
            {
                self.fall_back(source, token, watch)
            }
            // ENXIO: the device is gone, as is a terminal that hung up on FreeBSD.
            (Errno::EINVAL | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::ENXIO, Kind::Device) => {
                self.insert_always(fd, token, watch)
            }
            _ => Err(refused.into()),
        }
    }

    /// Tracks the sources in the buffer whose filters the kernel has dropped. Their peers are gone, so they
    /// are always ready.
    #[cold]
    pub(super) fn keep_reporting_dropped(&mut self, count: usize) {
        for at in 0..count {
            let event = self.buffer[at];
            let Ok(fd) = RawSource::try_from(event.ident) else { continue };
            let Some(token) = self.tokens.of(&event).filter(|_| is_dropped(&event)) else {
                continue;
            };
            if !self.always.contains(fd, token) {
                self.always.insert_unidentified(fd, token, BOTH);
                self.tokens.remove(fd);
                // The filter of the other direction may still exist.
                self.remove_filters(fd, token);
            }
        }
    }

    /// Appends the events of the always-ready and the lost sources.
    pub(super) fn report_unwatched(&mut self, events: &mut Events) {
        if !self.always.is_empty() {
            self.always.report(events);
            // Reported events must not be lost: the next wait tries again.
            let _ = self.keep_beacon();
        }
        self.lost.report(events);
    }

    /// The timeout of the next call: zero if an armed always-ready source has no beacon, or a lost source
    /// is to be reported.
    #[inline]
    pub(super) fn time_to_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if self.lost.is_pending() {
            self.restore();
        }
        let needs_beacon = self.always.is_armed() && self.beacon.is_none();
        if needs_beacon || self.lost.is_armed() { Some(Duration::ZERO) } else { timeout }
    }
}
