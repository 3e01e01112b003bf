//! Sources that the queue does not watch: what is always ready, what the kernel refuses, has lost or
//! has dropped. The beacon ends the waits on their account.

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
    /// Has the kernel watch a source that it has lost, of which it may still have something.
    pub(super) fn watch_lost(&self, fd: RawSource, token: Token, watch: Watch) -> nix::Result<()> {
        self.remove_filters(fd, token);
        self.change(fd, token, None, Some(watch))
    }

    /// Has the kernel watch what it has lost, as far as it does.
    #[cold]
    pub(super) fn restore(&mut self) {
        let mut lost = mem::take(&mut self.lost);
        lost.restore(|it| {
            // The number of one that was closed may have become the beacon's.
            !self.queue.is_beacon(it.fd) && self.watch_lost(it.fd, it.token, it.watch).is_ok()
        });
        self.lost = lost;
    }

    /// Watches or stops watching the beacon, as the always-ready sources need. Where it fails, the
    /// next wait tries again, and does not block.
    pub(super) fn keep_beacon(&mut self) -> io::Result<()> {
        let watch = Watch::new(Interest::READ, Mode::Level);
        if self.always.is_armed() && self.beacon.is_none() {
            let beacon = Channel::new()?;
            beacon.notify()?;
            let fd = beacon.source().as_raw_fd();
            self.change(fd, BEACON, None, Some(watch))?;
            self.tokens.insert(fd, BEACON);
            self.queue.set_beacon(Some(fd));
            self.beacon = Some(beacon);
        } else if let Some(beacon) = self.beacon.take_if(|_| !self.always.is_armed()) {
            let fd = beacon.source().as_raw_fd();
            self.tokens.remove(fd);
            self.queue.set_beacon(None);
            self.change(fd, BEACON, Some(watch), None)?;
        }
        Ok(())
    }

    pub(super) fn insert_always(
        &mut self,
        fd: RawSource,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.always.insert(fd, token, watch)?;
        self.keep_beacon().inspect_err(|_| {
            self.always.remove(fd, token);
        })
    }

    /// Watches what the queue does not, or not right.
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

    /// Watches what the kernel has refused to.
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
            // WRITE on a pipe whose other end is gone: EPIPE on FreeBSD and DragonFly, EBADF on
            // NetBSD and in old FreeBSDs. A write would not block.
            (Errno::EPIPE | Errno::EBADF, Kind::Pipe) => self.insert_always(fd, token, watch),
            // What has no filters: EINVAL on macOS, as for /dev/tty and /dev/null (libuv has
            // select(2) for these, too), ENODEV on FreeBSD, EOPNOTSUPP on OpenBSD. A terminal has
            // to be waited for; other devices without filters never block.
            (Errno::EINVAL | Errno::ENODEV | Errno::EOPNOTSUPP, Kind::Device)
                if source.is_terminal() =>
            {
                self.fall_back(source, token, watch)
            }
            // ENXIO: it is gone, as a terminal that hung up is on FreeBSD. It has ended.
            (Errno::EINVAL | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::ENXIO, Kind::Device) => {
                self.insert_always(fd, token, watch)
            }
            _ => Err(refused.into()),
        }
    }

    /// Keeps on reporting the sources in the buffer that the kernel watches no more. Their files
    /// are dead, and so always ready.
    #[cold]
    pub(super) fn keep_dropped(&mut self, count: usize) {
        for at in 0..count {
            let event = self.buffer[at];
            let Ok(fd) = RawSource::try_from(event.ident) else { continue };
            let Some(token) = self.tokens.of(&event).filter(|_| is_dropped(&event)) else {
                continue;
            };
            if !self.always.contains(fd, token) {
                self.always.insert_unidentified(fd, token, BOTH);
                self.tokens.remove(fd);
                // The filter of the other direction may be left.
                self.remove_filters(fd, token);
            }
        }
    }

    /// Appends the always-ready sources, and those that the kernel has lost.
    pub(super) fn report_unwatched(&mut self, events: &mut Events) {
        if !self.always.is_empty() {
            self.always.report(events);
            // What was reported must not be lost: the next wait tries again.
            let _ = self.keep_beacon();
        }
        self.lost.report(events);
    }

    /// How long to wait: not at all where the beacon should end the wait and cannot, nor while
    /// there is something that the kernel has lost.
    #[inline]
    pub(super) fn time_to_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if self.lost.is_armed() {
            self.restore();
        }
        let unlit = self.always.is_armed() && self.beacon.is_none();
        if unlit || self.lost.is_armed() { Some(Duration::ZERO) } else { timeout }
    }
}
