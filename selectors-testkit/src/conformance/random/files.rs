//! Open files that sources are duplicates of, and what their other ends do.

use std::io;
use std::net::Shutdown;

use selectors::{Interest, Readiness};

use super::quietly;
use crate::fixtures::{OwnedSource, drain, fill, if_any, is_ready, pair, pipe, regular_file, send};

/// An open file that sources are duplicates of, and its other end.
pub(in crate::conformance) struct File {
    pub(in crate::conformance) name: &'static str,
    pub(in crate::conformance) ours: OwnedSource,
    theirs: Option<OwnedSource>,
    /// The other end was closed, or sends no more.
    pub(in crate::conformance) hung_up: bool,
    pub(in crate::conformance) half_closed: bool,
}

/// Some of each kind that the system has.
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

/// What may have become ready, and what was done.
pub(in crate::conformance) type News = (Readiness, String);

const NOTHING: Readiness = Readiness::empty();

impl File {
    pub(in crate::conformance) fn is_ready(&self, interest: Interest) -> io::Result<bool> {
        is_ready(&self.ours, interest, 0)
    }

    pub(in crate::conformance) fn send(&self) -> News {
        let sent = self.theirs.as_ref().is_some_and(|theirs| send(theirs, b"x").is_ok());
        let news = if sent { Readiness::READ } else { NOTHING };
        (news, format!("  send a byte to {}", self.name))
    }

    pub(in crate::conformance) fn drain(&self) -> News {
        // A file has no other end, and may block.
        if self.theirs.is_some() {
            quietly(drain(&self.ours));
        }
        (NOTHING, format!("  drain {}", self.name))
    }

    pub(in crate::conformance) fn fill(&self) -> News {
        if self.theirs.is_some() {
            quietly(fill(&self.ours));
        }
        (NOTHING, format!("  fill {}", self.name))
    }

    pub(in crate::conformance) fn drain_peer(&self) -> io::Result<News> {
        let note = format!("  drain the other end of {}", self.name);
        let Some(theirs) = &self.theirs else { return Ok((NOTHING, note)) };
        let full = !self.is_ready(Interest::WRITE)?;
        quietly(drain(theirs));
        let has_room = full && self.is_ready(Interest::WRITE)?;
        Ok((if has_room { Readiness::WRITE } else { NOTHING }, note))
    }

    pub(in crate::conformance) fn hang_up(&mut self, half: bool) -> News {
        let name = self.name;
        let Some(theirs) = &self.theirs else { return (NOTHING, format!("  leave {name}")) };
        if half && socket2::SockRef::from(theirs).shutdown(Shutdown::Write).is_ok() {
            self.half_closed = true;
            return (Readiness::READ, format!("  the other end of {name} sends no more"));
        }
        (self.theirs, self.hung_up) = (None, true);
        (Readiness::READ | Readiness::WRITE, format!("  close the other end of {name}"))
    }

    /// The hints that would be wrong of a source of this file.
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
