//! The controlling terminal.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr, ttyname};

/// Opens the terminal of standard input once more, non-blocking: setting O_NONBLOCK on standard input
/// would affect every process that inherited it.
///
/// # Errors
///
/// An error if standard input is not a terminal; those of open(2).
pub fn open() -> io::Result<File> {
    let name = ttyname(io::stdin(), Vec::new())
        .map_err(|_| io::Error::other("standard input is not a terminal"))?;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let name = OsString::from_vec(name.into_bytes());
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(flags).map_err(io::Error::other)?)
        .open(name)
}

/// A terminal in raw mode, until this is dropped.
#[derive(Debug)]
pub struct Raw {
    tty: File,
    before: Termios,
}

impl Raw {
    /// Sets raw mode.
    ///
    /// # Errors
    ///
    /// Those of tcgetattr(3) and tcsetattr(3).
    pub fn new(tty: File) -> io::Result<Self> {
        let before = tcgetattr(&tty)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &raw)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}
