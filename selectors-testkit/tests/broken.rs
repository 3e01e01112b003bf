//! Backends with one defect each: exactly the listed cases must reject each of them.
//!
//! Each wraps a correct backend. `cargo test --test broken the_table -- --nocapture` prints a table
//! of all rows.
//!
//! Which cases notice a defect depends on the wrapped backend, so the table is that of one system.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::time::Duration;

use selectors_testkit::conformance::{CASES, Report, run_side_by_side};
use selectors_testkit::contract::{RULES, rule_of};

#[path = "support/alone.rs"]
mod alone;
#[path = "support/another_process.rs"]
mod another_process;
#[path = "broken/batches.rs"]
mod batches;
#[path = "broken/bulk.rs"]
mod bulk;
#[path = "broken/close.rs"]
mod close;
#[path = "broken/counts.rs"]
mod counts;
#[path = "broken/defect.rs"]
mod defect;
#[path = "broken/descriptors.rs"]
mod descriptors;
#[path = "broken/duplicates.rs"]
mod duplicates;
#[path = "broken/edges.rs"]
mod edges;
#[path = "broken/ends.rs"]
mod ends;
#[path = "support/exactly.rs"]
mod exactly;
#[path = "broken/files.rs"]
mod files;
#[path = "broken/kinds.rs"]
mod kinds;
#[path = "broken/kinds_in_modes.rs"]
mod kinds_in_modes;
#[path = "broken/leaks.rs"]
mod leaks;
#[path = "broken/mode.rs"]
mod mode;
#[path = "broken/modify.rs"]
mod modify;
#[path = "broken/proc.rs"]
mod proc;
#[path = "broken/ready.rs"]
mod ready;
#[path = "broken/rebuilding.rs"]
mod rebuilding;
#[path = "broken/recovery.rs"]
mod recovery;
#[path = "broken/refusals.rs"]
mod refusals;
#[path = "broken/reg.rs"]
mod reg;
#[path = "support/repetitive.rs"]
mod repetitive;
#[path = "broken/row.rs"]
mod row;
#[path = "broken/second_paths.rs"]
mod second_paths;
#[path = "broken/shares.rs"]
mod shares;
#[path = "broken/side_effects.rs"]
mod side_effects;
#[path = "broken/signals.rs"]
mod signals;
#[path = "broken/sockets.rs"]
mod sockets;
#[path = "broken/states.rs"]
mod states;
#[path = "broken/timeouts.rs"]
mod timeouts;
#[path = "broken/timing.rs"]
mod timing;
#[path = "broken/variants.rs"]
mod variants;
#[path = "broken/wait.rs"]
mod wait;

use alone::in_a_process_of_its_own;
use defect::{Broken, Defect};
use exactly::assert_rejected_by;
use repetitive::REPETITIVE;
use row::{Row, epoll, poll, select};

/// All rows, file by file.
fn rows() -> impl Iterator<Item = &'static Row> {
    let families = [
        refusals::ROWS,
        reg::ROWS,
        descriptors::ROWS,
        leaks::ROWS,
        modify::ROWS,
        close::ROWS,
        rebuilding::ROWS,
        ready::ROWS,
        sockets::ROWS,
        files::ROWS,
        ends::ROWS,
        kinds::ROWS,
        kinds_in_modes::ROWS,
        mode::ROWS,
        edges::ROWS,
        timeouts::ROWS,
        signals::ROWS,
        batches::ROWS,
        wait::ROWS,
        timing::ROWS,
        proc::ROWS,
        counts::ROWS,
        bulk::ROWS,
        states::ROWS,
        side_effects::ROWS,
        recovery::ROWS,
        second_paths::ROWS,
        shares::ROWS,
        duplicates::ROWS,
    ];
    families.into_iter().flatten()
}

/// How long cases wait for an event that a defect may prevent. The longer ones are for a busy
/// machine, if a case failed that must pass.
const PATIENCE: [Duration; 3] =
    [Duration::from_millis(40), Duration::from_millis(500), Duration::from_secs(6)];

fn run(row: &Row, patience: Duration, cases: &[&str]) -> Report {
    // Sooner than the suite's own watchdog.
    let most = (3 * patience).min(Duration::from_secs(8));
    let broken = || Ok(Broken::new((row.beneath)()?, (row.make)(), most));
    let report = run_side_by_side(broken, patience, None, cases);
    leaks::free_leaked();
    report
}

/// The test of the row with this path. Some defects affect the whole process, and forked children of
/// one row would hold files that another closes.
fn check_in_a_process_of_its_own(path: &str) {
    let row = rows().find(|row| row.path == path).expect("a row for each test");
    in_a_process_of_its_own(row.test(), tests, || check(row));
}

/// The tests that run in processes of their own. The last ones, which take longest, start first.
fn tests() -> Vec<&'static str> {
    rows().map(Row::test).chain([WITHOUT_A_DEFECT]).collect()
}

const WITHOUT_A_DEFECT: &str = "without_a_defect_no_case_complains";

/// Run only for rows that name them, as random programs and [`REPETITIVE`] cases are. What racing threads
/// and a storm of signals find depends on more than the defect, and the others take long.
const LEFT_OUT: &[&str] = &[
    "ready_12_every_kind_of_file_ends_a_wait",
    "close_4_a_new_kernel_object_watches_every_kind",
    "proc_4_after_fork_watches_every_kind",
    "proc_6_a_thread_registers_every_kind",
    "close_5_another_thread_closes_during_waits",
    "reg_12_no_wait_leaks",
    "reg_12_no_call_leaks",
    "reg_12_no_call_leaks_memory",
    "reg_12_child_processes_are_not_reaped",
    "wait_7_thousands_are_ready_at_once",
    "wait_7_every_ready_source_gets_its_turn",
];

/// Run only for rows that name them, unless [`ALL_SWEEPS`] is set: each combines many states, kinds or
/// numbers of files, and these take half of the time of all cases together.
const SWEEPS: &[&str] = &[
    "reg_2_a_parked_source_reports_no_hang_up",
    "reg_9_files_do_not_change",
    "reg_9_many_are_unregistered_between_two_waits",
    "reg_12_no_descriptor_is_leaked",
    "reg_12_process_settings_do_not_change",
    "mod_1_many_changes_between_two_waits",
    "close_4_a_new_kernel_object_watches_every_source",
    "ready_4_every_state_of_a_socket",
    "ready_12_every_kind_of_file_behaves_as_with_poll",
    "wait_6_no_event_is_lost",
    "wait_7_one_select_reports_all",
    "wait_12_sources_are_served_without_free_descriptors",
    "proc_2_no_wake_is_lost_beside_events",
    "proc_4_children_of_children_leak_nothing",
    "proc_6_a_selector_outlives_its_thread",
];

/// Set in `.ci/test`.
const ALL_SWEEPS: &str = "SELECTORS_SWEEPS";

fn check(row: &Row) {
    let expected: BTreeSet<_> = row.cases().collect();
    let sweeps = if std::env::var_os(ALL_SWEEPS).is_some() { &[] } else { SWEEPS };
    let is_left_out = |case: &str| {
        let mut others = LEFT_OUT.iter().chain(&REPETITIVE).chain(sweeps);
        case.contains("_random_") || others.any(|it| *it == case)
    };
    let tells = |case: &&str| !is_left_out(case) || expected.contains(case);
    let cases = CASES.iter().copied().filter(tells).collect();
    let what = format!("a backend that {}", row.defect);
    assert_rejected_by(&expected, cases, &what, &PATIENCE, |patience, cases| {
        run(row, patience, cases)
    });
}

/// The rules that a selector keeps independently of its backend: their cases are tested with broken
/// selectors, in `broken_selectors.rs`.
const OF_THE_SELECTOR: &[&str] =
    &["REG-1", "REG-2", "REG-3", "REG-4", "REG-11", "MOD-2", "MOD-5", "PROC-5"];

#[test]
fn every_rule_is_broken_by_somebody() {
    let broken: BTreeSet<_> = rows().map(|row| row.rule).collect();
    let selectors: BTreeSet<_> = OF_THE_SELECTOR.iter().copied().collect();
    assert!(broken.is_disjoint(&selectors));
    // Those of shared selectors are broken in `broken_shared.rs`.
    let rules = RULES.iter().map(|rule| rule.id).filter(|rule| !rule.starts_with("SHARED-"));
    assert_eq!(&broken | &selectors, rules.collect());
}

#[test]
fn every_row_is_caught_by_a_case_of_its_rule() {
    let mut defects = BTreeSet::new();
    for row in rows() {
        assert!(defects.insert(row.defect), "{:?} comes twice", row.defect);
        let own = row.cases().any(|case| rule_of(case).id == row.rule);
        assert!(own, "no case of {} catches what {}", row.rule, row.defect);
    }
}

#[test]
fn the_table_of_defects_and_cases() {
    println!("| rule | the backend | is caught by |\n|---|---|---|");
    for row in rows() {
        println!(
            "| {} | {} | {} |",
            row.rule,
            row.defect,
            row.cases().collect::<Vec<_>>().join(", ")
        );
    }
    let used: BTreeSet<_> = rows().flat_map(Row::cases).collect();
    let unused: Vec<_> = CASES.iter().filter(|case| !used.contains(*case)).collect();
    println!("cases that catch none of these: {unused:?}");
    for case in used.iter().chain(LEFT_OUT).chain(&REPETITIVE).chain(SWEEPS) {
        assert!(CASES.contains(case), "no case is called {case}");
    }
}

#[test]
fn without_a_defect_no_case_complains() {
    struct None;
    impl Defect for None {}
    in_a_process_of_its_own(WITHOUT_A_DEFECT, tests, || {
        for beneath in [epoll, poll, select] {
            let patience = Duration::from_secs(30);
            let right = || Ok(Broken::new(beneath()?, Box::new(None), patience));
            let report = run_side_by_side(right, patience, Option::None, CASES);
            assert!(report.failed.is_empty(), "{report}");
        }
    });
}
