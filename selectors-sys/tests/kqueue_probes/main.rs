//! Asks whatever provides kqueue what it does, and compares that with what was recorded of two
//! kernels.
//!
//! On Linux the provider has to do the same: where the kernels differ, as the one does that
//! `SELECTORS_KQUEUE_FLAVOR` names. On a BSD or macOS the kernel is right: where it does
//! something else, that is printed, as a row to be added.

// Linked for the two calls that its emulation of kqueue exports.
use selectors_testkit as _;

mod probes;
mod queue;
mod recorded;

use recorded::{ROWS, Row, Seen};

/// What is expected of a probe.
fn expected(row: &Row, netbsd: bool) -> Option<&'static str> {
    match row.1 {
        // There was no EVFILT_USER to be asked.
        Seen::FreeBsd(_) if netbsd && row.0.starts_with("USER") => None,
        Seen::Each(freebsd, other) => Some(if netbsd { other } else { freebsd }),
        // What one kernel was asked has the same reason on the other.
        Seen::Both(seen) | Seen::NetBsd(seen) | Seen::FreeBsd(seen) => Some(seen),
    }
}

#[test]
fn probes_are_answered_as_recorded() {
    let netbsd = if cfg!(target_os = "linux") {
        std::env::var("SELECTORS_KQUEUE_FLAVOR").is_ok_and(|flavor| flavor == "netbsd")
    } else {
        cfg!(target_os = "netbsd")
    };
    let expected: Vec<_> =
        ROWS.iter().filter_map(|row| Some((row.0, expected(row, netbsd)?))).collect();
    let seen = probes::all(!netbsd || !cfg!(target_os = "linux"));
    let mut differences = Vec::new();
    for (name, expected) in &expected {
        let seen: Vec<_> = seen.iter().filter(|(probe, _)| probe == name).collect();
        match seen[..] {
            [(_, seen)] if seen == expected => {}
            [(_, seen)] => differences.push(format!("| {name} | {seen} | recorded: {expected} |")),
            _ => panic!("{} probes are named {name:?}", seen.len()),
        }
    }
    for (name, _) in &seen {
        assert!(ROWS.iter().any(|row| row.0 == name), "no row is named {name:?}");
    }
    println!("{} of {} rows as recorded", expected.len() - differences.len(), expected.len());
    for row in &differences {
        println!("{row}");
    }
    assert!(differences.is_empty() || !cfg!(target_os = "linux"), "see the rows above");
}
