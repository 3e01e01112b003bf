//! Runs probes of kqueue(2) and compares the results with recorded results of kernels, or with their
//! source.
//!
//! On Linux the provider (the emulation, or a library) has to return the recorded results: where kernels differ, those of the kernel
//! that `SELECTORS_KQUEUE_FLAVOR` names. On a BSD or macOS the kernel is right by definition: results
//! that differ are printed as new rows.

// Linked for the two calls that its emulation of kqueue exports.
use selectors_testkit as _;

mod booted;
mod probes;
mod queue;
mod recorded;

use recorded::{ROWS, Row, Seen, XNU};

/// Probes that were not run on other kernels, which may return something else.
const SYSTEM_SPECIFIC: [&str; 2] = ["/dev/null", "terminal that hung up"];

/// The kernels with recorded rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    FreeBsd,
    NetBsd,
    MacOs,
}

impl Kernel {
    /// The kernel that runs, or is emulated.
    fn current() -> Self {
        match std::env::var("SELECTORS_KQUEUE_FLAVOR").as_deref() {
            Ok("netbsd") if cfg!(target_os = "linux") => Self::NetBsd,
            Ok("macos") if cfg!(target_os = "linux") => Self::MacOs,
            _ if cfg!(target_os = "netbsd") => Self::NetBsd,
            _ if cfg!(target_vendor = "apple") => Self::MacOs,
            _ => Self::FreeBsd,
        }
    }
}

/// The expected result of a probe.
fn expected(row: &Row, kernel: Kernel) -> Option<&'static str> {
    let xnu = XNU.iter().find(|(probe, _, _)| *probe == row.0);
    match row.1 {
        _ if kernel == Kernel::MacOs && xnu.is_some() => xnu.map(|(_, seen, _)| *seen),
        // This kernel has no EVFILT_USER.
        Seen::FreeBsd(_) | Seen::Second(_)
            if kernel == Kernel::NetBsd && row.0.starts_with("USER") =>
        {
            None
        }
        // Specific to FreeBSD.
        Seen::Second(_) if kernel != Kernel::FreeBsd && SYSTEM_SPECIFIC.contains(&row.0) => None,
        Seen::Each(freebsd, other) => Some(if kernel == Kernel::NetBsd { other } else { freebsd }),
        // The same code of both kernels returns this.
        Seen::Both(seen) | Seen::Booted(seen) | Seen::FreeBsd(seen) | Seen::Second(seen) => {
            Some(seen)
        }
    }
}

#[test]
fn probes_are_answered_as_recorded() {
    let kernel = Kernel::current();
    let expected: Vec<_> =
        ROWS.iter().filter_map(|row| Some((row.0, expected(row, kernel)?))).collect();
    let seen = probes::all(kernel != Kernel::NetBsd || !cfg!(target_os = "linux"));
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
