//! What a descriptor is ready for, in kqueue's terms.

use std::ffi::{c_int, c_ulong};
use std::mem::size_of;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc;

use super::Flavor;

/// What a filter has to say of a descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) ready: bool,
    pub(super) eof: bool,
    /// Whether the filter is dropped after it was reported, though that was not requested.
    pub(super) dead: bool,
    pub(super) fflags: u32,
    pub(super) data: isize,
}

/// What a descriptor is, as far as it makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file, which epoll does not watch.
    File,
    Pipe,
    /// A pipe that has a name.
    Fifo,
    /// A socket that has connections.
    Stream,
    Datagram,
    /// A queue, one of ours.
    Queue,
    Other,
}

pub(super) fn is_open(fd: RawFd) -> bool {
    // SAFETY: takes numbers, changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

fn stat(fd: RawFd) -> Option<libc::stat> {
    // SAFETY: all fields are integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is ours to be written.
    (unsafe { libc::fstat(fd, &raw mut stat) } == 0).then_some(stat)
}

/// Tells files apart that epoll does not watch.
pub(super) fn identity(fd: RawFd) -> Option<(libc::dev_t, libc::ino_t)> {
    stat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

pub(super) fn kind(fd: RawFd) -> Kind {
    match stat(fd).map(|stat| stat.st_mode & libc::S_IFMT) {
        Some(libc::S_IFREG) => Kind::File,
        Some(libc::S_IFIFO) if has_name(fd) => Kind::Fifo,
        Some(libc::S_IFIFO) => Kind::Pipe,
        Some(libc::S_IFSOCK) => match option(fd, libc::SOL_SOCKET, libc::SO_TYPE) {
            Some(libc::SOCK_STREAM | libc::SOCK_SEQPACKET) => Kind::Stream,
            _ => Kind::Datagram,
        },
        _ => Kind::Other,
    }
}

/// Whether a pipe is a file of a file system that has names.
fn has_name(fd: RawFd) -> bool {
    const PIPEFS_MAGIC: i64 = 0x5049_5045;
    // SAFETY: all fields are integers.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is ours to be written.
    let answer = unsafe { libc::fstatfs(fd, &raw mut stat) };
    #[allow(clippy::unnecessary_cast, reason = "the type differs by processor")]
    let kind = stat.f_type as i64;
    answer == 0 && kind != PIPEFS_MAGIC
}

pub(super) fn is_device(fd: RawFd) -> bool {
    stat(fd).is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFCHR)
}

/// Whether it is a terminal that hung up. Such a one is none to isatty(3).
pub(super) fn has_hung_up(fd: RawFd) -> bool {
    is_device(fd) && poll(fd) & libc::POLLHUP != 0
}

/// Whether a pipe's other end is gone.
pub(super) fn is_dead_pipe(fd: RawFd) -> bool {
    poll(fd) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Whether the program could read.
pub(super) fn readable(fd: RawFd, kind: Kind, flavor: Flavor) -> State {
    if kind == Kind::File {
        let size = stat(fd).map_or(0, |stat| stat.st_size);
        // SAFETY: takes numbers, and moves nothing.
        let offset = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
        let data = isize::try_from(size - offset).unwrap_or(isize::MAX);
        return State { ready: data != 0, data, ..State::default() };
    }
    let revents = poll(fd);
    if kind == Kind::Stream && is_unconnected(revents) {
        return State::default();
    }
    let failed = revents & libc::POLLERR != 0;
    let eof = match kind {
        Kind::Datagram => revents & libc::POLLRDHUP != 0,
        // XNU: vnode_readable_data_count() in vfs_vnops.c asks for data and nothing else.
        Kind::Fifo if flavor == Flavor::MacOs => false,
        _ => revents & (libc::POLLHUP | libc::POLLRDHUP) != 0,
    };
    let ready = revents & libc::POLLIN != 0 || eof || failed;
    let waiting = count(fd, libc::FIONREAD).or_else(|| backlog(fd).filter(|_| ready));
    State {
        ready,
        eof,
        dead: false,
        fflags: if kind == Kind::Stream && failed { error(fd) } else { 0 },
        data: waiting.unwrap_or(0),
    }
}

/// Whether the program could write.
pub(super) fn writable(fd: RawFd, kind: Kind, flavor: Flavor) -> State {
    if kind == Kind::File {
        return State { ready: true, ..State::default() };
    }
    let revents = poll(fd);
    if kind == Kind::Stream && is_unconnected(revents) {
        return State::default();
    }
    let failed = revents & libc::POLLERR != 0;
    let gone = revents & libc::POLLHUP != 0;
    let eof = match kind {
        // XNU: vnode_writable_space_count() in vfs_vnops.c asks for space and nothing else.
        Kind::Fifo if flavor == Flavor::MacOs => false,
        Kind::Pipe | Kind::Fifo => failed || gone,
        Kind::Stream => gone || has_shut_down(fd),
        Kind::Datagram => false,
        Kind::File | Kind::Queue | Kind::Other => gone,
    };
    let space: isize = match kind {
        Kind::Pipe | Kind::Fifo if eof => 0,
        // SAFETY: takes numbers, changes nothing.
        Kind::Pipe | Kind::Fifo => unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) as isize }
            .saturating_sub(count(fd, libc::FIONREAD).unwrap_or(0)),
        _ => option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF)
            .map_or(0, |size| size as isize - count(fd, libc::TIOCOUTQ).unwrap_or(0)),
    };
    State {
        ready: match kind {
            Kind::Fifo if flavor == Flavor::MacOs => space > 0,
            _ => revents & libc::POLLOUT != 0 || eof || failed,
        },
        eof,
        // FreeBSD 12.3, recorded: the filters that hang on the end which closes are marked, and
        // the one for WRITE of the other end is among them (pipeclose() in sys_pipe.c,
        // knlist_cleardel() in kern_event.c). OpenBSD: klist_invalidate(), filt_dead().
        dead: kind == Kind::Pipe && eof && flavor == Flavor::FreeBsd,
        fflags: if kind == Kind::Stream && failed { error(fd) } else { 0 },
        data: space.max(0),
    }
}

/// A socket that is not connected, and was not, hangs up on Linux but has nothing to say on a BSD.
fn is_unconnected(revents: i16) -> bool {
    revents & libc::POLLHUP != 0 && revents & (libc::POLLRDHUP | libc::POLLERR) == 0
}

fn poll(fd: RawFd) -> i16 {
    let events = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP;
    let mut one = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: `one` is ours to be written.
    unsafe { libc::poll(&raw mut one, 1, 0) };
    one.revents
}

fn count(fd: RawFd, request: c_ulong) -> Option<isize> {
    let mut count: c_int = 0;
    // SAFETY: both requests that are made write an int.
    let answer = unsafe { libc::ioctl(fd, request as _, &raw mut count) };
    (answer == 0).then_some(count as isize)
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

fn option(fd: RawFd, level: c_int, name: c_int) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut length = length_of::<c_int>();
    // SAFETY: `value` is ours to be written, as far as `length` says.
    let answer =
        unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
    (answer == 0).then_some(value)
}

fn tcp(fd: RawFd) -> Option<libc::tcp_info> {
    if option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) != Some(libc::IPPROTO_TCP) {
        return None;
    }
    // SAFETY: all fields are integers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = length_of::<libc::tcp_info>();
    let place = (&raw mut info).cast();
    // SAFETY: `info` is ours to be written, as far as `length` says.
    let answer =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut length) };
    (answer == 0).then_some(info)
}

/// How many connections wait to be accepted. Linux tells that of TCP; elsewhere at least one does.
fn backlog(fd: RawFd) -> Option<isize> {
    if option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) != Some(1) {
        return None;
    }
    let unacked = tcp(fd).and_then(|info| isize::try_from(info.tcpi_unacked).ok());
    Some(unacked.unwrap_or(1).max(1))
}

/// The error that a socket has, which cannot be asked for without taking it.
fn error(fd: RawFd) -> u32 {
    // A round-trip time was measured when it was connected.
    let refused = tcp(fd).is_some_and(|info| info.tcpi_rtt == 0);
    (if refused { Errno::ECONNREFUSED } else { Errno::ECONNRESET }) as u32
}

/// Whether our side of a TCP connection will send no more.
fn has_shut_down(fd: RawFd) -> bool {
    const FIN_WAIT_1: u8 = 4;
    const FIN_WAIT_2: u8 = 5;
    const TIME_WAIT: u8 = 6;
    const LAST_ACK: u8 = 9;
    const CLOSING: u8 = 11;
    tcp(fd).is_some_and(|info| {
        matches!(info.tcpi_state, FIN_WAIT_1 | FIN_WAIT_2 | TIME_WAIT | LAST_ACK | CLOSING)
    })
}
