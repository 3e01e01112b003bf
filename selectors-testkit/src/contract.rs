#![doc = include_str!("../CONTRACT.md")]

// The optional parts are published for Linux and its own backends, so the table can only be made
// there.
#[cfg(all(test, target_os = "linux", not(feature = "kqueue"), not(feature = "devpoll")))]
mod published;
mod rules;

pub use rules::RULES;

/// One rule of the contract.
///
/// # Examples
///
/// ```
/// use selectors_testkit::contract::rule_of;
///
/// let rule = rule_of("wait_3");
/// println!("{}: {} ({})", rule.id, rule.text, rule.reason);
/// assert_eq!(rule.id, "WAIT-3");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name, such as `READY-7`. Cases are named after it.
    pub id: &'static str,
    /// The guarantee.
    pub text: &'static str,
    /// The reason for the rule.
    pub reason: &'static str,
    /// The usual mistake in a backend that is otherwise correct.
    pub pitfall: &'static str,
}

/// Returns the rule after which a case is named: READY-7 for `ready_7_…`.
///
/// # Panics
///
/// If there is no such rule.
///
/// # Examples
///
/// ```
/// use selectors_testkit::contract::rule_of;
///
/// assert_eq!(rule_of("ready_7_of_some_name").id, "READY-7");
/// ```
#[must_use]
pub fn rule_of(case: &str) -> &'static Rule {
    let id = id_of(case);
    RULES.iter().find(|rule| rule.id == id).unwrap_or_else(|| panic!("{case} names no rule"))
}

fn id_of(case: &str) -> String {
    let mut parts = case.splitn(3, '_');
    let group = parts.next().unwrap_or_default().to_uppercase();
    format!("{group}-{}", parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::conformance::{CASES, SHARED_CASES};

    #[test]
    fn every_rule_has_a_case_and_every_case_a_rule() {
        let rules: BTreeSet<_> = RULES.iter().map(|rule| rule.id.to_owned()).collect();
        assert_eq!(rules.len(), RULES.len(), "a rule comes twice");
        let cases = CASES.iter().chain(SHARED_CASES);
        let tried: BTreeSet<_> = cases.map(|case| id_of(case)).collect();
        assert_eq!(tried, rules);
    }
}
