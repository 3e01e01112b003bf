//! What a source is on Windows: a socket.

use std::io;
use std::thread;
use std::time::Duration;

use selectors_sys::select as sys;

/// What can be watched: anything with a socket. On Unix: anything with a file descriptor.
pub use std::os::windows::io::AsSocket as AsSource;
/// A socket that is open for as long as it is borrowed. On Unix: a file descriptor.
pub use std::os::windows::io::BorrowedSocket as BorrowedSource;
/// The number of a socket. On Unix: of a file descriptor.
pub use std::os::windows::io::RawSocket as RawSource;

use std::os::windows::io::AsRawSocket;
pub(crate) use std::os::windows::io::OwnedSocket as OwnedSource;

/// Borrows the source of a file object.
pub(crate) fn source<F: AsSource + ?Sized>(fileobj: &F) -> BorrowedSource<'_> {
    fileobj.as_socket()
}

/// The number of a source.
pub(crate) fn raw(source: BorrowedSource<'_>) -> RawSource {
    source.as_raw_socket()
}

/// Borrows what a number names.
///
/// # Safety
///
/// Those of [`BorrowedSocket::borrow_raw`](BorrowedSource::borrow_raw).
pub(crate) unsafe fn borrow<'a>(socket: RawSource) -> BorrowedSource<'a> {
    // SAFETY: the caller's promise.
    unsafe { BorrowedSource::borrow_raw(socket) }
}

/// What the system says when it is given a number that is no source.
pub(crate) fn bad_source() -> io::Error {
    io::Error::from_raw_os_error(sys::WSAENOTSOCK)
}

/// Whether a number can be a source at all.
pub(crate) fn is_plausible(socket: RawSource) -> bool {
    socket != sys::INVALID_SOCKET as RawSource
}

/// Refuses what is no socket.
pub(crate) fn check_open(source: BorrowedSource<'_>) -> io::Result<()> {
    super::select::check_open(raw(source))
}

/// Runs what leaves a thread's last error alone: there are no signal handlers that could notice.
pub(crate) fn preserve_errno<R>(run: impl FnOnce() -> R) -> R {
    run()
}

/// Whether a number is that of a socket.
pub(crate) fn is_open(socket: RawSource) -> bool {
    // SAFETY: nothing is done with it but to ask.
    check_open(unsafe { borrow(socket) }).is_ok()
}

/// Sleeps.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere a signal may end it")]
pub(crate) fn pause(duration: Duration) -> io::Result<()> {
    thread::sleep(duration);
    Ok(())
}

/// Whether an error says that something has run out for the moment. Making a backend takes nothing
/// here.
pub(crate) fn is_exhausted(_: &io::Error) -> bool {
    false
}
