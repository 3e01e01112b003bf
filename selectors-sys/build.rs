//! Links an external provider of kqueue, for tests on Linux, and does nothing otherwise.
//!
//! `SELECTORS_KQUEUE_LIB` is the path of a shared library, or the name that pkg-config knows one
//! by. The library has to be found again when a test starts: `LD_LIBRARY_PATH`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=SELECTORS_KQUEUE_LIB");
    println!("cargo::rerun-if-changed=build.rs");
    let wanted = env::var_os("CARGO_FEATURE_KQUEUE_PROVIDER").is_some();
    let provider = env::var("SELECTORS_KQUEUE_LIB").unwrap_or_default();
    if !wanted || provider.is_empty() {
        return;
    }
    if provider.contains('/') {
        let path = Path::new(&provider).canonicalize().expect("SELECTORS_KQUEUE_LIB is there");
        let folder = path.parent().expect("a file is in a folder");
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        println!("cargo::rustc-link-search=native={}", folder.display());
        println!("cargo::rustc-link-lib=dylib:+verbatim={file}");
        return;
    }
    let output = Command::new("pkg-config").args(["--libs", &provider]).output();
    let output = output.expect("pkg-config starts");
    assert!(output.status.success(), "pkg-config does not know {provider}");
    for flag in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo::rustc-link-search=native={folder}");
        } else if let Some(name) = flag.strip_prefix("-l") {
            println!("cargo::rustc-link-lib=dylib={name}");
        }
    }
}
