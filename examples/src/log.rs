//! A log that never blocks the caller.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::cli::say;

/// The maximum number of unprinted lines.
const MOST: usize = 10_000;

/// How long the end of the program waits for unprinted lines.
const GRACE: Duration = Duration::from_secs(1);

/// Prints lines in a separate thread, because writing to a pipe or a terminal may block. Drops lines that
/// nobody reads.
#[derive(Debug)]
pub struct Log {
    lines: SyncSender<String>,
    ended: Receiver<()>,
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        let (lines, waiting) = sync_channel::<String>(MOST);
        let (end, ended) = channel();
        thread::spawn(move || {
            for line in waiting {
                say(format_args!("{line}"));
            }
            drop(end);
        });
        Self { lines, ended }
    }

    /// Adds a line if there is room.
    pub fn line(&self, line: fmt::Arguments<'_>) {
        let _ = self.lines.try_send(line.to_string());
    }

    /// Prints the remaining lines, unless that takes long.
    pub fn close(self) {
        drop(self.lines);
        let _ = self.ended.recv_timeout(GRACE);
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}
