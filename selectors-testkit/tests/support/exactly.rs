//! Whether exactly the expected cases reject a defect, on a busy machine, too.

use std::collections::BTreeSet;
use std::time::Duration;

use selectors_testkit::conformance::Report;

/// Runs `cases`. Those that did not fail although they are `expected` to, or failed although they are not, run
/// again with the next longer `patience`.
///
/// # Panics
///
/// If some remain, with their names. `what` describes the defect.
pub(crate) fn assert_rejected_by(
    expected: &BTreeSet<&str>,
    mut cases: Vec<&'static str>,
    what: &str,
    patience: &[Duration],
    run: impl Fn(Duration, &[&str]) -> Report,
) {
    for &patience in patience {
        let report = run(patience, &cases);
        for (case, message) in &report.failed {
            println!("with a patience of {patience:?}: {message}\n");
            assert!(message.starts_with(case), "a message does not name its case");
        }
        let is_as_expected = |case: &&str| {
            let failed = report.failed.iter().any(|(other, _)| other == case);
            let not_run = report.not_run.iter().any(|(other, _)| other == case);
            failed == expected.contains(case) || not_run
        };
        cases.retain(|case| !is_as_expected(case));
        if cases.is_empty() {
            return;
        }
    }
    let (not_caught, caught): (Vec<_>, _) =
        cases.into_iter().partition(|case| expected.contains(case));
    panic!(
        "{what}\n  passes these listed cases:   {not_caught:?}\n  \
         fails these unlisted cases:  {caught:?}"
    );
}
