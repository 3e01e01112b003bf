//! A loop over poll(2), with file objects and data beside the array that is passed to the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use libc::{c_short, pollfd};

use super::{Contender, Want, sys};

pub(crate) struct BarePoll<'a> {
    fds: Vec<pollfd>,
    sources: Vec<(BorrowedFd<'a>, u64)>,
    /// The index of each descriptor in the two vectors.
    places: Vec<usize>,
}

fn events(want: Want) -> c_short {
    if want.writes() { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN }
}

fn index(fd: BorrowedFd<'_>) -> usize {
    usize::try_from(fd.as_raw_fd()).unwrap_or(usize::MAX)
}

impl<'a> Contender<'a> for BarePoll<'a> {
    const NAME: &'static str = "bare poll";
    /// The descriptor.
    type Key = usize;

    fn new() -> io::Result<Self> {
        Ok(Self { fds: Vec::new(), sources: Vec::new(), places: Vec::new() })
    }

    fn register(&mut self, fd: BorrowedFd<'a>, want: Want, data: u64) -> io::Result<usize> {
        let key = index(fd);
        if key >= self.places.len() {
            self.places.resize(key + 1, usize::MAX);
        }
        self.places[key] = self.fds.len();
        self.fds.push(pollfd { fd: fd.as_raw_fd(), events: events(want), revents: 0 });
        self.sources.push((fd, data));
        Ok(key)
    }

    fn modify(&mut self, key: usize, want: Want) -> io::Result<()> {
        self.fds[self.places[key]].events = events(want);
        Ok(())
    }

    fn set_data(&mut self, key: usize, data: u64) {
        self.sources[self.places[key]].1 = data;
    }

    fn unregister(&mut self, key: usize) -> io::Result<(BorrowedFd<'a>, u64)> {
        let place = self.places[key];
        self.fds.swap_remove(place);
        let source = self.sources.swap_remove(place);
        if let Some((moved, _)) = self.sources.get(place) {
            self.places[index(*moved)] = place;
        }
        Ok(source)
    }

    #[inline]
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(BorrowedFd<'a>, &mut u64),
    ) -> io::Result<usize> {
        let count = sys::poll(&mut self.fds, timeout)?;
        let mut left = count;
        for (pollfd, (fd, data)) in self.fds.iter().zip(&mut self.sources) {
            if left == 0 {
                break;
            }
            if pollfd.revents != 0 {
                left -= 1;
                each(*fd, data);
            }
        }
        Ok(count)
    }
}
