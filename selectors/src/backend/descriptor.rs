//! What a source is on Unix: a file descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};
use selectors_sys::poll as sys;

use super::select::Sets;
use super::{Backend, Deferred};
use crate::Selector;

/// What can be watched: anything with a file descriptor. On Windows: anything with a socket.
pub use std::os::fd::AsFd as AsSource;
/// A file descriptor that is open for as long as it is borrowed. On Windows: a socket.
pub use std::os::fd::BorrowedFd as BorrowedSource;
/// The number of a file descriptor. On Windows: of a socket.
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

/// Borrows what a number names.
///
/// # Safety
///
/// Those of [`BorrowedFd::borrow_raw`].
pub(crate) unsafe fn borrow<'a>(fd: RawSource) -> BorrowedSource<'a> {
    // SAFETY: the caller's promise.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// What the system says when it is given a number that is no source.
pub(crate) fn bad_source() -> io::Error {
    Errno::EBADF.into()
}

/// Whether a number can be a source at all.
pub(crate) fn is_plausible(fd: RawSource) -> bool {
    fd >= 0
}

/// Refuses a descriptor that is not open, or that nothing can be done with but to name a file
/// (`O_PATH`): EBADF, as epoll returns for both. Some mechanisms would accept them silently.
pub(crate) fn check_open(source: BorrowedSource<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(source, FcntlArg::F_GETFL)?);
    let path_only = flags.intersects(OFlag::from_bits_retain(sys::PATH_ONLY));
    if path_only { Err(bad_source()) } else { Ok(()) }
}

/// Whether a number is an open descriptor.
pub(crate) fn is_open(fd: RawSource) -> bool {
    // SAFETY: nothing is done with it but to ask.
    let fd = unsafe { borrow(fd) };
    fcntl(fd, FcntlArg::F_GETFD).is_ok()
}

/// Whether an error says that descriptors or memory have run out for the moment.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOSPC))
}

/// Whether it is a pipe that has a name. What has none is on a device of its own.
pub(crate) fn is_named_pipe(source: BorrowedSource<'_>) -> io::Result<bool> {
    static DEVICE: OnceLock<nix::libc::dev_t> = OnceLock::new();
    let stat = fstat(source)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFIFO {
        return Ok(false);
    }
    if let Some(&device) = DEVICE.get() {
        return Ok(stat.st_dev != device);
    }
    let (end, _other) = nix::unistd::pipe()?;
    let device = fstat(end)?.st_dev;
    Ok(stat.st_dev != *DEVICE.get_or_init(|| device))
}

/// Sleeps, or returns [`io::ErrorKind::Interrupted`] when a signal handler has run.
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

/// Runs what may be called by a signal handler, after which `errno` is what it was.
pub(crate) fn preserve_errno<R>(run: impl FnOnce() -> R) -> R {
    let errno = Errno::last_raw();
    let result = run();
    Errno::set_raw(errno);
    result
}

/// Python's `fileno()`: the selector's own descriptor, which can be registered with another
/// selector, and is readable there when this one has something to report.
///
/// # Portability
///
/// That of a `DevpollSelector` is always an [`ERROR`](crate::Readiness::ERROR) there: it lacks
/// [`nesting`](crate::Capabilities::nesting).
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
    fn a_pipe_has_a_name_or_not() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        assert!(!is_named_pipe(reader.as_fd()).unwrap());
        assert!(!is_named_pipe(writer.as_fd()).unwrap());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_named_pipe(file.as_fd()).unwrap());
    }
}
