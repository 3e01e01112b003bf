//! Functions for Unix.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::server::Source;

impl<C: AsRef<TcpStream>> AsFd for Source<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Client(client) => client.as_ref().as_fd(),
        }
    }
}

/// Makes a file that no other process has open non-blocking.
///
/// # Errors
///
/// Those of fcntl(2).
pub fn set_nonblocking(file: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Runs a command with sh(1) in a process group of its own, and returns the non-blocking reading end of a
/// pipe that receives its output.
///
/// # Errors
///
/// Those of pipe(2), fork(2) and execve(2).
pub fn shell(script: &str) -> io::Result<(Child, ChildStdout)> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec 2>&1\n{script}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
    set_nonblocking(&output)?;
    Ok((child, output))
}

/// Returns true if connect(2) continues in the background.
pub(crate) fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// The errors of socket(2) and connect(2) for a temporary lack of resources.
pub(crate) const SHORTAGES: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

/// The number of bytes that every system writes to a pipe at once: `_POSIX_PIPE_BUF` of `<limits.h>`.
const POSIX_PIPE_BUF: usize = 512;

/// Writes only as much as a pipe that was reported as writable accepts without blocking, so the pipe need
/// not be non-blocking, which would affect every process that has it open. If the pipe has no reader, the
/// data is discarded.
pub fn write_some(mut to: &File, from: &mut Vec<u8>) {
    let some = from.len().min(POSIX_PIPE_BUF);
    let count = match to.write(&from[..some]) {
        Ok(count) => count,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
        Err(_) => some,
    };
    from.drain(..count);
}
