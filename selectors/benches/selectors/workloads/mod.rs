//! The workloads: one file each.

mod accepts;
mod chain;
pub(crate) mod changes;
pub(crate) mod dispatch;
mod drain;
mod echo;
mod memory;
mod ping_pong;
mod proxy;
mod requests;
mod shared;
pub(crate) mod start_up;
mod timeouts;
pub(crate) mod wake;
mod workers;

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
    ("requests", requests::run),
    ("proxy", proxy::run),
    ("accepts", accepts::run),
    ("ping-pong", ping_pong::run),
    ("echo", echo::run),
    ("wake", wake::run),
    ("workers", workers::run),
    ("shared", shared::run),
    ("memory", memory::run),
    ("timeouts", timeouts::run),
    ("expired", timeouts::run_expired),
    ("start-up", start_up::run),
];
