//! The open files of the sources, and what their peers do.

use std::io;
use std::net::Shutdown;

use selectors::{Interest, Readiness};

use super::ignore;
use crate::fixtures::{OwnedSource, drain, fill, if_any, is_ready, pair, pipe, regular_file, send};

/// An open file, of which sources are duplicates, and its peer.
pub(in crate::conformance) struct File {
    pub(in crate::conformance) name: &'static str,
    pub(in crate::conformance) ours: OwnedSource,
    theirs: Option<OwnedSource>,
    /// The peer was closed.
    pub(in crate::conformance) hung_up: bool,
    /// The peer has shut down its writing side.
    pub(in crate::conformance) half_closed: bool,
}

/// Files of each kind that the system has.
pub(in crate::conformance) fn files() -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut add = |name, ours, theirs| {
        files.push(File { name, ours, theirs, hung_up: false, half_closed: false });
    };
    for name in ["a", "b", "c"] {
        let (ours, theirs) = pair()?;
        add(name, ours.into(), Some(theirs.into()));
    }
    if let Some((reader, writer)) = if_any(pipe())? {
        add("reader", reader, Some(writer));
    }
    if let Some((reader, writer)) = if_any(pipe())? {
        add("writer", writer, Some(reader));
    }
    if let Some(file) = if_any(regular_file())? {
        add("file", file.into(), None);
    }
    Ok(files)
}

/// The readiness that an operation may have changed, and its line of the log.
pub(in crate::conformance) type Effect = (Readiness, String);

const NOTHING: Readiness = Readiness::empty();

impl File {
    pub(in crate::conformance) fn is_ready(&self, interest: Interest) -> io::Result<bool> {
        is_ready(&self.ours, interest, 0)
    }

    pub(in crate::conformance) fn send(&self) -> Effect {
        let sent = self.theirs.as_ref().is_some_and(|theirs| send(theirs, b"x").is_ok());
        let effect = if sent { Readiness::READ } else { NOTHING };
        (effect, format!("  send a byte to {}", self.name))
    }

    pub(in crate::conformance) fn drain(&self) -> Effect {
        // A file has no peer, and draining it may block.
        if self.theirs.is_some() {
            ignore(drain(&self.ours));
        }
        (NOTHING, format!("  drain {}", self.name))
    }

    pub(in crate::conformance) fn fill(&self) -> Effect {
        if self.theirs.is_some() {
            ignore(fill(&self.ours));
        }
        (NOTHING, format!("  fill {}", self.name))
    }

    pub(in crate::conformance) fn drain_peer(&self) -> io::Result<Effect> {
        let note = format!("  drain the peer of {}", self.name);
        let Some(theirs) = &self.theirs else { return Ok((NOTHING, note)) };
        let full = !self.is_ready(Interest::WRITE)?;
        ignore(drain(theirs));
        let has_space = full && self.is_ready(Interest::WRITE)?;
        Ok((if has_space { Readiness::WRITE } else { NOTHING }, note))
    }

    pub(in crate::conformance) fn hang_up(&mut self, half: bool) -> Effect {
        let name = self.name;
        let Some(theirs) = &self.theirs else { return (NOTHING, format!("  leave {name}")) };
        if half && socket2::SockRef::from(theirs).shutdown(Shutdown::Write).is_ok() {
            self.half_closed = true;
            return (Readiness::READ, format!("  the peer of {name} shuts down its writing side"));
        }
        (self.theirs, self.hung_up) = (None, true);
        (Readiness::READ | Readiness::WRITE, format!("  close the peer of {name}"))
    }

    /// The hints that must not be reported of this file.
    pub(in crate::conformance) fn wrong_hints(&self) -> Readiness {
        let mut wrong = Readiness::empty();
        if !self.hung_up {
            wrong |= Readiness::HANGUP | Readiness::ERROR;
        }
        if !self.hung_up && !self.half_closed {
            wrong |= Readiness::READ_CLOSED;
        }
        wrong
    }
}
