//! Merges several outputs line by line, with a name before each line.

/// The maximum length of a line; longer ones are split.
const LONGEST: usize = 8 * 1024;

/// The lines of one output, and the incomplete last one.
#[derive(Debug, Default)]
pub struct Lines {
    name: String,
    line: Vec<u8>,
}

impl Lines {
    /// Lines of the output with this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), line: Vec::new() }
    }

    /// Appends the lines that these bytes complete, and parts of a line that is too long.
    pub fn push(&mut self, bytes: &[u8], into: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LONGEST {
                self.end(into);
            }
        }
    }

    /// Appends the last line if it is incomplete.
    pub fn end(&mut self, into: &mut Vec<u8>) {
        if !self.line.is_empty() {
            append(&self.name, &self.line, into);
            self.line.clear();
        }
    }
}

/// Appends one line.
pub fn append(name: &str, line: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole() {
        let mut into = Vec::new();
        let (mut a, mut b) = (Lines::of("a"), Lines::of("b"));
        a.push(b"one\ntw", &mut into);
        b.push(b"\n\n", &mut into);
        a.push(b"o\nthree", &mut into);
        a.end(&mut into);
        b.end(&mut into);
        assert_eq!(into, b"a: one\nb: \nb: \na: two\na: three\n");
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut into = Vec::new();
        let mut lines = Lines::of("a");
        for _ in 0..100 {
            lines.push(&[b'x'; 1000], &mut into);
            assert!(lines.line.len() < LONGEST);
        }
        lines.end(&mut into);
        into.retain(|&byte| byte == b'x');
        assert_eq!(into.len(), 100_000);
    }
}
