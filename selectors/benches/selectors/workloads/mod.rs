//! What the contenders are asked to do: one file for each kind of work.

mod chain;
pub(crate) mod changes;
pub(crate) mod dispatch;
mod drain;
mod echo;
mod memory;
mod ping_pong;
mod shared;
mod start_up;
mod timeouts;
pub(crate) mod wake;

use std::io;

use super::report::Report;

type Workload = fn(&mut Report) -> io::Result<()>;

/// The workloads by name, in the order of the report.
pub(crate) const ALL: &[(&str, Workload)] = &[
    ("dispatch", dispatch::run),
    ("timed-wait", dispatch::run_timed),
    ("drain", drain::run),
    ("changes", changes::run),
    ("chain", chain::run),
    ("ping-pong", ping_pong::run),
    ("echo", echo::run),
    ("wake", wake::run),
    ("shared", shared::run),
    ("memory", memory::run),
    ("timeouts", timeouts::run),
    ("start-up", start_up::run),
];
