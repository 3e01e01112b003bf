//! The published contract, made from the rules and from what the backends declare.

use std::fmt::Write;

use selectors::backend::Backend;
use selectors::{AnySelector, BackendKind, Capabilities};

use super::RULES;

/// The published contract, made from the rules and from what the backends here declare.
fn published() -> String {
    let mut page = include_str!("introduction.md").to_owned();
    let groups: [(&str, &str); 8] = [
        ("REG", "Registry"),
        ("MOD", "Modify"),
        ("CLOSE", "Descriptors that go away"),
        ("READY", "Readiness"),
        ("MODE", "Trigger modes"),
        ("WAIT", "Waiting"),
        ("PROC", "Threads and processes"),
        ("SHARED", "Shared selectors"),
    ];
    for (group, title) in groups {
        write!(page, "\n## {title}\n\n| rule | promise | why |\n|---|---|---|\n").unwrap();
        for rule in RULES.iter().filter(|rule| rule.id.starts_with(&format!("{group}-"))) {
            writeln!(page, "| {} | {} | {} |", rule.id, rule.text, rule.reason).unwrap();
        }
    }
    page += include_str!("optional.md");
    page += &optional_parts();
    page
}

type Row<'a> = (&'a str, &'a dyn Fn(&Capabilities) -> String);

/// A row for each optional part, a column for each backend that this system has.
fn optional_parts() -> String {
    let kinds = BackendKind::available();
    let declared: Vec<Capabilities> = kinds
        .iter()
        .map(|&kind| AnySelector::<std::fs::File>::new(kind).unwrap().backend().capabilities())
        .collect();
    let yes = |has: bool| if has { "yes" } else { "" }.to_owned();
    let rows: [Row<'_>; 11] = [
        ("`edge`", &|c| yes(c.edge)),
        ("`exclusive`", &|c| yes(c.exclusive)),
        ("`priority`", &|c| yes(c.priority)),
        ("`read_closed`", &|c| yes(c.read_closed)),
        ("`hangup`", &|c| yes(c.hangup)),
        ("`error`", &|c| yes(c.error)),
        ("`write_hangup`", &|c| yes(c.write_hangup)),
        ("`nesting`", &|c| yes(c.nesting)),
        ("`waker`", &|c| yes(c.waker)),
        ("`timeout_resolution`", &|c| format!("{:?}", c.timeout_resolution)),
        ("`max_descriptor`", &|c| {
            c.max_descriptor.map_or("none".to_owned(), |limit| limit.to_string())
        }),
    ];
    let mut table = String::from("\n| |");
    for kind in &kinds {
        write!(table, " {kind} |").unwrap();
    }
    table += "\n|---|";
    table += &"---|".repeat(kinds.len());
    table += "\n";
    for (name, cell) in rows {
        write!(table, "| {name} |").unwrap();
        for capabilities in &declared {
            write!(table, " {} |", cell(capabilities)).unwrap();
        }
        table += "\n";
    }
    table
}

/// `BLESS=1` writes the file.
#[test]
fn the_published_contract_is_true() {
    let published = published();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/CONTRACT.md"), &published).unwrap();
    } else {
        // Not `assert_eq`, which would print both, each in one line.
        assert!(
            include_str!("../../CONTRACT.md") == published,
            "CONTRACT.md is outdated: BLESS=1 cargo test -p selectors-testkit --lib published"
        );
    }
}
