//! Runs the probe as for a bug report.
#![cfg(unix)]

use std::process::{Command, Output};

use selectors::BackendKind;

fn probe(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_probe")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn it_prints_what_every_backend_can_do() {
    let (code, output, _) = probe(&["--capabilities"]);
    assert_eq!(code, Some(0), "{output}");
    for kind in BackendKind::available() {
        assert!(output.lines().any(|line| line == kind.name()), "{output}");
    }
    assert_eq!(output.matches("  has: ").count(), BackendKind::available().len(), "{output}");
}

#[test]
fn it_runs_the_suite() {
    let (code, output, _) = probe(&["poll"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(" passed, 0 failed, "), "{output}");
}

#[test]
fn an_unknown_backend_is_an_error_of_one_line() {
    let (code, output, error) = probe(&["iocp"]);
    assert_eq!((code, output.as_str()), (Some(2), ""));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("iocp"), "{error}");
}
