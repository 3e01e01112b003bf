//! The readiness of a descriptor, in kqueue's terms.

use std::ffi::{c_int, c_ulong};
use std::mem::size_of;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc;

use super::Flavor;

/// What a filter reports of a descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) ready: bool,
    pub(super) eof: bool,
    /// Whether the filter is dropped after it was reported, although that was not requested.
    pub(super) dropped: bool,
    pub(super) fflags: u32,
    pub(super) data: isize,
}

/// The kind of file that a descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file, which epoll does not watch.
    File,
    Pipe,
    /// A named pipe.
    Fifo,
    /// A connection-oriented socket.
    Stream,
    Datagram,
    /// An emulated queue.
    Queue,
    Other,
}

pub(super) fn is_open(fd: RawFd) -> bool {
    // SAFETY: accepts any number and changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

fn stat(fd: RawFd) -> Option<libc::stat> {
    // SAFETY: all fields are integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    (unsafe { libc::fstat(fd, &raw mut stat) } == 0).then_some(stat)
}

/// Identifies a file that epoll cannot watch.
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

/// Returns true for a named pipe: it is not in pipefs.
fn has_name(fd: RawFd) -> bool {
    const PIPEFS_MAGIC: i64 = 0x5049_5045;
    // SAFETY: all fields are integers.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    let result = unsafe { libc::fstatfs(fd, &raw mut stat) };
    #[allow(clippy::unnecessary_cast, reason = "the type differs by processor")]
    let kind = stat.f_type as i64;
    result == 0 && kind != PIPEFS_MAGIC
}

pub(super) fn is_device(fd: RawFd) -> bool {
    stat(fd).is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFCHR)
}

/// Returns true for a terminal that hung up, for which isatty(3) returns false.
pub(super) fn has_hung_up(fd: RawFd) -> bool {
    is_device(fd) && poll(fd) & libc::POLLHUP != 0
}

/// Returns true if the peer of a pipe is closed.
pub(super) fn is_dead_pipe(fd: RawFd) -> bool {
    poll(fd) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// The state of the READ filter.
pub(super) fn readable(fd: RawFd, kind: Kind, flavor: Flavor) -> State {
    if kind == Kind::File {
        let size = stat(fd).map_or(0, |stat| stat.st_size);
        // SAFETY: accepts any number, and does not move the offset.
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
        // XNU: vnode_readable_data_count() in vfs_vnops.c checks only for data.
        Kind::Fifo if flavor == Flavor::MacOs => false,
        _ => revents & (libc::POLLHUP | libc::POLLRDHUP) != 0,
    };
    let ready = revents & libc::POLLIN != 0 || eof || failed;
    let waiting = count(fd, libc::FIONREAD).or_else(|| backlog(fd).filter(|_| ready));
    State {
        ready,
        eof,
        dropped: false,
        fflags: if kind == Kind::Stream && failed { error(fd) } else { 0 },
        data: waiting.unwrap_or(0),
    }
}

/// The state of the WRITE filter.
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
        // XNU: vnode_writable_space_count() in vfs_vnops.c checks only for space.
        Kind::Fifo if flavor == Flavor::MacOs => false,
        Kind::Pipe | Kind::Fifo => failed || gone,
        Kind::Stream => gone || has_shut_down(fd),
        Kind::Datagram => false,
        Kind::File | Kind::Queue | Kind::Other => gone,
    };
    let space: isize = match kind {
        Kind::Pipe | Kind::Fifo if eof => 0,
        // SAFETY: accepts any number and changes nothing.
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
        // FreeBSD 12.3, recorded: closing an end drops the filters in its list, which contains the WRITE
        // filter of the other end (pipeclose() in sys_pipe.c, knlist_cleardel() in kern_event.c).
        // OpenBSD: klist_invalidate(), filt_dead().
        dropped: kind == Kind::Pipe && eof && flavor == Flavor::FreeBsd,
        fflags: if kind == Kind::Stream && failed { error(fd) } else { 0 },
        data: space.max(0),
    }
}

/// Returns true for a socket that was never connected: Linux reports POLLHUP, a BSD nothing.
fn is_unconnected(revents: i16) -> bool {
    revents & libc::POLLHUP != 0 && revents & (libc::POLLRDHUP | libc::POLLERR) == 0
}

fn poll(fd: RawFd) -> i16 {
    let events = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP;
    let mut one = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: `one` is writable.
    unsafe { libc::poll(&raw mut one, 1, 0) };
    one.revents
}

fn count(fd: RawFd, request: c_ulong) -> Option<isize> {
    let mut count: c_int = 0;
    // SAFETY: both requests that are used write an int.
    let result = unsafe { libc::ioctl(fd, request as _, &raw mut count) };
    (result == 0).then_some(count as isize)
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

fn option(fd: RawFd, level: c_int, name: c_int) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut length = length_of::<c_int>();
    // SAFETY: `value` is writable, for `length` bytes.
    let result =
        unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
    (result == 0).then_some(value)
}

fn tcp(fd: RawFd) -> Option<libc::tcp_info> {
    if option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) != Some(libc::IPPROTO_TCP) {
        return None;
    }
    // SAFETY: all fields are integers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = length_of::<libc::tcp_info>();
    let place = (&raw mut info).cast();
    // SAFETY: `info` is writable, for `length` bytes.
    let result =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut length) };
    (result == 0).then_some(info)
}

/// The number of pending connections of a listener. Linux provides it for TCP; otherwise 1.
fn backlog(fd: RawFd) -> Option<isize> {
    if option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) != Some(1) {
        return None;
    }
    let unacked = tcp(fd).and_then(|info| isize::try_from(info.tcpi_unacked).ok());
    Some(unacked.unwrap_or(1).max(1))
}

/// The error of a socket, inferred because querying it would clear it.
fn error(fd: RawFd) -> u32 {
    // A round-trip time was measured when it was connected.
    let refused = tcp(fd).is_some_and(|info| info.tcpi_rtt == 0);
    (if refused { Errno::ECONNREFUSED } else { Errno::ECONNRESET }) as u32
}

/// Returns true if our side of a TCP connection was shut down for writing.
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
