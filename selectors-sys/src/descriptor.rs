//! fcntl(2) and fstat(2): the flags of a descriptor, and the kind of its file.
//!
//! # Examples
//!
//! ```
//! use selectors_sys::descriptor::{
//!     F_GETFD, FD_CLOEXEC, S_IFDIR, S_IFMT, fcntl, fstat, stat,
//! };
//! use std::fs::File;
//! use std::mem::MaybeUninit;
//! use std::os::fd::AsRawFd;
//!
//! # fn main() -> std::io::Result<()> {
//! let folder = File::open("/")?;
//! // SAFETY: F_GETFD has no argument.
//! let flags = unsafe { fcntl(folder.as_raw_fd(), F_GETFD) };
//! assert_eq!(flags, FD_CLOEXEC);
//!
//! let mut state = MaybeUninit::<stat>::uninit();
//! // SAFETY: `state` is writable for the length of the call.
//! assert_eq!(unsafe { fstat(folder.as_raw_fd(), state.as_mut_ptr()) }, 0);
//! // SAFETY: the call has succeeded, and written it.
//! let state = unsafe { state.assume_init() };
//! assert_eq!(state.st_mode & S_IFMT, S_IFDIR);
//! # Ok(())
//! # }
//! ```

pub use libc::{
    F_GETFD, F_GETFL, F_SETFD, FD_CLOEXEC, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK,
    fcntl, fstat, stat,
};
