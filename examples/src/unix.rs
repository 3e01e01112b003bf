//! What is particular to Unix.

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

/// Makes what nobody else has open non-blocking.
///
/// # Errors
///
/// Those of fcntl(2).
pub fn set_nonblocking(file: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Starts what sh(1) is to run, in a process group of its own, and returns the non-blocking end of a
/// pipe to which all of its output goes.
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

/// Whether connect(2) goes on in the background.
pub(crate) fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// What socket(2) and connect(2) return when there is too little of something for the moment.
pub(crate) const SHORTAGES: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

/// How much every system writes to a pipe at once: `_POSIX_PIPE_BUF` of `<limits.h>`.
const POSIX_PIPE_BUF: usize = 512;

/// Writes what a pipe is sure to take without blocking when a selector reports it as writable: it
/// need not be non-blocking, which would concern everybody who has it open. What nobody reads any
/// more is lost.
pub fn write_some(mut to: &File, from: &mut Vec<u8>) {
    let some = from.len().min(POSIX_PIPE_BUF);
    let count = match to.write(&from[..some]) {
        Ok(count) => count,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
        Err(_) => some,
    };
    from.drain(..count);
}
