//! The changes in a directory since the last report.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was created.
    Created,
    /// Its content changed.
    Changed,
    /// It was removed.
    Removed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
        })
    }
}

/// Changes, at most one for each file name.
#[derive(Debug, Default)]
pub struct Changes(BTreeMap<OsString, Change>);

impl Changes {
    /// The number of files for which changes are kept before they must be reported.
    pub const MOST: usize = 1000;

    /// Merges a change with the one that is recorded for the file.
    pub fn add(&mut self, name: OsString, change: Change) {
        use Change::{Changed, Created, Removed};
        let sum = match (self.0.get(&name), change) {
            (Some(Created), Removed) => {
                self.0.remove(&name);
                return;
            }
            (Some(Created), Changed) => Created,
            (Some(Removed), Created) => Changed,
            _ => change,
        };
        self.0.insert(name, sum);
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if the changes must be reported before another is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= Self::MOST
    }

    /// Reports the changes and removes them.
    pub fn report(&mut self, mut line: impl FnMut(fmt::Arguments<'_>)) {
        for (name, change) in std::mem::take(&mut self.0) {
            // Control characters would confuse a terminal, or look like another line.
            let name = name.to_string_lossy().replace(char::is_control, "?");
            line(format_args!("{change} {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{Changed, Created, Removed};

    #[test]
    fn several_changes_of_a_file_are_one() {
        let cases: [(&[Change], &[&str]); 6] = [
            (&[Created, Changed, Changed], &["created x"]),
            (&[Created, Changed, Removed], &[]),
            (&[Changed, Removed], &["removed x"]),
            (&[Removed, Created], &["changed x"]),
            (&[Changed, Changed], &["changed x"]),
            (&[Created, Removed, Created], &["created x"]),
        ];
        for (history, expected) in cases {
            let mut changes = Changes::default();
            for &change in history {
                changes.add("x".into(), change);
            }
            let mut lines = Vec::new();
            changes.report(|line| lines.push(line.to_string()));
            assert_eq!(lines, expected, "{history:?}");
            assert!(changes.is_empty());
        }
    }

    #[test]
    fn each_change_is_one_line() {
        let mut changes = Changes::default();
        changes.add("a\nremoved b\x1b[2J".into(), Created);
        changes.report(|line| assert_eq!(line.to_string(), "created a?removed b?[2J"));
    }
}
