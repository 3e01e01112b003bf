//! The quotations in the chapter `writing_a_backend` of the testkit match the example and the suite.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::path::Path;

use selectors_testkit::conformance::{CASES, SHARED_CASES};

const CHAPTER: &str = include_str!("../../../selectors-testkit/src/writing_a_backend.md");
const INTERFACE: &str = include_str!("../../../selectors/src/backend/interface.rs");
const EXAMPLE: &str = concat!(include_str!("../src/lib.rs"), include_str!("conformance.rs"));

fn is_case(name: &str) -> bool {
    CASES.iter().chain(SHARED_CASES).any(|case| *case == name)
}

/// The blocks that are not doctests: failures of cases, and excerpts.
fn quoted() -> (Vec<&'static str>, Vec<&'static str>) {
    let blocks = CHAPTER.split("```text\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.partition(|block| block.lines().next().is_some_and(is_case))
}

/// The words of a text, separated by single spaces. Strings that continue on the next line are joined.
fn words(text: &str) -> String {
    text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn add_sources(folder: &Path, all: &mut String) {
    for entry in folder.read_dir().unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            add_sources(&entry.path(), all);
        } else if entry.path().extension().is_some_and(|name| name == "rs") {
            *all += &words(&std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

#[test]
fn excerpts_are_those_of_the_example() {
    let (_, excerpts) = quoted();
    assert!(excerpts.len() >= 7, "{excerpts:?}");
    for excerpt in excerpts {
        assert!(EXAMPLE.contains(excerpt), "not in the example:\n{excerpt}");
    }
    assert_eq!(EXAMPLE.matches("unsafe {").count(), 1);
}

#[test]
fn messages_are_those_of_the_suite() {
    let mut sources = String::new();
    let testkit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../selectors-testkit/src");
    add_sources(&testkit, &mut sources);
    let (failures, _) = quoted();
    assert!(failures.len() >= 6, "{failures:?}");
    for failure in failures {
        let mut causes = failure.lines().filter_map(|line| line.trim().strip_prefix("usually: "));
        let cause = causes.next().expect("a usual cause");
        let promise = failure.lines().nth(1).and_then(|line| line.split_once(": "));
        let promise = promise.filter(|(rule, _)| rule.contains('-')).map(|(_, promise)| promise);
        for text in promise.into_iter().chain([cause]) {
            assert!(sources.contains(&words(text)), "not in the suite: {text}");
        }
    }
}

#[test]
fn cases_that_are_named_exist() {
    for text in [CHAPTER, INTERFACE] {
        let names = text.split('`').skip(1).step_by(2).filter(|name| {
            let mut parts = name.split('_');
            let is_name = !name.contains(char::is_whitespace);
            let number = parts.nth(1).is_some_and(|part| part.parse::<u32>().is_ok());
            is_name && number && parts.count() > 1
        });
        let names: Vec<_> = names.collect();
        assert!(!names.is_empty());
        for name in names {
            assert!(is_case(name), "no case is called {name}");
        }
    }
}
