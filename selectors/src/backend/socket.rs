//! Sources on Windows: sockets.

use std::io;
use std::thread;
use std::time::Duration;

use selectors_sys::select as sys;

/// Shares a number with other threads.
pub(crate) use std::sync::atomic::AtomicU64 as AtomicSource;

/// A type that can be watched: one with a socket. On Unix, one with a file descriptor.
pub use std::os::windows::io::AsSocket as AsSource;
/// A borrowed socket. On Unix, a borrowed file descriptor.
///
/// # Examples
///
/// ```
/// use selectors::backend::{AsSource, BorrowedSource};
///
/// fn lend<F: AsSource>(fileobj: &F) -> BorrowedSource<'_> {
///     fileobj.as_socket()
/// }
/// ```
pub use std::os::windows::io::BorrowedSocket as BorrowedSource;
/// A socket handle. On Unix, the number of a file descriptor.
///
/// # Examples
///
/// ```
/// use selectors::backend::{BorrowedSource, RawSource};
/// use std::os::windows::io::AsRawSocket;
///
/// fn number(source: BorrowedSource<'_>) -> RawSource {
///     source.as_raw_socket()
/// }
/// ```
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

/// Borrows the socket with this handle.
///
/// # Safety
///
/// Those of [`BorrowedSocket::borrow_raw`](BorrowedSource::borrow_raw).
pub(crate) unsafe fn borrow<'a>(socket: RawSource) -> BorrowedSource<'a> {
    // SAFETY: the caller's promise.
    unsafe { BorrowedSource::borrow_raw(socket) }
}

/// The system's error for a handle that is not a socket.
pub(crate) fn bad_source() -> io::Error {
    io::Error::from_raw_os_error(sys::WSAENOTSOCK)
}

/// Returns true if a number can be a socket handle at all.
pub(crate) fn is_plausible(socket: RawSource) -> bool {
    socket != sys::INVALID_SOCKET as RawSource
}

/// Refuses a handle that is not a socket.
pub(crate) fn check_open(source: BorrowedSource<'_>) -> io::Result<()> {
    super::select::check_open(raw(source))
}

/// Runs code that must preserve errno in a signal handler. Windows has none.
pub(crate) fn preserve_errno<R>(run: impl FnOnce() -> R) -> R {
    run()
}

/// Returns true if a handle is an open socket.
pub(crate) fn is_open(socket: RawSource) -> bool {
    // SAFETY: the check accepts any handle and changes nothing.
    check_open(unsafe { borrow(socket) }).is_ok()
}

/// Sleeps.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere a signal may end it")]
pub(crate) fn pause(duration: Duration) -> io::Result<()> {
    thread::sleep(duration);
    Ok(())
}

/// Returns true if the error is a temporary lack of resources. Creating a backend needs none here.
pub(crate) fn is_exhausted(_: &io::Error) -> bool {
    false
}
