//! The kinds of files that kqueue(2) treats differently.

use std::io;

use selectors_sys::descriptor::{S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG};
use selectors_sys::kqueue as sys;

use crate::backend::BorrowedSource;
use crate::backend::descriptor::is_named_pipe;
use crate::backend::file::fstat;

/// What kind of file a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file or a directory, which is not added: every kernel reports a file as readable only
    /// before its end, and some (macOS, OpenBSD) refuse directories.
    NeverBlocks,
    Pipe,
    /// A named pipe, if the kernel does not report its end-of-file.
    NamedPipe,
    Device,
    Other,
}

impl Kind {
    pub(super) fn of(source: BorrowedSource<'_>) -> io::Result<Self> {
        Ok(match fstat(source)?.st_mode & S_IFMT {
            S_IFREG | S_IFDIR => Self::NeverBlocks,
            S_IFIFO if !sys::NAMED_PIPES_END && is_named_pipe(source)? => Self::NamedPipe,
            S_IFIFO => Self::Pipe,
            S_IFCHR => Self::Device,
            _ => Self::Other,
        })
    }

    /// Returns true if such a source is added to the queue.
    pub(super) fn has_filters(self) -> bool {
        !matches!(self, Self::NeverBlocks | Self::NamedPipe)
    }
}
