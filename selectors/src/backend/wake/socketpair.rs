//! Two connected sockets: socketpair(2).

use std::io;

pub(super) use std::os::unix::net::UnixStream as Stream;

pub(super) fn pair() -> io::Result<(Stream, Stream)> {
    Stream::pair()
}
