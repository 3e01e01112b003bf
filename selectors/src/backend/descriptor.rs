//! Sources on Unix: file descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use selectors_sys::descriptor as sys;
use selectors_sys::poll::PATH_ONLY;

pub(crate) use super::file::is_open;
use super::file::{fstat, is_pollable, open_flags};
use super::select::Sets;
use super::{Backend, Deferred};
use crate::Selector;
/// Shares a number with other threads.
pub(crate) use std::sync::atomic::AtomicI32 as AtomicSource;

/// A type that can be watched: one with a file descriptor. On Windows, one with a socket.
pub use std::os::fd::AsFd as AsSource;
/// A borrowed file descriptor. On Windows, a borrowed socket.
///
/// # Examples
///
/// ```
/// use selectors::backend::{AsSource, BorrowedSource};
///
/// fn lend<F: AsSource>(fileobj: &F) -> BorrowedSource<'_> {
///     fileobj.as_fd()
/// }
/// ```
pub use std::os::fd::BorrowedFd as BorrowedSource;
/// The number of a file descriptor. On Windows, a socket handle.
///
/// # Examples
///
/// ```
/// use selectors::backend::{BorrowedSource, RawSource};
/// use std::os::fd::AsRawFd;
///
/// fn number(source: BorrowedSource<'_>) -> RawSource {
///     source.as_raw_fd()
/// }
/// ```
pub use std::os::fd::RawFd as RawSource;

pub(crate) use std::os::fd::OwnedFd as OwnedSource;

/// Borrows the source of a file object.
pub(crate) fn source<F: AsSource + ?Sized>(fileobj: &F) -> BorrowedSource<'_> {
    fileobj.as_fd()
}

/// The number of a source.
pub(crate) fn raw(source: BorrowedSource<'_>) -> RawSource {
    source.as_raw_fd()
}

/// Borrows the descriptor with this number.
///
/// # Safety
///
/// Those of [`BorrowedFd::borrow_raw`].
pub(crate) unsafe fn borrow<'a>(fd: RawSource) -> BorrowedSource<'a> {
    // SAFETY: the caller's promise.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// The system's error for a number that is not open.
pub(crate) fn bad_source() -> io::Error {
    Errno::EBADF.into()
}

/// Returns true if a number can be a descriptor at all.
pub(crate) fn is_plausible(fd: RawSource) -> bool {
    fd >= 0
}

/// Refuses a descriptor that is not open or was opened with `O_PATH`: EBADF, as epoll returns for both.
/// Other mechanisms accept them silently.
pub(crate) fn check_open(source: BorrowedSource<'_>) -> io::Result<()> {
    if is_watchable(source) { Ok(()) } else { Err(bad_source()) }
}

/// Returns true if a descriptor is open, and was not opened with `O_PATH`.
#[allow(clippy::bad_bit_mask, reason = "zero where there is no such flag")]
pub(crate) fn is_watchable(source: BorrowedSource<'_>) -> bool {
    match open_flags(source) {
        Ok(flags) => flags & PATH_ONLY == 0,
        Err(Errno::EBADF) => false,
        // A sandbox refuses the call.
        Err(_) => is_pollable(raw(source)),
    }
}

/// Returns true if the error is a temporary lack of descriptors or memory.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOSPC))
}

/// Returns true for a named pipe. Unnamed ones are on a device of their own.
pub(crate) fn is_named_pipe(source: BorrowedSource<'_>) -> io::Result<bool> {
    static DEVICE: OnceLock<nix::libc::dev_t> = OnceLock::new();
    let stat = fstat(source)?;
    if stat.st_mode & sys::S_IFMT != sys::S_IFIFO {
        return Ok(false);
    }
    if let Some(&device) = DEVICE.get() {
        return Ok(stat.st_dev != device);
    }
    let (end, _other) = nix::unistd::pipe()?;
    let device = fstat(end.as_fd())?.st_dev;
    Ok(stat.st_dev != *DEVICE.get_or_init(|| device))
}

/// Sleeps. Returns [`io::ErrorKind::Interrupted`] when a signal handler has run.
pub(crate) fn pause(duration: Duration) -> io::Result<()> {
    match Sets::default().select(Some(duration)) {
        Err(Errno::EINTR) => Err(Errno::EINTR.into()),
        // A sandbox may refuse the call.
        Err(_) => {
            thread::sleep(duration);
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// Runs code of a signal handler, and restores `errno` afterwards.
pub(crate) fn preserve_errno<R>(run: impl FnOnce() -> R) -> R {
    let errno = Errno::last_raw();
    let result = run();
    Errno::set_raw(errno);
    result
}

/// The selector's own descriptor. It can be registered with another selector, and is readable there
/// when this one has something to report. Python's `fileno()`.
///
/// # Portability
///
/// The descriptor of a `DevpollSelector` is always reported with
/// [`ERROR`](crate::Readiness::ERROR): it lacks [`nesting`](crate::Capabilities::nesting).
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest};
/// use std::io::Write;
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let mut inner = DefaultSelector::new()?;
/// inner.register(ours, Interest::READ, ())?;
/// let mut outer = DefaultSelector::new()?;
/// # #[cfg(target_os = "linux")] {
/// outer.register(inner.as_fd(), Interest::READ, "inner")?;
/// theirs.write_all(b"x")?;
/// assert_eq!(outer.select(None)?.len(), 1);
/// # }
/// # Ok(())
/// # }
/// ```
impl<F, T, B: Backend + AsFd> AsFd for Selector<F, T, B> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.backend().as_fd()
    }
}

/// Python's `fileno()`.
impl<F, T, B: Backend + AsFd> AsRawFd for Selector<F, T, B> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<B: AsFd> AsFd for Deferred<B> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::is_named_pipe;

    #[test]
    fn unnamed_pipes_and_devices_are_not_named_pipes() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        assert!(!is_named_pipe(reader.as_fd()).unwrap());
        assert!(!is_named_pipe(writer.as_fd()).unwrap());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_named_pipe(file.as_fd()).unwrap());
        let name = std::env::temp_dir().join(format!("selectors-fifo-{}", std::process::id()));
        nix::unistd::mkfifo(&name, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Opened for reading and writing, because opening one end would block.
        let opened = std::fs::File::options().read(true).write(true).open(&name);
        std::fs::remove_file(&name).unwrap();
        assert!(is_named_pipe(opened.unwrap().as_fd()).unwrap());
    }
}
