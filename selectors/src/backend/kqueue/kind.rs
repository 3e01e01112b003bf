//! What kind of file a source is, as far as queues make a difference.

use std::io;
use std::sync::OnceLock;

use nix::sys::stat::{SFlag, fstat};
use selectors_sys::kqueue as sys;

use crate::backend::BorrowedSource;

/// What kind of file a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of which the kernel is not asked: every kernel reports a file as readable only before its
    /// end, and some (macOS, OpenBSD) refuse directories.
    NeverBlocks,
    Pipe,
    /// A pipe with a name, where its filters do not tell its end.
    Endless,
    Device,
    Other,
}

impl Kind {
    pub(super) fn of(source: BorrowedSource<'_>) -> io::Result<Self> {
        let stat = fstat(source)?;
        Ok(match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG | SFlag::S_IFDIR => Self::NeverBlocks,
            SFlag::S_IFIFO if !sys::NAMED_PIPES_END && stat.st_dev != device_of_pipes()? => {
                Self::Endless
            }
            SFlag::S_IFIFO => Self::Pipe,
            SFlag::S_IFCHR => Self::Device,
            _ => Self::Other,
        })
    }

    /// Whether a queue is given such a source at all.
    pub(super) fn has_filters(self) -> bool {
        !matches!(self, Self::NeverBlocks | Self::Endless)
    }
}

/// What `st_dev` is of a pipe without a name.
fn device_of_pipes() -> io::Result<nix::libc::dev_t> {
    static DEVICE: OnceLock<nix::libc::dev_t> = OnceLock::new();
    if let Some(&device) = DEVICE.get() {
        return Ok(device);
    }
    let (end, _other) = nix::unistd::pipe()?;
    let device = fstat(end)?.st_dev;
    Ok(*DEVICE.get_or_init(|| device))
}
