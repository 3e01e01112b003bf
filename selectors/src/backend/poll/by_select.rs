//! Waits and checks that use select(2) because poll(2) cannot do them.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::poll as sys;

use super::{FLAGS, Poll, poll};
use crate::backend::select::{Select, Sets};
use crate::backend::{Backend, RawSource};
use crate::timeout::nanos_below_millis;
use crate::{Events, Interest, Mode, Token, Watch};

impl Poll {
    /// Waits with a timeout that is no multiple of a millisecond.
    #[cold]
    pub(super) fn call_fine(&mut self, fine: Duration) -> nix::Result<usize> {
        let rest = Duration::from_nanos(nanos_below_millis(fine).into());
        let ready = poll(&mut self.fds, Some(fine.saturating_sub(rest)))?;
        if ready > 0 {
            return Ok(ready);
        }
        let sets = self.sets.get_or_insert_default();
        sets.clear();
        for pollfd in self.fds.iter().filter(|pollfd| pollfd.fd >= 0) {
            sets.set(pollfd.fd, FLAGS.interest(pollfd.events));
        }
        match sets.select(Some(rest)) {
            Ok(_) => poll(&mut self.fds, Some(Duration::ZERO)),
            Err(Errno::EINTR) => Err(Errno::EINTR),
            // A closed descriptor, which poll(2) reports, or one above the limit of select(2), no memory
            // for the sets, or a sandbox: wait by the millisecond.
            Err(_) => poll(&mut self.fds, Some(rest)),
        }
    }

    /// Where the kernel reports POLLHUP in place of POLLOUT, also when the peer has only half-closed:
    /// has select(2) check the sources that are watched for WRITE.
    #[cold]
    pub(super) fn check_writable(&mut self) {
        let sets = self.sets.get_or_insert_default();
        let hung_up = |pollfd: &&mut sys::pollfd| pollfd.revents & sys::POLLHUP != 0;
        for pollfd in self.fds.iter_mut().filter(hung_up) {
            pollfd.revents |= pollfd.events & sys::POLLIN;
            if pollfd.events & sys::POLLOUT != 0 && is_writable(pollfd.fd, sets) {
                pollfd.revents |= sys::POLLOUT;
            }
            if pollfd.revents != sys::POLLHUP {
                pollfd.revents &= !sys::POLLHUP;
            }
        }
    }

    /// Waits with select(2), and writes the result to the array.
    #[cold]
    pub(super) fn call_select(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut select = Select::default();
        for (place, pollfd) in (0..).zip(&self.fds).filter(|(_, pollfd)| pollfd.fd >= 0) {
            let watch = Watch::new(FLAGS.interest(pollfd.events), Mode::Level);
            select.set(pollfd.fd, Token::from_bits(place), watch);
        }
        let mut events = Events::new();
        select.wait(&mut events, timeout)?;
        self.fds.iter_mut().for_each(|pollfd| pollfd.revents = 0);
        for event in &events {
            if let Ok(place) = usize::try_from(event.token().to_bits()) {
                self.fds[place].revents = FLAGS.revents(event.readiness());
            }
        }
        Ok(events.len())
    }
}

/// Returns true if a descriptor is writable, or select(2) fails.
fn is_writable(fd: RawSource, sets: &mut Sets) -> bool {
    sets.clear();
    sets.set(fd, Interest::WRITE);
    !matches!(sets.select(Some(Duration::ZERO)), Ok(0))
}
