//! READY: backends that tell something else than the kernel says.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use selectors::backend::{BorrowedSource, RawSource, Registered};
use selectors::{Event, Events, Interest, Mode, Readiness, Token, Watch};
use selectors_testkit::fixtures::{pipe, with_raw};
use socket2::{SockRef, Type};

use super::defect::{Beneath, Defect, kind, kind_of};

pub(crate) const ASKABLE: Readiness =
    Readiness::READ.union(Readiness::WRITE).union(Readiness::PRIORITY);

/// Assumes that some sources are ready for something, without asking the kernel.
pub(crate) struct Assumes(pub(crate) fn(Registered) -> Readiness);

impl Defect for Assumes {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let assumed: Vec<_> = (beneath.sources.values())
            .map(|source| (source.token, (self.0)(*source)))
            .filter(|(_, readiness)| !readiness.is_empty())
            .collect();
        let timeout = if assumed.is_empty() { timeout } else { Some(Duration::ZERO) };
        let mut news = beneath.news(timeout)?;
        for (token, readiness) in assumed {
            match news.iter_mut().find(|event| event.token() == token) {
                Some(event) => *event = Event::new(token, event.readiness() | readiness),
                None => news.push(Event::new(token, readiness)),
            }
        }
        events.extend(news);
        Ok(())
    }
}

pub(crate) fn every_pipe_is_readable(source: Registered) -> Readiness {
    let asked = source.watch.interest.contains(Interest::READ);
    if asked && kind(source.fd) == SFlag::S_IFIFO { Readiness::READ } else { Readiness::empty() }
}

pub(crate) fn whoever_may_write_can(source: Registered) -> Readiness {
    let level = source.watch.mode == Mode::Level;
    let asked = source.watch.interest.contains(Interest::WRITE);
    if asked && level { Readiness::WRITE } else { Readiness::empty() }
}

/// Reports each direction as an event of its own, which it does not declare.
pub(crate) struct SeparatesDirections;

impl Defect for SeparatesDirections {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            let both = Readiness::READ | Readiness::WRITE;
            if event.readiness().contains(both) {
                events.push(Event::new(event.token(), event.readiness() - Readiness::WRITE));
                events.push(Event::new(event.token(), event.readiness() - Readiness::READ));
            } else {
                events.push(event);
            }
        }
        Ok(())
    }
}

/// Says that an error can be read, and no more.
pub(crate) fn error_is_read(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.contains(Readiness::ERROR) { Readiness::READ } else { readiness }
}

/// Does not say that a listener can accept.
pub(crate) fn listeners_are_deaf(readiness: Readiness, source: Registered) -> Readiness {
    let listens = with_raw(source.fd, |fd| SockRef::from(&fd).is_listener().unwrap_or(false));
    if listens { readiness - Readiness::READ } else { readiness }
}

/// Says of a connection that failed that it has ended.
pub(crate) fn refusal_is_the_end(readiness: Readiness, source: Registered) -> Readiness {
    let connected = with_raw(source.fd, |fd| SockRef::from(&fd).peer_addr().is_ok());
    if readiness.contains(Readiness::ERROR | Readiness::HANGUP) && !connected {
        Readiness::READ | Readiness::READ_CLOSED
    } else {
        readiness
    }
}

/// Says that a new connection can be read.
pub(crate) fn connected_is_readable(readiness: Readiness, source: Registered) -> Readiness {
    let connected = with_raw(source.fd, |fd| {
        let address = SockRef::from(&fd).peer_addr();
        address.is_ok_and(|address| address.as_socket().is_some())
    });
    if connected && readiness == Readiness::WRITE {
        Readiness::READ | Readiness::WRITE
    } else {
        readiness
    }
}

/// Takes the end of one direction for that of both.
pub(crate) fn half_close_is_hang_up(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.contains(Readiness::READ_CLOSED) {
        readiness | Readiness::HANGUP
    } else {
        readiness
    }
}

/// Takes an end for an error.
pub(crate) fn end_is_error(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.intersects(Readiness::READ_CLOSED | Readiness::HANGUP) {
        readiness | Readiness::ERROR
    } else {
        readiness
    }
}

/// Takes data for the last that there will be, if there is space to write.
pub(crate) fn data_is_the_end(readiness: Readiness, _: Registered) -> Readiness {
    if readiness == Readiness::READ | Readiness::WRITE {
        readiness | Readiness::READ_CLOSED
    } else {
        readiness
    }
}

/// Says nothing of an end-of-file: poll(2) leaves the two directions of a socket to READ.
pub(crate) fn ends_are_silent(readiness: Readiness, source: Registered) -> Readiness {
    let socket = kind(source.fd) == SFlag::S_IFSOCK;
    if socket && readiness.contains(Readiness::READ_CLOSED) {
        Readiness::empty()
    } else {
        readiness
    }
}

/// Looks at hang-ups and errors for those who read, and not for those who write.
pub(crate) fn writers_hear_no_hang_up(readiness: Readiness, source: Registered) -> Readiness {
    if source.watch.interest == Interest::WRITE && !readiness.contains(Readiness::WRITE) {
        Readiness::empty()
    } else {
        readiness
    }
}

/// Looks at the space in a pipe alone, and not at its readers.
pub(crate) fn pipes_have_space_or_not(readiness: Readiness, source: Registered) -> Readiness {
    let pipe = kind(source.fd) == SFlag::S_IFIFO;
    if pipe && readiness.contains(Readiness::ERROR) { Readiness::empty() } else { readiness }
}

/// Says nothing of a pipe whose writer is gone, once its data was read.
pub(crate) fn ends_of_pipes_are_silent(readiness: Readiness, source: Registered) -> Readiness {
    let pipe = kind(source.fd) == SFlag::S_IFIFO;
    if pipe && readiness == Readiness::HANGUP { Readiness::empty() } else { readiness }
}

/// Reports the end of a source once, together with the data before it.
#[derive(Default)]
pub(crate) struct EndsOnce {
    told: BTreeSet<Token>,
}

impl Defect for EndsOnce {
    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            let with_data = Readiness::READ | Readiness::HANGUP;
            let ended = event.readiness().intersects(Readiness::HANGUP | Readiness::READ_CLOSED);
            if ended && self.told.contains(&event.token()) {
                continue;
            }
            if event.readiness().contains(with_data) {
                self.told.insert(event.token());
            }
            events.push(event);
        }
        Ok(())
    }
}

/// Calls urgent data ordinary.
pub(crate) fn urgent_is_read(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.contains(Readiness::PRIORITY) {
        (readiness - Readiness::PRIORITY) | Readiness::READ
    } else {
        readiness
    }
}

/// Calls ordinary data urgent.
pub(crate) fn read_is_urgent(readiness: Readiness, _: Registered) -> Readiness {
    if readiness.contains(Readiness::READ) { readiness | Readiness::PRIORITY } else { readiness }
}

/// Says that a datagram socket can be read when there are bytes in it.
pub(crate) fn empty_datagrams_are_nothing(readiness: Readiness, source: Registered) -> Readiness {
    let empty = with_raw(source.fd, |fd| {
        let socket = SockRef::from(&fd);
        let datagrams = socket.r#type().is_ok_and(|r#type| r#type == Type::DGRAM);
        datagrams && socket.peek(&mut [MaybeUninit::uninit()]).is_ok_and(|bytes| bytes == 0)
    });
    if empty { readiness - Readiness::READ } else { readiness }
}

fn refuse(condition: bool, error: Errno) -> io::Result<()> {
    if condition { Err(error.into()) } else { Ok(()) }
}

pub(crate) fn no_regular_files(source: BorrowedSource<'_>, _: Watch) -> io::Result<()> {
    refuse(kind_of(source) == SFlag::S_IFREG, Errno::EPERM)
}

pub(crate) fn no_directories(source: BorrowedSource<'_>, _: Watch) -> io::Result<()> {
    refuse(kind_of(source) == SFlag::S_IFDIR, Errno::EPERM)
}

pub(crate) fn no_null_device(source: BorrowedSource<'_>, _: Watch) -> io::Result<()> {
    let terminal = nix::unistd::isatty(source).unwrap_or(false);
    refuse(kind_of(source) == SFlag::S_IFCHR && !terminal, Errno::EPERM)
}

pub(crate) fn no_terminals(source: BorrowedSource<'_>, _: Watch) -> io::Result<()> {
    refuse(nix::unistd::isatty(source).unwrap_or(false), Errno::EINVAL)
}

/// Takes a fifo for a file of the file system, which is always ready.
pub(crate) fn fifos_are_files(source: Registered) -> Readiness {
    // A pipe has no path, but a name such as `pipe:[1234]`.
    let path = std::fs::read_link(format!("/proc/self/fd/{}", source.fd));
    let named = path.is_ok_and(|path| path.is_absolute());
    let fifo = kind(source.fd) == SFlag::S_IFIFO && named;
    if fifo { Readiness::READ | Readiness::WRITE } else { Readiness::empty() }
}

/// Says nothing of a regular file that is at its end.
pub(crate) fn files_end(readiness: Readiness, source: Registered) -> Readiness {
    let ended = with_raw(source.fd, |fd| {
        let at = nix::unistd::lseek(fd, 0, nix::unistd::Whence::SeekCur);
        let status = nix::sys::stat::fstat(fd);
        at.is_ok_and(|at| status.is_ok_and(|status| at >= status.st_size))
    });
    if kind(source.fd) == SFlag::S_IFREG && ended { readiness - Readiness::READ } else { readiness }
}

/// Gives a descriptor away that never becomes readable.
pub(crate) struct HasAnotherDescriptor {
    idle: Option<(OwnedFd, OwnedFd)>,
}

impl HasAnotherDescriptor {
    pub(crate) fn new() -> Self {
        Self { idle: pipe().ok() }
    }
}

impl Defect for HasAnotherDescriptor {
    fn descriptor<'a>(&'a self, _: &'a Beneath) -> Option<BorrowedSource<'a>> {
        self.idle.as_ref().map(|(reader, _)| reader.as_fd())
    }
}

/// Keeps the files that are always ready beside the kernel, where its descriptor cannot show
/// them.
#[derive(Default)]
pub(crate) struct KeepsFilesBeside {
    files: Vec<(RawSource, Token, Watch, bool)>,
}

impl Defect for KeepsFilesBeside {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        if [SFlag::S_IFREG, SFlag::S_IFDIR].contains(&kind_of(source)) {
            self.files.push((source.as_raw_fd(), token, watch, true));
            return Ok(());
        }
        beneath.register(source, token, watch)
    }

    fn modify(
        &mut self,
        beneath: &mut Beneath,
        fd: RawSource,
        token: Token,
        new: Watch,
    ) -> io::Result<()> {
        match self.files.iter_mut().find(|file| file.1 == token) {
            Some(file) => *file = (fd, token, new, true),
            None => beneath.modify(fd, token, new)?,
        }
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        match self.files.iter().position(|file| file.1 == token) {
            Some(place) => drop(self.files.swap_remove(place)),
            None => beneath.unregister(fd, token)?,
        }
        Ok(())
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let armed = self.files.iter().any(|file| file.3);
        beneath.wait(events, if armed { Some(Duration::ZERO) } else { timeout })?;
        for (fd, token, watch, armed) in self.files.iter_mut().filter(|file| file.3) {
            let closed = kind(*fd).is_empty();
            let ready = if closed { Readiness::ERROR } else { ASKABLE - Readiness::PRIORITY };
            events.push(Event::new(*token, ready));
            *armed = matches!(watch.mode, Mode::Level | Mode::Exclusive);
        }
        Ok(())
    }
}
