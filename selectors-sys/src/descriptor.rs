//! fcntl(2) and fstat(2): the flags of a descriptor, and the kind of its file.

pub use libc::{
    F_GETFD, F_GETFL, F_SETFD, FD_CLOEXEC, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, fcntl,
    fstat, stat,
};
