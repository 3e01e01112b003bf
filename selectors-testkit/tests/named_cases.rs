//! The cases that the documentation names exist.

use std::fs;
use std::path::Path;

use selectors_testkit::conformance::{CASES, SHARED_CASES};
use selectors_testkit::contract::rule_of;

/// Whether this looks like the name of a case: that of a rule, and more.
fn is_named(word: &str) -> bool {
    let mut parts = word.splitn(3, '_');
    let (group, number, rest) = (parts.next(), parts.next(), parts.next());
    let groups = ["reg", "mod", "close", "ready", "mode", "wait", "proc", "shared"];
    group.is_some_and(|group| groups.contains(&group))
        && number.is_some_and(|number| number.parse::<u8>().is_ok())
        && rest.is_some_and(|rest| !rest.is_empty())
}

#[test]
fn every_case_that_the_documentation_names_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for page in ["../selectors/src/backend/interface.rs", "src/writing_a_backend.md", "src/lib.rs"]
    {
        let text = fs::read_to_string(here.join(page)).expect("a page of the documentation");
        let words = text.split(|char: char| !char.is_alphanumeric() && char != '_');
        for case in words.filter(|word| is_named(word)) {
            assert!(CASES.contains(&case) || SHARED_CASES.contains(&case), "{page}: {case}");
            assert!(!rule_of(case).id.is_empty());
            named += 1;
        }
    }
    assert!(named > 10, "{named} names were found");
}
